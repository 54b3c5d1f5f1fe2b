"""Telling a panel that labels were painted on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

EDIT_DELAY_MS = 400
"""How long after the last change of labels the panel hears of it."""


class EditWatch(QObject):
    """Calls back some time after the labels of layers changed; scrolling counts, for napari tells of undo no better.

    Parameters
    ----------
    panel : QWidget
        Owner; no callback reaches it once it is destroyed.
    changed : callable
        Bound method of the panel.
    """

    def __init__(self, panel: QWidget, changed: Callable[[], None]) -> None:
        super().__init__(panel)
        self._changed = weakref.WeakMethod(changed)
        self._followed: list[weakref.ref[Layer]] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(EDIT_DELAY_MS)
        self._timer.timeout.connect(self._fire)
        panel.destroyed.connect(partial(_let_go, weakref.ref(self)))

    def follow(self, layers: Sequence[Layer]) -> None:
        """Watch these layers and no others."""
        for followed in self._followed:
            layer = followed()
            if layer is not None:
                layer.events.set_data.disconnect(self._on_change)
                layer.events.paint.disconnect(self._on_change)
        self._followed = [weakref.ref(layer) for layer in layers]
        for layer in layers:
            layer.events.set_data.connect(self._on_change)
            layer.events.paint.connect(self._on_change)

    def _on_change(self, event: object = None) -> None:
        self._timer.start()

    def _fire(self) -> None:
        changed = self._changed()
        if changed is not None:
            changed()


def _let_go(watch: weakref.ref[EditWatch], _object: object = None) -> None:
    alive = watch()
    if alive is not None:
        alive.follow(())
