"""``uncseg review``: a folder of results in the window, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.console import note
from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug, Screenshot
from napari_uncseg.errors import UncsegError

if TYPE_CHECKING:
    from napari import Viewer
    from qtpy.QtWidgets import QMainWindow, QWidget

    from napari_uncseg.review.opened_case import OpenedCase
    from napari_uncseg.review.worklist import ListedCase

PANEL = "Review"
CONTROLS, LIST, ROOMY = "layer controls", "layer list", 1500
"""Napari's panel for the colours of a layer, which is put away in a window of fewer pixels than that in width, and its
list of layers."""

LEAST_SHARE = 0.45
"""Share of the window's width below which the picture gets the room of both, whatever the window's width."""


@handle_errors
def review(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="OUT of uncseg predict, or the result of one study in it.")
    ],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the studies, if it moved since they were predicted.")
    ] = None,
    screenshot: Screenshot = None,
    debug: Debug = False,
) -> None:
    """Review saved results: open the study to review first, or the one you stopped at; neither needs a network."""
    from napari_uncseg.cli.window import has_display, picture_elsewhere, run_or_save, splash
    from napari_uncseg.io.command import option_words
    from napari_uncseg.review.opened_case import open_case
    from napari_uncseg.review.state import recall_case, state_folder
    from napari_uncseg.review.worklist import list_cases

    listed = list_cases(results, images)
    if not has_display():
        if screenshot is None:
            what = "There is no display to open a window on: run it on a desktop, or name a picture with --screenshot"
            raise UncsegError(f"{what}.")
        picture_elsewhere(["review", str(results), *option_words({"--images": images})], screenshot)
        typer.echo(f"picture of the window saved as {screenshot}")
        return
    what = f"{len(listed.cases)} {'study' if len(listed.cases) == 1 else 'studies'} of {results}"
    note(f"Opening {what} …")
    first = listed.case(recall_case(state_folder(), results, images)) or next(iter(listed.cases), None)
    # It is read while napari is imported, which takes as long.
    with ThreadPoolExecutor(1) as reader:
        expected = (first, reader.submit(open_case, first).result) if first is not None else None
        with splash(f"Opening {what} …"):
            viewer = build_review(results, images, expected)
    if (saved := run_or_save(viewer, screenshot)) is not None:
        typer.echo(f"picture of the window saved as {saved}")


def build_review(
    results: Path, images: Path | None, expected: tuple[ListedCase, Callable[[], OpenedCase]] | None = None
) -> Viewer:
    """Open napari with the panel *Review* on a folder of results; the first case is read while the window is there.

    Parameters
    ----------
    results : Path
    images : Path, optional
        Folder of the studies.
    expected : tuple of ListedCase and callable, optional
        The first case, which is being read already, and what waits for it.

    Returns
    -------
    napari.Viewer
        With a case in it, unless it could not be read.
    """
    from napari.settings import get_settings
    from qtpy.QtWidgets import QDockWidget

    from napari_uncseg.cli.window import WINDOW_SIZE, make_viewer, settle
    from napari_uncseg.viewer.picture import fit_to_brain

    viewer = make_viewer(f"napari-uncseg: {results.name}")
    _, panel = viewer.window.add_plugin_dock_widget("napari-uncseg", PANEL)
    panel.cases.show_folders(results, images)
    if expected is not None:
        panel.cases.expect(*expected)
    panel.cases.open_chosen()
    window = panel.window()
    screen = window.screen().availableSize()
    width, height = min(WINDOW_SIZE[0], screen.width()), min(WINDOW_SIZE[1], screen.height())
    kept = get_settings().application
    own_layout = kept.save_window_state and kept.window_state  # which napari has restored
    if not own_layout:
        for dock in window.findChildren(QDockWidget, CONTROLS):
            dock.setVisible(width >= ROOMY)
    viewer.window.resize(width, height)
    while panel.cases.reading:
        settle(0.05)
    if not own_layout:
        make_room(window, panel)
    settle(0.5)  # docks take their size and the canvas its own over several turns of the event loop
    fit_to_brain(viewer)
    return viewer


def make_room(window: QMainWindow, panel: QWidget) -> None:
    """Where the picture is narrow, put napari's controls of a layer away, and lay its list of layers behind the panel.

    Parameters
    ----------
    window : QMainWindow
    panel : QWidget
        In a dock, of which the list becomes a tab.
    """
    from qtpy.QtWidgets import QDockWidget

    from napari_uncseg.cli.window import settle

    docks = {dock.objectName(): dock for dock in window.findChildren(QDockWidget)}
    beside = next(dock for dock in docks.values() if dock.isAncestorOf(panel))
    picture = window.centralWidget()
    assert picture is not None
    if picture.width() < LEAST_SHARE * window.width():
        docks[CONTROLS].hide()
        settle(0.1)  # docks take their size in the next turns of the event loop
    if picture.width() < LEAST_SHARE * window.width():
        window.tabifyDockWidget(beside, docks[LIST])
        beside.raise_()
