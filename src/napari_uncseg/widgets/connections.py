"""Connections to what outlives a panel, undone when the panel goes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget


class Ties:
    """Signals of a session and keys of a viewer that call methods of a panel, as long as it lives.

    Parameters
    ----------
    panel : QWidget
        Owner of the methods.
    """

    def __init__(self, panel: QWidget) -> None:
        self._undo: list[Callable[[], None]] = []
        panel.destroyed.connect(self.let_go)

    def connect(self, signal: Any, method: Callable[..., None]) -> None:
        """Call a bound method of the panel when a signal of psygnal is emitted."""
        weak = weakref.WeakMethod(method)

        def call(*arguments: object) -> None:
            alive = weak()
            if alive is not None:
                alive(*arguments)

        signal.connect(call)
        self._undo.append(partial(signal.disconnect, call, missing_ok=True))

    def bind(self, viewer: ViewerModel, panel: QWidget, actions: Mapping[str, Callable[[], None]]) -> None:
        """Call bound methods of the panel by key, in the viewer's canvas and in the panel.

        Parameters
        ----------
        viewer : ViewerModel
        panel : QWidget
        actions : mapping of str to callable
            Key as napari writes it, such as ``Shift-N`` -> method.
        """
        for key, method in actions.items():
            press = _weakly(method)
            viewer.bind_key(key, press, overwrite=True)
            self._undo.append(partial(viewer.bind_key, key, None))
            shortcut = QShortcut(QKeySequence(key.replace("-", "+")), panel)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(press)

    def let_go(self, _object: object = None) -> None:
        """Undo all connections."""
        undo, self._undo = self._undo, []
        for each in undo:
            each()


def _weakly(method: Callable[[], None]) -> Callable[..., None]:
    """A function, which unlike a partial has the name napari asks every key's command for; the panel is held weakly."""
    weak = weakref.WeakMethod(method)

    def press(_viewer: object = None) -> None:
        alive = weak()
        if alive is not None:
            alive()

    return press
