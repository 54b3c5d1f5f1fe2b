"""Studies, results and images that are dropped on the picture: they are opened, without a question by which plugin."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.notifications import show_warning
from npe2 import PluginManager
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication

from napari_uncseg.errors import UncsegError
from napari_uncseg.viewer.picture import model_of
from napari_uncseg.widgets.common import failure_sentence

PLUGIN = "napari-uncseg"


def qt_viewer_of(viewer: ViewerModel) -> QtViewer | None:
    """The part of a viewer's window that shows its picture; None without a window."""
    model = model_of(viewer)
    views = (each for each in QApplication.allWidgets() if isinstance(each, QtViewer))
    return next((each for each in views if each.viewer is model), None)


def take_drops(viewer: ViewerModel) -> None:
    """Have what this plugin reads opened by it when it is dropped on the picture; once is enough."""
    view = qt_viewer_of(viewer)
    if view is not None and view.findChild(DropFilter) is None:
        view.installEventFilter(DropFilter(view))


class DropFilter(QObject):
    """Opens what is dropped, where this plugin reads it; leaves all else, and drops with Shift or Alt, to napari."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a drop."""
        if isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop and isinstance(watched, QtViewer):
            mime = event.mimeData()
            paths = [url.toLocalFile() for url in mime.urls()] if mime is not None else []
            if paths and all(paths) and not event.modifiers() and _reads(paths):
                event.acceptProposedAction()
                try:
                    watched.viewer.open(paths, plugin=PLUGIN)
                except UncsegError as error:
                    show_warning(failure_sentence(error))
                return True
        return super().eventFilter(watched, event)


def _reads(paths: list[str]) -> bool:
    reader = PluginManager.instance().commands.execute(f"{PLUGIN}.read", args=(paths,))
    return reader is not None and reader.__name__ != "refuse"  # what it refuses may be another plugin's
