"""What all panels are made of, and their connections to what outlives them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import napari
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QDockWidget, QLayout, QMainWindow, QScrollArea, QStyle, QWidget
from superqt.utils import QSignalDebouncer

from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.viewer.bindings import bind_viewer
from napari_uncseg.viewer.picture import layer_events
from napari_uncseg.widgets.common import Note, column, weakly
from napari_uncseg.widgets.drop import qt_viewer_of, take_drops


class Connections:
    """Signals of psygnal or napari and keys of a viewer that call methods of a panel, as long as it lives.

    Both libraries hold bound methods weakly, but know nothing of Qt's deletions.

    Parameters
    ----------
    owner : QObject
        When it is destroyed, all is undone.
    """

    def __init__(self, owner: QObject) -> None:
        self._undo: list[Callable[[], None]] = []
        owner.destroyed.connect(self.disconnect_all)

    def connect(self, signal: Any, method: Callable[..., None]) -> None:
        """Call a bound method when a signal of psygnal or an event of napari is emitted."""
        signal.connect(method)
        self._undo.append(partial(_disconnect, signal, weakref.WeakMethod(method)))

    def bind_keys(self, viewer: ViewerModel, panel: QWidget | None, actions: Mapping[str, tuple[Any, ...]]) -> None:
        """Call bound methods by key, in the viewer's canvas and in the panel if there is one.

        Parameters
        ----------
        viewer : ViewerModel
        panel : QWidget, optional
        actions : mapping of str to tuple
            Key as Qt writes it, such as ``Shift+N`` -> method and what it is called with.
        """
        for key, (method, *arguments) in actions.items():
            press, bound = weakly(method, *arguments), key.replace("+", "-")
            viewer.bind_key(bound, press, overwrite=True)
            self._undo.append(partial(viewer.bind_key, bound, None))
            if panel is not None:
                shortcut = QShortcut(QKeySequence(key), panel, press)
                shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)

    def disconnect_all(self, _object: object = None) -> None:
        """Undo all connections."""
        undo, self._undo = self._undo, []
        for each in undo:
            with suppress(RuntimeError):  # what it was connected to is gone already
                each()


class Watch(QObject):
    """Calls a method once after a burst of events.

    Parameters
    ----------
    owner : QObject
        Owner of the method.
    changed : callable
        Bound method.
    delay_ms : int
        How long after the last event; 0 for the next turn of the event loop.
    """

    def __init__(self, owner: QObject, changed: Callable[[], None], delay_ms: int = 0) -> None:
        super().__init__(owner)
        self._connections = Connections(owner)
        self._later = QSignalDebouncer(parent=self)
        self._later.setTimeout(delay_ms)
        self._later.triggered.connect(changed)

    def follow(self, emitters: Iterable[Any]) -> None:
        """Listen to these events of napari and to no others."""
        self._connections.disconnect_all()
        for emitter in emitters:
            self._connections.connect(emitter, self._later.throttle)

    def follow_edits(self, layers: Iterable[Layer]) -> None:
        """Listen to changes of these layers' labels; scrolling counts, for napari tells of undo no better."""
        self.follow(emitter for layer in layers for emitter in (layer.events.set_data, layer.events.paint))


def _disconnect(signal: Any, method: weakref.WeakMethod[Callable[..., None]]) -> None:
    alive = method()
    if alive is not None:
        signal.disconnect(alive)


EDIT_DELAY_MS = 400
"""How long after the last change of labels a panel hears of it, and a draft of it is kept."""


PANEL_WIDTH = 340
"""What a panel asks for, in pixels, unless letters are large: the canvas needs the rest."""

PANEL_HEIGHT = 120
"""Least height of what is seen of the content; what is longer is scrolled. More would make the window grow."""


