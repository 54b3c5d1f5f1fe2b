"""A table whose rows are read and chosen, not written: what the tables of several panels share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem
from superqt.utils import signals_blocked

_ROW_MARGIN = 8
_VALUE = Qt.ItemDataRole.UserRole


class _Cell(QTableWidgetItem):
    """Cell that sorts by its value."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(_VALUE) < other.data(_VALUE))


class Table(QTableWidget):
    """Table whose rows are read and chosen, not written.

    Parameters
    ----------
    columns : mapping of str to str
        Title of each column -> what it tells when the mouse rests on it.
    name : str
        For those who do not see it.
    """

    def __init__(self, columns: Mapping[str, str], name: str) -> None:
        super().__init__(0, len(columns))
        self.setHorizontalHeaderLabels(list(columns))
        for place, tip in enumerate(columns.values()):
            title = self.horizontalHeaderItem(place)
            assert title is not None
            title.setToolTip(tip)
        self.setAccessibleName(name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.rows.hide()

    @property
    def header(self) -> QHeaderView:
        """Titles of the columns."""
        header = self.horizontalHeader()
        assert header is not None
        return header

    @property
    def rows(self) -> QHeaderView:
        """Heights of the rows."""
        rows = self.verticalHeader()
        assert rows is not None
        return rows

    def write(
        self,
        rows: Sequence[Sequence[str]],
        tips: Sequence[str],
        left: Iterable[int] = (),
        values: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        """Show other rows, without a signal.

        Parameters
        ----------
        rows : sequence of sequence of str
            Texts of each row.
        tips : sequence of str
            What each row tells when the mouse rests on it.
        left : iterable of int
            Columns of words; numbers stand at the right.
        values : sequence of sequence, optional
            What each cell sorts by, where that is not its words.
        """
        words = set(left)
        with signals_blocked(self):
            self.setRowCount(len(rows))
            for place, (texts, tip) in enumerate(zip(rows, tips, strict=True)):
                for number, text in enumerate(texts):
                    cell = _Cell(text)
                    cell.setToolTip(tip)
                    if values is not None:
                        cell.setData(_VALUE, values[place][number])
                    if number not in words:
                        cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                    self.setItem(place, number, cell)

    def fit(self) -> None:
        """Fit rows and columns to the letters of the theme."""
        self.rows.setDefaultSectionSize(self.fontMetrics().height() + _ROW_MARGIN)

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the letters of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.fit()
