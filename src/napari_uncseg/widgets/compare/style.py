"""Colours and letters of a comparison window: those of the main window, and after a change those it has then."""

from __future__ import annotations

import napari
from napari.qt import get_stylesheet
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QFont, QIcon, QPainter, QPaintEvent, QPalette, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolBar,
    QToolButton,
    QWidget,
)

MORE = "qt_toolbar_ext_button"
"""What Qt calls the button behind which a toolbar keeps what it has no room for."""

_MORE_SIGN, _ICON_SIZE = "»", 48
_SCROLL_BAR = 24
"""Width in pixels that a long list needs beside its entries."""


class MainStyle(QObject):
    """Style of the main window, worn by another window as long as that is open.

    Parameters
    ----------
    window : QWidget
        Owner; it calls :meth:`let_go` when it closes.
    """

    changed = Signal()
    """The window wears another style."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._viewer = napari.current_viewer()
        self._size = get_settings().appearance.events.font_size
        self._size.connect(self.wear)
        if self._viewer is not None:
            self._viewer.events.theme.connect(self.wear)

    def wear(self, _event: object = None) -> None:
        """Give the window the colours and the size of letters that the main window has now."""
        window, appearance = self.parent(), get_settings().appearance
        if isinstance(window, QWidget):
            theme = self._viewer.theme if self._viewer is not None else appearance.theme
            size = f"{appearance.font_size}pt"
            own = f"""
                QToolBar QToolButton {{ font-size: {size}; }}
                QToolButton#{MORE} {{
                    background-color: {get_theme(theme).primary.as_hex("long")}; border-radius: 2px; padding: 0px;
                }}
                ElidedBox {{ padding: 2px 0px 2px 5px; }}
                ElidedBox::drop-down {{ width: 16px; }}
                ElidedBox::down-arrow {{ width: 10px; height: 10px; }}
            """
            window.setStyleSheet(get_stylesheet(theme, extra_variables={"font_size": size}) + own)
            self.changed.emit()

    def let_go(self) -> None:
        """Follow the main window no more."""
        self._size.disconnect(self.wear)
        if self._viewer is not None:
            self._viewer.events.theme.disconnect(self.wear)
            self._viewer = None


def take_letters(widget: QWidget, label: QWidget) -> None:
    """Give a widget letters as high as a label's, whose size napari's style tells."""
    label.ensurePolished()
    letters = QFont(widget.font())
    letters.setPixelSize(label.fontInfo().pixelSize())
    widget.setFont(letters)


def show_more_button(bar: QToolBar) -> None:
    """Let the button behind which a bar keeps what it has no room for be seen; Qt's own arrows are black."""
    bar.ensurePolished()
    picture = QPixmap(_ICON_SIZE, _ICON_SIZE)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setPen(bar.palette().color(QPalette.ColorRole.WindowText))
    font = QFont(bar.font())
    font.setPixelSize(_ICON_SIZE)
    font.setBold(True)
    painter.setFont(font)
    painter.drawText(picture.rect(), int(Qt.AlignmentFlag.AlignCenter), _MORE_SIGN)
    painter.end()
    for button in bar.findChildren(QToolButton, MORE):
        button.setIcon(QIcon(picture))
        button.setToolTip("What else there is: the window is too narrow for all of it")


class ElidedBox(QComboBox):
    """Box as wide as there is room for, also where there is little; a text that is too long ends with dots."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

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
        room = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        words = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room.width() - 2)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