class Panel(QWidget):
    """A panel of the main window: scrolled content, below it what it may be used for.

    It lets go of the viewer when it leaves its dock, which napari does not delete. When it is first shown, its dock is
    laid onto that of another panel: stacked, four docks would be taller than a screen. Slots are bound methods
    throughout: a function that held the panel would keep it until Python collects garbage, and Qt objects that are
    collected so bring the process down.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer.
    host : Panel, optional
        The panel that this one is a part of: that one scrolls, and its keys are those of both.
    """

    def __init__(self, viewer: napari.viewer.Viewer, host: Panel | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        bind_viewer(viewer)
        take_drops(viewer)
        self._is_part = host is not None  # no reference: Python would need its garbage collector
        self._connections = Connections(self)
        self._layers = Watch(self, self.refresh)
        self._settled = False

    def refresh(self) -> None:
        """Look again at what is open; called after :func:`layer_events`."""

    def watch_layers(self) -> None:
        """Refresh from now on whenever layers show something else."""
        self._layers.follow(layer_events(self._viewer))

    def fill(self, *items: QWidget | QLayout, stretched: QWidget | None = None) -> None:
        """Lay out the content, from the top; one of the widgets may take what height is left."""
        layout = column(*items, margins=(0, 0, 0, 0) if self._is_part else (8, 4, 8, 8))
        if stretched is not None:
            layout.setStretchFactor(stretched, 100)
        if self._is_part:
            self.setLayout(layout)
            return
        layout.addStretch(1)
        content, area, footer = QWidget(), _Column(), Note(f"{RESEARCH_USE_ONLY.partition(',')[0]}.")  # one line
        footer.setToolTip(RESEARCH_USE_ONLY)
        content.setLayout(layout)
        area.setWidget(content)
        area.setMinimumHeight(PANEL_HEIGHT)
        footer.setContentsMargins(8, 2, 8, 6)
        footer.installEventFilter(self)
        self.setLayout(column(area, footer))

    def focus_picture(self) -> None:
        """Give the focus to the picture of the main window, where the keys of a review are pressed."""
        shown = qt_viewer_of(self._viewer)
        if shown is not None:
            shown.canvas.native.setFocus(Qt.FocusReason.OtherFocusReason)

    def paint_picture(self) -> None:
        """Have the picture seen now, and not when everything else is done."""
        shown = qt_viewer_of(self._viewer)
        if shown is not None:
            shown.canvas.native.repaint()

    def release(self) -> None:
        """Let go of viewer and session; called when napari takes the panel out of its dock, which deletes nothing."""
        self._connections.disconnect_all()
        for watch in self.findChildren(Watch):
            watch.follow(())

    def event(self, event: QEvent | None) -> bool:
        """Notice when the panel is first shown, and when it leaves its dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.release()
        if event is not None and event.type() == QEvent.Type.Show and not self._settled:
            self._settled = True
            QTimer.singleShot(0, self._settle)
        return super().event(event)

    def eventFilter(self, footer: QObject | None, event: QEvent | None) -> bool:
        """Follow the letters of a label: napari's theme tells their size to it, but not to tables and fields."""
        if event is not None and event.type() == QEvent.Type.FontChange and isinstance(footer, Note):
            letters = self.font()
            letters.setPixelSize(footer.fontInfo().pixelSize())
            self.setFont(letters)
        return super().eventFilter(footer, event)

    def _settle(self) -> None:
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        window = dock.parentWidget() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow) or window.tabifiedDockWidgets(dock):
            return
        for other in window.findChildren(QDockWidget):
            beside = window.dockWidgetArea(other) == window.dockWidgetArea(dock)
            seen = beside and other.isVisible() and not other.isFloating()
            if other is not dock and seen and other.findChildren(Panel):
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return


_REASONS = (QEvent.Type.LayoutRequest, QEvent.Type.Resize, QEvent.Type.FontChange, QEvent.Type.Show)
"""Events after which the height of a panel's content may be another one; of what is hidden Qt asks for no layout."""


class _Column(QScrollArea):
    """Scrolls up and down alone: it asks for the width of its content, which grows with the letters of the theme."""

    def __init__(self) -> None:
        super().__init__()
        self._later = QSignalDebouncer(parent=self)
        self._later.setTimeout(0)
        self._later.triggered.connect(self._keep_height)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QScrollArea.Shape.NoFrame)

    def minimumSizeHint(self) -> QSize:
        """Wide enough for the content."""
        content, bar, style = self.widget(), self.verticalScrollBar(), self.style()
        least = super().minimumSizeHint()
        if content is not None and bar is not None and style is not None:
            between = style.pixelMetric(QStyle.PixelMetric.PM_ScrollView_ScrollBarSpacing, None, self)
            width = content.minimumSizeHint().width() + bar.sizeHint().width() + between
            least.setWidth(max(PANEL_WIDTH, width))
        return least

    def event(self, event: QEvent | None) -> bool:
        """Ask anew when the content has changed, and once more when its inner layouts have followed."""
        if event is not None and event.type() in _REASONS:
            self.updateGeometry()
            self._keep_height()
            self._later.throttle()
        return super().event(event)

    def _keep_height(self) -> None:
        """Scroll sooner than let lines overlap: Qt itself does not count how often the lines of the content wrap."""
        content, port = self.widget(), self.viewport()
        layout = content.layout() if content is not None else None
        if content is not None and layout is not None and port is not None:
            # Where no line wraps there is no such height, and Qt says -1.
            content.setMinimumHeight(max(0, layout.totalHeightForWidth(port.width())))
