"""The table of a list of studies on the screen: sorting, choosing, standing on a row."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.widgets.common import fit_rows, is_dark
from napari_uncseg.widgets.worklist.table import CASE_ROLE, ET, SCORE, STATUS, STUDY, TC, WT, CaseOrder, CaseTable

_NAME_LENGTHS = (8, 24)
"""Fewest and most characters of a name that room is kept for; what is longer is elided, and told as a tip."""

_LEAST_HEIGHT = 140


class CaseView(QTableView):
    """Table of a list; its rows are those of ``order``, whose source is ``table``."""

    requested = Signal(object)
    """A case was clicked twice: the :class:`ListedCase`."""

    def __init__(self) -> None:
        super().__init__()
        self.table = CaseTable()
        self.order = CaseOrder(self.table)
        self.setModel(self.order)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.doubleClicked.connect(self._on_double_click)
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        horizontal.setMinimumSectionSize(1)
        # Without a sorted column the order is that of the list: what needs eyes first.
        horizontal.setSortIndicatorClearable(True)
        horizontal.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.order.sort(-1)
        for changed in (self.order.modelReset, self.order.dataChanged, self.order.layoutChanged):
            changed.connect(self.fit_columns)
        fit_rows(self)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the columns into the new width."""
        super().resizeEvent(event)
        self.fit_columns()

    def changeEvent(self, event: QEvent | None) -> None:
        """Fit rows and columns to another font."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.table.dark = is_dark(self)
            fit_rows(self)
            self.fit_columns()

    def fit_columns(self) -> None:
        """Show the columns there is room for: names, status and score always, then volumes; names get what is left."""
        horizontal, port = self.horizontalHeader(), self.viewport()
        if horizontal is None or port is None:
            return
        character = self.fontMetrics().averageCharWidth()
        least, most = (number * character for number in _NAME_LENGTHS)
        name = min(max(self.sizeHintForColumn(STUDY), least), most)
        width = {
            column: max(self.sizeHintForColumn(column), horizontal.sectionSizeHint(column))
            for column in (STATUS, SCORE, WT, TC, ET)
        }
        room = port.width() - width[STATUS] - width[SCORE]
        fits = room >= name + width[WT] + width[TC] + width[ET]
        for column in (WT, TC, ET):
            self.setColumnHidden(column, not fits)
            room -= width[column] if fits else 0
        for column, size in width.items():
            horizontal.resizeSection(column, size)
        horizontal.resizeSection(STUDY, max(room, least))

    def choose(self, study_id: str) -> None:
        """Stand on a study's row, or on the first one."""
        model = self.selectionModel()
        if self.order.rowCount() == 0 or model is None:
            return
        index = self.order.index(max(self.order.row_of(study_id), 0), 0)
        flags = QItemSelectionModel.SelectionFlag
        model.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self.scrollTo(index)

    def chosen(self) -> ListedCase | None:
        """The case whose row is stood on."""
        index = self.currentIndex()
        return index.data(CASE_ROLE) if index.isValid() else None

    def chosen_cases(self) -> tuple[ListedCase, ...]:
        """All chosen cases, from the top."""
        model, cases = self.selectionModel(), self.order.cases()
        rows = sorted({index.row() for index in model.selectedRows()}) if model is not None else []
        return tuple(cases[row] for row in rows)

    def _on_double_click(self, index: QModelIndex) -> None:
        self.requested.emit(index.data(CASE_ROLE))
