"""The table of what two reviewers said."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_uncseg.review.agreement import About, Answers
from napari_uncseg.widgets.common import fit_rows

_LEAST_ROWS = 6
_LONGEST_NAME = 24
"""Characters of a study's name that there is room for; longer ones are elided, and told as a tip."""

_STUDY, _ABOUT, _FIRST, _SECOND = range(4)


class AnswersTable(QTableWidget):
    """Rows of answers; a double click or Enter asks for the study of a row.

    Attributes
    ----------
    requested : Signal
        The :class:`~napari_uncseg.review.agreement.Answers` of a row.
    """

    requested = Signal(object)

    def __init__(self) -> None:
        super().__init__(0, 4)
        self._rows: tuple[Answers, ...] = ()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setAccessibleName("Answers of two reviewers")
        vertical, header = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None
        assert header is not None
        vertical.hide()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for column in (_STUDY, _ABOUT):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._fit_letters()
        self.cellDoubleClicked.connect(self._on_double_click)

    def changeEvent(self, event: QEvent | None) -> None:
        """Fit rows and columns to another size of letters."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit_letters()

    def _fit_letters(self) -> None:
        header = self.horizontalHeader()
        assert header is not None
        self.setMinimumHeight((_LEAST_ROWS + 1) * fit_rows(self))
        header.setMaximumSectionSize(_LONGEST_NAME * self.fontMetrics().averageCharWidth())

    def present(self, answers: Sequence[Answers], first: str, second: str) -> None:
        """Show answers of two reviewers, in the order given; stay at the question that was stood on."""
        before = self.chosen()
        self._rows = tuple(answers)
        self.setHorizontalHeaderLabels(("Study", "About", first, second))
        self.setRowCount(len(self._rows))
        for row, each in enumerate(self._rows):
            mark = "" if each.same_result else " *"
            texts = (each.study, str(each.about) + mark, each.first, each.second)
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                cell.setToolTip(_tip(each, first, second))
                self.setItem(row, column, cell)
        asked = [(each.study, each.question) for each in self._rows]
        at = (before.study, before.question) if before is not None else None
        if asked:
            self.setCurrentCell(asked.index(at) if at in asked else 0, _STUDY)

    def chosen(self) -> Answers | None:
        """The answers whose row is stood on."""
        row = self.currentRow()
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Enter asks for the study of the row."""
        chosen = self.chosen()
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and chosen is not None:
            self.requested.emit(chosen)
        else:
            super().keyPressEvent(event)

    def _on_double_click(self, row: int, _column: int) -> None:
        self.requested.emit(self._rows[row])


def _tip(each: Answers, first: str, second: str) -> str:
    lines = [f"{each.study}: {each.question}"]
    for who, said, comment in ((first, each.first, each.first_comment), (second, each.second, each.second_comment)):
        lines.append(f"{who}: {said}" + (f" · {comment}" if comment else ""))
    if not each.same_result and each.about is not About.FINDING:
        lines.append("They looked at two different results of this study.")
    return "\n".join(lines)
