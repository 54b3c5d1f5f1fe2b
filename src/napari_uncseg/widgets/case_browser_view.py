"""The table of a list of studies on the screen: sorting, choosing, standing on a row."""

from __future__ import annotations

from qtpy.QtCore import QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_uncseg.review.cases import ListedCase
from napari_uncseg.widgets.case_browser_table import CASE_ROLE, STUDY, CaseOrder, CaseTable

_NAME_WIDTH = 128
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
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        horizontal.setSectionResizeMode(STUDY, QHeaderView.ResizeMode.Interactive)
        horizontal.resizeSection(STUDY, _NAME_WIDTH)
        # Without a sorted column the order is that of the list: what needs eyes first.
        horizontal.setSortIndicatorClearable(True)
        horizontal.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.order.sort(-1)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give names the room that is left."""
        super().resizeEvent(event)
        horizontal, port = self.horizontalHeader(), self.viewport()
        if horizontal is not None and port is not None:
            others = horizontal.length() - horizontal.sectionSize(STUDY)
            horizontal.resizeSection(STUDY, max(port.width() - others, _NAME_WIDTH))

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
