"""The field of a comment."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QPlainTextEdit

_COMMENT_LINES = 3


class CommentField(QPlainTextEdit):
    """Some lines of a comment, in letters of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.setPlaceholderText("Comment (optional)")
        self.setToolTip("Goes into the log with the verdict; remembered while it is typed")
        self.setTabChangesFocus(True)
        # napari's style gives such a field no frame of its own.
        self.setStyleSheet("QPlainTextEdit { border: 1px solid palette(mid); border-radius: 3px; }")
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the letters of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(_COMMENT_LINES * self.fontMetrics().height() + 8)
