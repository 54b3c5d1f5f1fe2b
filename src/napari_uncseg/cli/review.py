"""``uncseg review``: a folder of results in the window, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Debug, Screenshot

if TYPE_CHECKING:
    from napari import Viewer

PANEL = "Review"
CONTROLS, ROOMY = "layer controls", 1500
"""Napari's panel for the colours of a layer, which is put away in a window of fewer pixels than that in width."""


@handle_errors
def review(
    results: Annotated[Path, typer.Argument(help="OUT of uncseg predict, or the result of one study in it.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the studies, if it moved since they were predicted.")
    ] = None,
    screenshot: Screenshot = None,
    debug: Debug = False,
) -> None:
    """Review saved results: open the study to review first, or the one you stopped at; neither needs a network."""
    from napari_uncseg.cli.console import note
    from napari_uncseg.cli.window import has_display, run_or_save, splash
    from napari_uncseg.errors import UncsegError
    from napari_uncseg.review.worklist import list_cases

    listed = list_cases(results, images)
    if not has_display():
        raise UncsegError("There is no display to open a window on: run it on a desktop, or under xvfb-run.")
    what = f"{len(listed.cases)} {'study' if len(listed.cases) == 1 else 'studies'} of {results}"
    note(f"Opening {what} …")
    with splash(f"Opening {what} …"):
        viewer = build_review(results, images)
    if (saved := run_or_save(viewer, screenshot)) is not None:
        typer.echo(f"picture of the window saved as {saved}")


def build_review(results: Path, images: Path | None) -> Viewer:
    """Open napari with the panel *Review* on a folder of results; the first case is read while the window is there.

    Parameters
    ----------
    results : Path
    images : Path, optional
        Folder of the studies.

    Returns
    -------
    napari.Viewer
        With a case in it, unless it could not be read.
    """
    from qtpy.QtWidgets import QDockWidget

    from napari_uncseg.cli.window import WINDOW_SIZE, make_viewer, settle
    from napari_uncseg.viewer.picture import fit_to_brain

    viewer = make_viewer(f"napari-uncseg: {results.name}")
    _, panel = viewer.window.add_plugin_dock_widget("napari-uncseg", PANEL)
    panel.cases.show_folders(results, images)
    panel.cases.open_chosen()
    window = panel.window()
    screen = window.screen().availableSize()
    width, height = min(WINDOW_SIZE[0], screen.width()), min(WINDOW_SIZE[1], screen.height())
    for dock in window.findChildren(QDockWidget, CONTROLS):
        dock.setVisible(width >= ROOMY)
    viewer.window.resize(width, height)
    while panel.cases.reading:
        settle(0.05)
    settle(0.5)  # docks take their size and the canvas its own over several turns of the event loop
    fit_to_brain(viewer)
    return viewer
