"""The table of a list of studies: what needs eyes first, and where each review stands."""

from __future__ import annotations

import math
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QFont

from napari_uncseg.labels import REGION_TITLES, REGIONS
from napari_uncseg.review.verdicts import STATUS_OF, Status
from napari_uncseg.review.worklist import CaseList, ListedCase

STUDY, STATUS, SCORE, WT, TC, ET = range(6)
_HEADERS = ("Study", "Status", "Score", *(f"{region} mL" for region in REGIONS))
_TIPS = (
    "Name of the study",
    "new; flagged: findings were judged real errors or unsure, the study not yet; accepted; needs correction; rejected",
    "Triage score: mean entropy of the whole tumour inside the cancer mask, nats; a study in which nothing was found "
    "comes first",
    *(f"Predicted volume of the {REGION_TITLES[region]}, mL" for region in REGIONS),
)
_COLOURS = {
    Status.FLAGGED: (QColor(125, 75, 0), QColor(240, 175, 80)),
    Status.ACCEPTED: (QColor(20, 100, 45), QColor(95, 185, 110)),
    Status.NEEDS_CORRECTION: (QColor(170, 35, 28), QColor(240, 101, 90)),
    Status.REJECTED: (QColor(170, 35, 28), QColor(240, 101, 90)),
}
"""On a light theme, and on a dark one."""
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
CASE_ROLE = Qt.ItemDataRole.UserRole + 2
_NO_INDEX = QModelIndex()


class CaseTable(QAbstractTableModel):
    """Rows of a list, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self._list = CaseList(())
        self._current = ""
        self.dark = True
        """Whether it is shown on a dark theme."""

    def show_list(self, listed: CaseList) -> None:
        """Show another list, or the same one with other verdicts."""
        self.beginResetModel()
        self._list = listed
        self.endResetModel()

    def mark(self, study_id: str) -> None:
        """Print the study that is open in bold."""
        self._current = study_id
        if self._list.cases:
            last = self.index(len(self._list.cases) - 1, len(_HEADERS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        """Studies."""
        return 0 if parent.isValid() else len(self._list.cases)

    def columnCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        """What is told of each."""
        return 0 if parent.isValid() else len(_HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Titles of the columns."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _HEADERS[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """One cell."""
        case = self._list.cases[index.row()]
        if role == CASE_ROLE:
            return case
        if role == SORT_ROLE:
            return _sort_value(case, index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(case, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(case)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() >= SCORE:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == STATUS:
            colours = _COLOURS.get(case.status)
            return colours[self.dark] if colours is not None else None
        if role == Qt.ItemDataRole.FontRole and case.id == self._current:
            font = QFont()
            font.setBold(True)
            return font
        return None


class CaseOrder(QSortFilterProxyModel):
    """Rows as the reader sorts and filters them; unsorted, in the order in which they need eyes."""

    def __init__(self, table: CaseTable) -> None:
        super().__init__()
        self.setSourceModel(table)
        self.setSortRole(SORT_ROLE)
        self._only: Status | None = None
        self._open_only = False

    def keep(self, only: Status | None, *, open_only: bool = False) -> None:
        """Show the studies of one status, or those nobody decided on, or all."""
        self._only, self._open_only = only, open_only
        self.invalidateFilter()

    def filterAcceptsRow(self, source_row: int, source_parent: QModelIndex) -> bool:
        """Whether a study is shown."""
        model = self.sourceModel()
        assert model is not None
        case: ListedCase = model.index(source_row, 0).data(CASE_ROLE)
        return (self._only is None or case.status is self._only) and (not self._open_only or case.is_open)

    def cases(self) -> tuple[ListedCase, ...]:
        """Studies on show, from the top."""
        return tuple(self.index(row, 0).data(CASE_ROLE) for row in range(self.rowCount()))

    def row_of(self, study_id: str) -> int:
        """Row of a study; -1 when it is not on show."""
        return next((row for row, case in enumerate(self.cases()) if case.id == study_id), -1)


def _text(case: ListedCase, column: int) -> str:
    if column == STUDY:
        return case.id
    if column == STATUS:
        return "damaged" if case.problem else str(case.status) if case.result is not None else "no result"
    if column == SCORE:
        if case.is_empty:
            return "no tumour"
        return "–" if case.triage_score is None else f"{case.triage_score:.3f}"
    volume = case.volumes_ml.get(REGIONS[column - WT])
    return "–" if volume is None else f"{volume:.1f}"


def _sort_value(case: ListedCase, column: int) -> Any:
    if column in (STUDY, STATUS):
        return _text(case, column)
    if column == SCORE:
        return math.inf if case.is_empty else -1.0 if case.triage_score is None else case.triage_score
    return case.volumes_ml.get(REGIONS[column - WT], -1.0)


def _tip(case: ListedCase) -> str:
    words = [case.id]
    if case.reviewer:
        words.append(f"{case.status} by {case.reviewer}")
    elif case.earlier is not None and case.earlier.decision is not None:
        words.append(f"{STATUS_OF[case.earlier.decision]} by {case.earlier.reviewer}, of an earlier result")
    if case.volumes_ml:
        words.append(", ".join(f"{region} {volume:.1f} mL" for region, volume in case.volumes_ml.items()))
    words += [sentence for sentence in (case.note, case.problem) if sentence]
    if case.files is None:
        words.append("The images were not found; the result is shown alone.")
    return "\n".join(words)
