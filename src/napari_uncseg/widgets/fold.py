"""A part of a panel that is folded away below its title until somebody wants it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QSizePolicy, QToolButton, QWidget

from napari_uncseg.widgets.common import column


class Fold(QWidget):
    """Title with an arrow; a click shows or hides what is below it.

    Parameters
    ----------
    title : str
    tip : str
    *content : QWidget or QLayout
    unfolded : bool
        Whether the content is seen at first.
    """

    def __init__(self, title: str, tip: str, *content: QWidget | QLayout, unfolded: bool = True) -> None:
        super().__init__()
        self.head, self.body = QToolButton(), QWidget()
        self.head.setText(title)
        self.head.setToolTip(tip)
        self.head.setCheckable(True)
        self.head.setAutoRaise(True)
        self.head.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.body.setLayout(column(*content))
        self.setLayout(column(self.head, self.body))
        self.head.toggled.connect(self._on_toggled)
        self.head.setChecked(unfolded)
        self._on_toggled(unfolded)

    def unfold(self, unfolded: bool = True) -> None:
        """Show the content, or hide it."""
        self.head.setChecked(unfolded)

    def _on_toggled(self, unfolded: bool) -> None:
        self.head.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
        self.body.setVisible(unfolded)
