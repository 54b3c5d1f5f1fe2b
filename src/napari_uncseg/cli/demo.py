"""The window with a study and its result, and a picture of it: what ``uncseg view`` and ``uncseg demo`` open."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_uncseg.cli.display import WINDOW_SIZE, run_windowed
from napari_uncseg.errors import SaveError, StudyError, UncsegError, reason_of
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.files import exists, is_dir
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import (
    JSON_SUFFIX,
    check_made_from,
    find_result_of,
    find_results,
    load_prediction,
    made_from,
    read_result,
)
from napari_uncseg.io.study import Study

if TYPE_CHECKING:
    from napari import Viewer

SEGMENT = "Segment with uncertainty"
PANELS: tuple[str, ...] = (SEGMENT, "Threshold")
"""Widgets of the plugin that are opened beside the picture, top to bottom."""

PICTURE_TIMEOUT_S = 300.0
"""After this long a window that was to be photographed is given up."""


def results_instead(path: Path) -> Path | None:
    """Folder of results that stands where a study is looked for and none is.

    Parameters
    ----------
    path : Path
        ``OUT``, ``OUT/<id>`` or a file in it.

    Returns
    -------
    Path or None
        What ``--results`` takes; None when there is a study, or no result either.
    """
    with suppress(StudyError):
        find_studies(path)
        return None
    if not exists(path):
        return None
    folder = path if is_dir(path) else path.parent
    found = find_results(folder)
    return folder if any(is_dir(path) or result.parent == folder for result in found) else None


@dataclass(frozen=True)
class Results:
    """A prediction and the folder it was read from."""

    prediction: Prediction
    folder: Path


def results_of(study: Study, named: Path | None, nearby: Sequence[Path]) -> Results | None:
    """The result of a study that stands in a folder.

    Parameters
    ----------
    study : Study
        The study it must belong to.
    named : Path, optional
        Where the user says it is: ``OUT`` or ``OUT/<id>``.
    nearby : sequence of Path
        Where to look when the user says nothing.

    Raises
    ------
    StudyError
        When there is none in the named folder, or it was made on another grid.
    """
    if named is None:
        found = (path for folder in nearby if (path := find_result_of(study, folder)) is not None)
        path = next((path for path in found if made_from(read_result(path).provenance, study)), None)
        if path is None:
            return None
    elif (path := find_result_of(study, named)) is None:
        raise StudyError(
            f"{named} holds no result of {study.id} ({study.id}{JSON_SUFFIX} is not there): name the folder given to "
            "`uncseg predict -o`, or leave out --results."
        )
    prediction = load_prediction(path)
    check_made_from(prediction.provenance, study.inputs, study.id, f"in {path.parent}")
    if not same_grid(prediction.shape, prediction.affine, study.shape, study.affine):
        raise StudyError(
            f"The result in {path.parent} was made on another grid than study {study.id} has now: predict the study "
            "again."
        )
    return Results(prediction, path.parent)


def build_window(study: Study, results: Results | None, panels: Sequence[str] = PANELS) -> Viewer:
    """Open napari with a study, its result if there is one, and the plugin's panels.

    Parameters
    ----------
    study : Study
        What is shown.
    results : Results, optional
        What is laid over it.
    panels : sequence of str
        Names of the plugin's widgets to dock at the right.

    Returns
    -------
    napari.Viewer
        On the axial slice with the most tumour.
    """
    import napari

    from napari_uncseg.viewer.layers import add_prediction, add_study

    if results is not None:  # its images may be called otherwise when they are searched for by themselves
        study = dataclasses.replace(study, id=results.prediction.study_id)
    viewer = napari.Viewer(title=f"napari-uncseg: {study.id}")
    add_study(viewer, study)
    if results is not None:
        add_prediction(viewer, results.prediction)
    for panel in panels:
        _, widget = viewer.window.add_plugin_dock_widget("napari-uncseg", panel)
        if panel == SEGMENT and results is not None:
            widget.results.folder.line.setText(str(results.folder.parent))
            widget.results.present(study, results.prediction)
    viewer.window.resize(*WINDOW_SIZE)
    # Docks take their size and the canvas its own over several turns of the event loop; only then does the view fit.
    _settle(1.0)
    viewer.reset_view()
    return viewer


def _settle(seconds: float) -> None:
    """Let the window work off what it has to draw."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def save_picture(viewer: Viewer, path: Path) -> None:
    """Save the whole window, menus and panels included, once it stopped changing.

    Parameters
    ----------
    viewer : napari.Viewer
        An open one.
    path : Path
        A ``.png`` file; it is replaced.

    Raises
    ------
    SaveError
        When the file cannot be written.
    """
    from napari.utils.io import imsave

    _settle(1.0)
    image = viewer.screenshot(canvas_only=False, flash=False)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.png")
    try:
        imsave(str(temporary), image)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        temporary.unlink(missing_ok=True)
        raise SaveError(f"The picture cannot be saved as {path} ({reason_of(error)}): choose another place.") from error


def show_window(study: Study, results: Results | None) -> None:
    """Open the window and return when the user closes it."""
    import napari

    build_window(study, results)
    napari.run()


def take_picture(study: Study, results: Results | None, path: Path) -> None:
    """Open the window, save a picture of it and close it."""
    viewer = build_window(study, results)
    try:
        save_picture(viewer, path)
    finally:
        viewer.close()


def picture_elsewhere(view_arguments: Sequence[str], path: Path) -> None:
    """Have a picture taken by a process of its own, on a virtual display when there is no other.

    Parameters
    ----------
    view_arguments : sequence of str
        Arguments of ``uncseg view`` without ``--screenshot``.
    path : Path
        The ``.png`` file to write.

    Raises
    ------
    UncsegError
        When no window can be opened; the message says why as far as it is known.
    """
    path = path.resolve()
    command = ["-m", "napari_uncseg.cli.app", "view", *view_arguments, "--screenshot", str(path)]
    before = _modified(path)
    result = run_windowed(command, timeout=PICTURE_TIMEOUT_S)
    if result.returncode == 0 and _modified(path) != before:
        return
    reason = next(iter(reversed(result.stderr.strip().splitlines())), f"it ended with code {result.returncode}")
    if reason.startswith("error: "):
        raise UncsegError(reason.removeprefix("error: "))
    raise UncsegError(
        f"No picture of the window could be taken ({reason}): run `uncseg doctor` to see what is missing."
    )


def _modified(path: Path) -> int | None:
    """When a file was last written, in nanoseconds; ``None`` when there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
