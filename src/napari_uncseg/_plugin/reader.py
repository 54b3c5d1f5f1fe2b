"""napari's way in: study folders, result folders and single NIfTI files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_uncseg.io.prediction import Prediction
    from napari_uncseg.io.study import Study

_DEPTH = 3
"""Levels of folders below the given one where images are looked for."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[Layer]] | None:
    """Say whether a path can be read here.

    Parameters
    ----------
    path : str or list of str
        A study folder, a result folder, a ``.nii`` or ``.nii.gz`` file, or several of them.

    Returns
    -------
    callable or None
        Reads the path and returns layers.
    """
    paths = _paths(path)
    return read if paths and all(_readable(one) for one in paths) else None


def read(path: str | list[str]) -> list[Layer]:
    """Layers of a path.

    Parameters
    ----------
    path : str or list of str
        As for :func:`get_reader`.

    Returns
    -------
    list of napari.layers.Layer
        From the bottom up.

    Raises
    ------
    UncsegError
        When the folder holds no single study, or a file cannot be read.
    """
    return [layer for one in _paths(path) for layer in (_read_folder(one) if one.is_dir() else _read_file(one))]


def arrange_soon(source: Study | Prediction) -> None:
    """Have the layers that are about to be returned to napari shown as those of a run, once it has added them.

    A reader knows no viewer, so napari alone would show a study opened twice twice, and give no scale bar and no note.

    Parameters
    ----------
    source : Study or Prediction
        What the layers show.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:  # read without a window
        return
    from qtpy.QtCore import QTimer

    from napari_uncseg.viewer.layers import arrange_opened

    QTimer.singleShot(0, partial(arrange_opened, viewer, source))


def _read_folder(folder: Path) -> list[Layer]:
    from napari_uncseg.errors import StudyError
    from napari_uncseg.io.discovery import find_studies
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.results import find_results, load_prediction
    from napari_uncseg.viewer.layers import prediction_layers

    results = find_results(folder)
    if any(path.parent == folder for path in results):
        prediction = load_prediction(folder)
        arrange_soon(prediction)
        return prediction_layers(prediction)
    if results:
        names = _few([path.parent.name for path in results])
        raise StudyError(f"{folder} holds the results of {len(results)} studies ({names}); open one folder.")
    studies = find_studies(folder)
    if len(studies) > 1:
        raise StudyError(
            f"{folder} holds {len(studies)} studies ({_few([study.id for study in studies])}); open one of them."
        )
    return study_layers_to_open(load_study(studies[0]))


def study_layers_to_open(study: Study) -> list[Layer]:
    """Layers of a study for napari to add, here and in the sample; see :func:`arrange_soon`."""
    from napari_uncseg.viewer.layers import study_layers

    arrange_soon(study)
    return study_layers(study)


def _read_file(path: Path) -> list[Layer]:
    from napari_uncseg.errors import StudyError
    from napari_uncseg.io.discovery import find_studies
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.nifti import read_volume
    from napari_uncseg.viewer.volumes import volume_layers

    volume = read_volume(path)
    if volume.channels == 4:
        try:
            return study_layers_to_open(load_study(find_studies(path)[0]))
        except StudyError:
            # Four volumes that are no study of the Decathlon: shown as they are.
            return volume_layers(volume)
    return volume_layers(volume)


def _readable(path: Path) -> bool:
    from napari_uncseg.io.nifti import is_nifti

    if path.is_dir():
        return any(is_nifti(file) for file in _files(path, _DEPTH))
    return is_nifti(path)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Files of a folder, those of its subfolders after its own."""
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    yield from (child for child in children if child.is_file())
    if depth > 0:
        for child in children:
            if child.is_dir():
                yield from _files(child, depth - 1)


def _paths(path: str | list[str]) -> list[Path]:
    return [Path(one) for one in path] if isinstance(path, list) else [Path(path)]


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
