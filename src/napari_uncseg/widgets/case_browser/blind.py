"""*Blind*: whether studies are judged without their reference."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QCheckBox

_KEY = "blind"


class BlindBox(QCheckBox):
    """Check box that is remembered.

    Parameters
    ----------
    changed : callable
        Bound method, told whether it is checked.
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        super().__init__("Blind")
        self.setToolTip("Open studies without their reference: no Dice and no errors are seen while judging")
        self._settings = QSettings("napari-uncseg", "napari-uncseg")
        self.setChecked(self._settings.value(_KEY, False, type=bool))
        self.toggled.connect(self._remember)
        self.toggled.connect(changed)

    def _remember(self, blind: bool) -> None:
        self._settings.setValue(_KEY, blind)
