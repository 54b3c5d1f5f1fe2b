"""Connections of a panel to what outlives it: undone when the panel goes, and holding nothing alive meanwhile."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget
from superqt.utils import QSignalDebouncer


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

    def bind_keys(self, viewer: ViewerModel, panel: QWidget, actions: Mapping[str, Callable[[], None]]) -> None:
        """Call bound methods of the panel by key, in the viewer's canvas and in the panel.

        Parameters
        ----------
        viewer : ViewerModel
        panel : QWidget
        actions : mapping of str to callable
            Key as Qt writes it, such as ``Shift+N`` -> method.
        """
        for key, method in actions.items():
            press, bound = _weakly(method), key.replace("+", "-")
            viewer.bind_key(bound, press, overwrite=True)
            self._undo.append(partial(viewer.bind_key, bound, None))
            shortcut = QShortcut(QKeySequence(key), panel)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(press)

    def disconnect_all(self, _object: object = None) -> None:
        """Undo all connections."""
        undo, self._undo = self._undo, []
        for each in undo:
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


def _disconnect(signal: Any, method: weakref.WeakMethod[Callable[..., None]]) -> None:
    alive = method()
    if alive is not None:
        signal.disconnect(alive)


def _weakly(method: Callable[[], None]) -> Callable[..., None]:
    """A function, which unlike a partial has the name napari asks every key's command for; the panel is held weakly."""
    weak = weakref.WeakMethod(method)

    def press(_viewer: object = None) -> None:
        alive = weak()
        if alive is not None:
            alive()

    return press
