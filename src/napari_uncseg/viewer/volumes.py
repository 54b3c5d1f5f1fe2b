"""Layers of single NIfTI files, and the way back: from layers in the viewer to arrays in their own voxel order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer

from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import strangers
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.loading import study_from_arrays
from napari_uncseg.io.naming import read_name
from napari_uncseg.io.nifti import Volume, finite, stem
from napari_uncseg.io.study import Source, Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, Label
from napari_uncseg.maps import MAPS, Measure
from napari_uncseg.viewer.colormaps import labels_colormap, map_colormap, window_level
from napari_uncseg.viewer.orientation import AXES, display_affine, display_grid, from_display, to_display
from napari_uncseg.viewer.tags import KEY, Plain, Tag, tag_of

_SEGMENTATION = re.compile(r"(^|[-_. ])(seg|label|mask|segmentation)s?($|[-_. ])", re.IGNORECASE)
_MOST_LABELS = 255
_MOST_CHANNELS = 8
"""More volumes than this in a 4-D file are taken as a time series."""


def volume_layers(volume: Volume) -> list[Layer]:
    """Layers of a NIfTI file, as hung by radiologists.

    Integers in a file whose name says ``seg``, ``label`` or ``mask`` become labels; a map that this plugin wrote gets
    its colours; the volumes of a 4-D file become a layer each.

    Parameters
    ----------
    volume : Volume
        Content of the file.

    Returns
    -------
    list of napari.layers.Layer
    """
    name = stem(volume.path)
    if volume.channels > _MOST_CHANNELS:
        raise StudyError(
            f"{volume.path} holds {volume.channels} volumes; at most {_MOST_CHANNELS} are shown, so split it first."
        )
    if volume.channels > 1:
        titles = _channel_titles(name, volume.channels)
        return [_image(volume, channel, title, whole=False) for channel, title in enumerate(titles)]
    if _SEGMENTATION.search(name):
        values = volume.values()
        whole = values.astype(np.uint8)
        if np.array_equal(values, whole) and int(whole.max()) <= _MOST_LABELS:
            return [_labels(volume, whole, name)]
    return [_image(volume, 0, name, whole=True)]


def layer_volume(layer: Layer) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Data of a layer in its file's voxel order, with the affine to RAS+ millimetres.

    Raises
    ------
    StudyError
        When nothing tells how the layer is oriented.
    """
    data = np.asarray(layer.data)
    return oriented(data, layer.as_layer_data_tuple()[1])


