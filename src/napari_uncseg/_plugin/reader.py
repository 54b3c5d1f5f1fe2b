"""napari's way in: study folders, result folders, single NIfTI files, and examinations in DICOM."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import entries, is_dir

if TYPE_CHECKING:
    from napari import Viewer
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
        A study folder, a result folder, a ``.nii`` or ``.nii.gz`` file, or several of them; or an examination in DICOM
        (folder, DICOMDIR or zip).

    Returns
    -------
    callable or None
        Reads the path and returns layers. It takes any folder: napari offers this plugin for all of them, and what is
        wrong with one is then told in a sentence.
    """
    paths = _paths(path)
    if len(paths) == 1 and _is_examination(paths[0]):
        return open_examination
    if paths and all(_readable(one) for one in paths):
        return read
    return refuse if any(is_dir(one, None) for one in paths) else None


def open_examination(path: str | list[str]) -> list[Any]:
    """Open the panel that prepares an examination in DICOM, with the path in it; no layers come of it yet."""
    from napari_uncseg.widgets.raw_study.panel import open_raw_study

    (one,) = _paths(path)
    _do_soon(partial(open_raw_study, path=one))
    return [(None,)]  # napari's way of saying so


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
    return [layer for one in _paths(path) for layer in (_read_folder(one) if is_dir(one) else _read_file(one))]


def refuse(path: str | list[str]) -> list[Layer]:
    """Say what is wrong with a folder that holds nothing to open.

    Raises
    ------
    StudyError
        Always.
    """
    folder = next(one for one in _paths(path) if is_dir(one, None))
    what = f"{folder} holds no study and no result"
    raise StudyError(f"{what}: open a folder with four NIfTI images, or one that uncseg predict wrote.")


def arrange_soon(source: Study | Prediction) -> None:
    """Have the layers that are about to be returned to napari shown as those of a run, once it has added them.

    A reader knows no viewer, so napari alone would show a study opened twice twice, and give no scale bar and no note.

    Parameters
    ----------
    source : Study or Prediction
        What the layers show.
    """
    from napari_uncseg.viewer.layers import arrange_opened

    _do_soon(lambda viewer: arrange_opened(viewer, source))
    _do_soon(_take_drops)


def _take_drops(viewer: Viewer) -> None:
    """From now on, open what is dropped on the picture without a question."""
    from napari_uncseg.widgets.drop import take_drops

    take_drops(viewer)


def _do_soon(act: Callable[[Viewer], None]) -> None:
    """Do something with the current viewer, if there is one, once it has what is about to be returned to it."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        from qtpy.QtCore import QTimer

        QTimer.singleShot(0, partial(act, viewer))


def _read_folder(folder: Path) -> list[Layer]:
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.results import find_results, load_prediction
    from napari_uncseg.viewer.layers import prediction_layers

    results = find_results(folder)
    if any(path.parent == folder for path in results):
        prediction = load_prediction(folder)
        arrange_soon(prediction)
        return prediction_layers(prediction)
    if results:
        names = ", ".join(path.parent.name for path in results[:3])
        raise StudyError(f"{folder} holds the results of {len(results)} studies ({names} …); open one folder.")
    return study_layers_to_open(load_study(folder))


def study_layers_to_open(study: Study) -> list[Layer]:
    """Layers of a study for napari to add, here and in the sample; see :func:`arrange_soon`."""
    from napari_uncseg.viewer.layers import study_layers

    arrange_soon(study)
    return study_layers(study)


def _read_file(path: Path) -> list[Layer]:
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.nifti import read_volume
    from napari_uncseg.viewer.bindings import bind_viewer
    from napari_uncseg.viewer.volumes import volume_layers

    volume = read_volume(path)
    if volume.channels == 4:
        with suppress(StudyError):  # four volumes that are no study of the Decathlon are shown as they are
            return study_layers_to_open(load_study(path))
    _do_soon(bind_viewer)
    _do_soon(_take_drops)
    return volume_layers(volume)


def _is_examination(path: Path) -> bool:
    from napari_uncseg.dicom.files import InputKind, kind_of

    return not _readable(path) and kind_of(path) is InputKind.DICOM


def _readable(path: Path, depth: int = _DEPTH) -> bool:
    """Whether a path is an image, or a folder that holds one not too far down."""
    from napari_uncseg.io.nifti import is_nifti

    if not is_dir(path, None):
        return is_nifti(path)
    with suppress(StudyError):
        inside = entries(path) if depth >= 0 else []
        return any(map(is_nifti, inside)) or any(_readable(entry, depth - 1) for entry in inside)
    return False


def _paths(path: str | list[str]) -> list[Path]:
    return [Path(one) for one in path] if isinstance(path, list) else [Path(path)]
