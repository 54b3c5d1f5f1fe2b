"""A table whose rows are read and chosen, not written: what the tables of several panels share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QFileDialog, QHeaderView, QTableWidget, QTableWidgetItem
from superqt.utils import signals_blocked

from napari_uncseg.widgets.common import Note

_ROW_MARGIN = 8
_VALUE, _THING = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class Row(NamedTuple):
    """A row of a table.

    Parameters
    ----------
    thing : object
        What it stands for.
    texts : sequence of str
        What its cells say.
    tip : str or sequence of str
        What it tells when the mouse rests on it, or what each of its cells does.
    values : sequence, optional
        What its cells sort by, where that is not their words.
    """

    thing: Any
    texts: Sequence[str]
    tip: str | Sequence[str]
    values: Sequence[Any] | None = None


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
    resize : QHeaderView.ResizeMode
        How its columns get their widths.
    rows : (int, int), optional
        Rows there is always room for, and most rows that are shown at once; the rest is scrolled to.

    Attributes
    ----------
    requested : Signal
        What the row stands for that was clicked twice.
    """

    requested = Signal(object)

    def __init__(
        self,
        columns: Mapping[str, str],
        name: str,
        resize: QHeaderView.ResizeMode = QHeaderView.ResizeMode.Interactive,
        rows: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(0, len(columns))
        self._rows_shown = rows
        header, sides = self.horizontalHeader(), self.verticalHeader()
        assert header is not None
        assert sides is not None
        self.header, self.rows = header, sides
        self.header.setSectionResizeMode(resize)
        for place, (title, tip) in enumerate(columns.items()):
            self.entitle(place, title, tip)
        self.setAccessibleName(name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.rows.hide()
        self.cellDoubleClicked.connect(self._on_double_click)
        Table.fit(self)

    def entitle(self, place: int, title: str, tip: str) -> None:
        """Give a column another title, and another tip."""
        item = QTableWidgetItem(title)
        item.setToolTip(tip)
        self.setHorizontalHeaderItem(place, item)

    def write(self, rows: Sequence[Row], left: Iterable[int] = ()) -> None:
        """Show other rows, without a signal; `left` are the columns of words, numbers stand at the right."""
        words = set(left)
        with signals_blocked(self):
            self.setRowCount(len(rows))
            for place, row in enumerate(rows):
                for number, text in enumerate(row.texts):
                    cell = _Cell(text)
                    cell.setToolTip(row.tip if isinstance(row.tip, str) else row.tip[number])
                    cell.setData(_VALUE, row.values[number] if row.values is not None else text)
                    cell.setData(_THING, row.thing)
                    if number not in words:
                        cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                    self.setItem(place, number, cell)
        self.fit()

    def cell(self, place: int, number: int) -> QTableWidgetItem:
        """A cell of a row that is there."""
        cell = self.item(place, number)
        assert cell is not None
        return cell

    def at(self, place: int) -> Any:
        """What a row stands for; None where there is none."""
        return self.cell(place, 0).data(_THING) if 0 <= place < self.rowCount() else None

    def chosen(self) -> Any:
        """What the row stands for that is stood on."""
        return self.at(self.currentRow())

    def fit(self) -> None:
        """Fit rows, columns and height to the letters of the theme."""
        height = self.fontMetrics().height() + _ROW_MARGIN
        self.rows.setDefaultSectionSize(height)
        if self._rows_shown is not None:
            least, most = self._rows_shown
            rest = self.header.sizeHint().height() + 6
            self.setMinimumHeight(least * height + rest)
            self.setMaximumHeight(min(max(self.rowCount(), least), most) * height + rest)

    def sizeHint(self) -> QSize:
        """No higher than it must be: it takes what height is left."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the letters of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.fit()

    def _on_double_click(self, place: int, _column: int) -> None:
        self.requested.emit(self.at(place))


def save_table(note: Note, title: str, proposed: Path, write: Callable[[Path], None], path: str = "") -> None:
    """Write a table as CSV and tell of it.

    Parameters
    ----------
    note : Note
        Where it is told.
    title : str
        Of the dialog that asks where to.
    proposed : Path
        What the dialog proposes.
    write : callable
        Given a path, writes the file.
    path : str
        Where to; empty to ask.
    """
    chosen = path or QFileDialog.getSaveFileName(note, title, str(proposed), "CSV (*.csv)")[0]
    if chosen:
        with note.failing():
            write(Path(chosen))
            note.tell(f"Saved as {chosen}")
