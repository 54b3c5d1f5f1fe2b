"""Colours and letters of a comparison window: those of the main window, and after a change those it has then."""

from __future__ import annotations

import napari
from napari.qt import get_stylesheet
from napari.settings import get_settings
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

from napari_uncseg.widgets.connections import Connections

_SCROLL_BAR = 24
"""Width in pixels that a long list needs beside its entries."""


class MainStyle(QObject):
    """Style of the main window, worn by another window as long as that is open.

    Parameters
    ----------
    window : QWidget
        Owner; it calls :meth:`release` when it closes.
    """

    changed = Signal()
    """The window wears another style."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._viewer = napari.current_viewer()
        self._connections = Connections(window)
        self._connections.connect(get_settings().appearance.events.font_size, self.wear)
        if self._viewer is not None:
            self._connections.connect(self._viewer.events.theme, self.wear)

    def wear(self, _event: object = None) -> None:
        """Give the window the colours and the size of letters that the main window has now."""
        window, appearance = self.parent(), get_settings().appearance
        if isinstance(window, QWidget):
            theme = self._viewer.theme if self._viewer is not None else appearance.theme
            size = f"{appearance.font_size}pt"
            own = f"""
                QToolButton {{ font-size: {size}; padding: 3px 6px; }}
                ElidedBox {{ padding: 2px 0px 2px 5px; }}
                ElidedBox::drop-down {{ width: 16px; }}
                ElidedBox::down-arrow {{ width: 10px; height: 10px; }}
            """
            window.setStyleSheet(get_stylesheet(theme, extra_variables={"font_size": size}) + own)
            self.changed.emit()

    def release(self) -> None:
        """Follow the main window no more."""
        self._connections.disconnect_all()
        self._viewer = None


class ElidedBox(QComboBox):
    """Box as wide as there is room for, also where there is little; a text that is too long ends with dots."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def showPopup(self) -> None:
        """Open the list, wide enough for all it holds."""
        entries = self.view()
        if entries is not None:
            entries.setMinimumWidth(entries.sizeHintForColumn(0) + _SCROLL_BAR)
        super().showPopup()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the box, with as much of its text as there is room for."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        style = self.style()
        assert style is not None
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self)
        words = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room.width() - 2)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