def oriented(data: npt.NDArray[Any], attributes: Mapping[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """As :func:`layer_volume`, for the data and attributes that napari hands to a writer."""
    name = attributes.get("name", "this layer")
    if data.ndim != 3:
        raise StudyError(f"Layer {name} has {data.ndim} dimensions; choose a 3-D volume.")
    known = attributes.get("metadata", {}).get(KEY)
    if isinstance(known, Tag | Plain):
        own = from_display(data, known.affine)
        grid = display_grid(own.shape, known.affine)
        if np.allclose(grid.scale, attributes["scale"]) and np.allclose(grid.translate, attributes["translate"]):
            return own, known.affine
    if tuple(attributes.get("axis_labels", ())) == AXES:
        return data, display_affine(attributes["scale"], attributes["translate"])
    raise StudyError(
        f"Layer {name} does not say how it is oriented in the patient; open its file with this plugin "
        "(File > Open with Plugin) and choose that layer."
    )


def study_from_layers(layers: Mapping[str, Layer | None]) -> Study:
    """The study that four open layers make.

    Parameters
    ----------
    layers : mapping of str to Layer
        A layer for each modality.

    Returns
    -------
    Study
        The very study the layers were opened from, with its reference, or a new one for layers of single files.

    Raises
    ------
    StudyError
        When a modality is missing, a layer is used twice or the grids differ.
    """
    chosen = _four_layers(layers)
    tags = {modality: tag_of(layer) for modality, layer in chosen.items()}
    study = tags["t1c"].source if tags["t1c"] is not None else None
    if isinstance(study, Study) and all(
        tag is not None and tag.source is study and tag.name == modality for modality, tag in tags.items()
    ):
        return study
    volumes = {modality: layer_volume(layer) for modality, layer in chosen.items()}
    first, affine = volumes["t1c"]
    for modality, (data, other) in volumes.items():
        if not same_grid(first.shape, affine, data.shape, other):
            raise StudyError(
                f"Layers {chosen['t1c'].name} and {chosen[modality].name} lie on different grids "
                f"({first.shape} and {data.shape} voxels); put them on one grid, as uncseg predict --resample does."
            )
    files = {m: known for m, layer in chosen.items() if isinstance(known := layer.metadata.get(KEY), Plain)}
    names = [read_name(known.source.path) for known in files.values() if known.source is not None]
    return study_from_arrays(
        np.stack([data for data, _ in volumes.values()]).astype(np.float32),
        affine,
        id=_common_name([layer.name for layer in chosen.values()]),
        sources=[replace(known.source, role=m) for m, known in files.items() if known.source is not None],
        header=files["t1c"].header if "t1c" in files else None,
        warnings=[*_misplaced(chosen, tags), *strangers(filter(None, names))],
    )


def _misplaced(chosen: Mapping[str, Layer], tags: Mapping[str, Tag | None]) -> Iterator[str]:
    """Of layers that were opened as something else, or of another study, a sentence each."""
    known = {modality: tag for modality, tag in tags.items() if tag is not None}
    for modality, tag in known.items():
        if tag.name != modality:
            what = f"Layer {chosen[modality].name} is taken for {MODALITY_TITLES[modality]}"
            yield f"{what}, but was opened as {tag.title}; check which it is."
    if len(ids := {tag.study_id for tag in known.values()}) > 1:
        yield f"The layers are of different studies ({' and '.join(sorted(ids))}); check whose they are."


def _four_layers(layers: Mapping[str, Layer | None]) -> dict[str, Layer]:
    """Four different layers in the order of the modalities."""
    chosen = {modality: layer for modality in MODALITIES if (layer := layers.get(modality)) is not None}
    missing = [MODALITY_TITLES[modality] for modality in MODALITIES if modality not in chosen]
    if missing:
        raise StudyError(f"No layer is chosen for {', '.join(missing)}; open the image and choose it.")
    for modality, layer in chosen.items():
        other = next(name for name in MODALITIES if chosen[name] is layer)
        if other != modality:
            raise StudyError(
                f"Layer {layer.name} is chosen for both {MODALITY_TITLES[other]} and {MODALITY_TITLES[modality]}; "
                "choose four different layers."
            )
    return chosen


def _common_name(names: list[str]) -> str:
    """What the names of four layers begin with, or a plain word."""
    # "BraTS2021_00006_t" was cut inside a word: go back to where the last one ended.
    common = re.sub(r"[A-Za-z0-9]*$", "", os.path.commonprefix(names)).strip("-_. ")  # noqa: RUF071 - no paths
    return common or "study"


def _channel_titles(name: str, channels: int) -> list[str]:
    if name.endswith("_probabilities") and channels == 3:
        return [f"p({region})" for region in ("WT", "TC", "ET")]
    return [f"{name} [{channel}]" for channel in range(channels)]


def _image(volume: Volume, channel: int, title: str, *, whole: bool) -> Image:
    values = finite(volume.values(channel))  # napari has no place for what is not
    array = to_display(values, volume.affine)
    source = Source("image", volume.path, volume.sha256) if whole else None
    map_name = next((name for name in sorted(MAPS, key=len, reverse=True) if title.endswith(f"_{name}")), None)
    if map_name is not None:
        upper = MAPS[Measure(map_name)].upper
        look = {"colormap": map_colormap(map_name), "blending": "translucent_no_depth", "contrast_limits": (0.0, upper)}
    else:
        # Most of a brain image is background, which would take the whole window.
        limits = window_level(values, values != values.flat[0])
        look = {"colormap": "gray", "interpolation2d": "linear", "contrast_limits": limits}
    known = {KEY: Plain(volume.affine, volume.header, source)}
    grid = display_grid(volume.shape, volume.affine).as_kwargs()
    layer = Image(array, name=title, metadata=known, **look, **grid)
    layer.colorbar.visible = map_name is not None
    return layer


def _labels(volume: Volume, values: npt.NDArray[np.uint8], name: str) -> Labels:
    colormap = labels_colormap(values) if int(values.max()) <= max(Label) + 1 else None
    return Labels(
        to_display(values, volume.affine),
        name=name,
        colormap=colormap,
        metadata={KEY: Plain(volume.affine, volume.header, Source("reference", volume.path, volume.sha256))},
        **display_grid(volume.shape, volume.affine).as_kwargs(),
    )
