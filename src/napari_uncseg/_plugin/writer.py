"""napari's way out: layers as NIfTI files in the orientation of the files they came from."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.arrays import Array
from napari_uncseg.errors import SaveError
from napari_uncseg.io.files import exists


def write_layer(path: str, data: Array, attributes: dict[str, Any]) -> list[str]:
    """Write one image or label layer as ``.nii.gz``.

    Parameters
    ----------
    path : str
        File to write.
    data : ndarray, shape (i, p, l)
        Data of the layer.
    attributes : dict
        Attributes of the layer as napari gives them.

    Returns
    -------
    list of str
        The path that was written.

    Raises
    ------
    UncsegError
        When the layer's orientation is unknown or the file cannot be written.
    """
    from napari_uncseg.io.nifti import write_volume
    from napari_uncseg.viewer.tags import KEY
    from napari_uncseg.viewer.volumes import oriented

    array, affine = oriented(np.asarray(data), attributes)
    known = attributes.get("metadata", {}).get(KEY)
    header = getattr(known, "header", None) or getattr(getattr(known, "source", None), "header", None)
    write_volume(Path(path), _storable(array), affine, header)
    return [path]


def write_layers(path: str, layers: list[tuple[Array, dict[str, Any], str]]) -> list[str]:
    """Write layers into a folder, a file each, named after the layers.

    Parameters
    ----------
    path : str
        Folder; made if it is not there.
    layers : list of (ndarray, dict, str)
        Data, attributes and type of each layer.

    Returns
    -------
    list of str
        The files that were written.

    Raises
    ------
    SaveError
        When a file of that name is there already.
    UncsegError
        As for :func:`write_layer`.
    """
    files: dict[Path, tuple[Array, dict[str, Any]]] = {}
    for data, attributes, _ in layers:
        name = re.sub(r"[^\w.+-]+", "_", str(attributes["name"])).strip("_.") or "layer"
        numbered = (Path(path) / f"{name}{f'_{number}' * (number > 1)}.nii.gz" for number in count(1))
        files[next(file for file in numbered if file not in files)] = (data, attributes)
    for file in files:
        if exists(file, SaveError):
            raise SaveError(f"{file} is there already; choose another folder.")
    for file, (data, attributes) in files.items():
        write_layer(str(file), data, attributes)
    return [str(file) for file in files]


def _storable(array: Array) -> Array:
    """Values in a type that every NIfTI reader knows, without loss where there is one."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2:
        for smaller in (np.uint8, np.int16, np.uint16):
            if array.min(initial=0) >= np.iinfo(smaller).min and array.max(initial=0) <= np.iinfo(smaller).max:
                return array.astype(smaller)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
