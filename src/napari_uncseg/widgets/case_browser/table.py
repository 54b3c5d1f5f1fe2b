"""The table of a list of studies: what to review first, and where each review stands."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView

from napari_uncseg.labels import REGION_TITLES, REGIONS
from napari_uncseg.review.verdicts import STATUS_OF, Status
from napari_uncseg.review.worklist import CaseList, ListedCase
from napari_uncseg.widgets.common import is_dark
from napari_uncseg.widgets.table import Row, Table

STUDY, STATUS, SCORE, WT, TC, ET = range(6)
_COLUMNS = {
    "Study": "Name of the study",
    "Status": "new; flagged: findings were judged real errors or unsure, the study not yet; accepted; needs "
    "correction; rejected",
    "Entropy": "",
    **{f"{region} mL": f"Predicted volume of the {REGION_TITLES[region]}, mL" for region in REGIONS},
}
_COLOURS = {
    Status.FLAGGED: (QColor(125, 75, 0), QColor(240, 175, 80)),
    Status.ACCEPTED: (QColor(20, 100, 45), QColor(95, 185, 110)),
    Status.NEEDS_CORRECTION: (QColor(170, 35, 28), QColor(240, 101, 90)),
    Status.REJECTED: (QColor(170, 35, 28), QColor(240, 101, 90)),
}
"""On a light theme, and on a dark one."""

_SCORES = (
    (
        "Entropy",
        "Mean entropy of the whole tumour inside the cancer mask, nats (0 sure, 0.69 coin toss); a study in which "
        "nothing was found comes first",
    ),
    (
        "Exp. Dice",
        "Expected Dice of the whole tumour; coloured where the study needs review. A study in which nothing was found "
        "comes first",
    ),
)
"""Title and tip of the score: of results that do not tell their expected Dice, and of those that do."""

_NAME_LENGTHS = (8, 24)
"""Fewest and most characters of a name that room is kept for; what is longer is elided, and told as a tip."""

_LEAST_HEIGHT = 140


class CaseTable(Table):
    """Studies of a list: sorted by a column or, without one, what to review first at the top; some are hidden."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS, "Studies")
        self._list = CaseList(())
        self._current = ""
        self._only: tuple[Status | None, bool, str] = (None, False, "")
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.header.setMinimumSectionSize(1)
        self.header.setSortIndicatorClearable(True)
        self.header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.header.sortIndicatorChanged.connect(self._on_sort)

    def show_list(self, listed: CaseList) -> None:
        """Show another list, or the same one with other verdicts; stay at the row that was stood on."""
        before, self._list = self.chosen(), listed
        expected = any(case.expected_dice is not None for case in listed.cases)
        self.entitle(SCORE, *_SCORES[expected])
        self.setSortingEnabled(False)
        names = differing_names([case.id for case in listed.cases])
        rows = [_row_of(case, name, expected=expected) for case, name in zip(listed.cases, names, strict=True)]
        self.write(rows, (STUDY, STATUS))
        self.setSortingEnabled(True)
        self._hide()
        self.fit()
        if before is not None:
            self.choose(before.id)

    def mark(self, study_id: str) -> None:
        """Print the study that is open in bold."""
        self._current = study_id
        self._paint()

    def keep(self, only: Status | None, *, open_only: bool = False, named: str = "") -> None:
        """Show the studies of one status, or those nobody decided on, or all, whose name holds some letters."""
        self._only = (only, open_only, named.strip().lower())
        self._hide()

    def cases(self) -> tuple[ListedCase, ...]:
        """Studies on show, from the top."""
        return tuple(self.at(place) for place in self._shown())

    def choose(self, study_id: str) -> None:
        """Stand on a study's row, or on the first one."""
        shown = self._shown()
        if shown:
            place = next((each for each in shown if self.at(each).id == study_id), shown[0])
            self.setCurrentCell(place, STUDY)
            self.scrollToItem(self.item(place, STUDY))

    def chosen_cases(self) -> tuple[ListedCase, ...]:
        """All chosen cases, from the top."""
        model = self.selectionModel()
        places = {index.row() for index in model.selectedRows()} if model is not None else set()
        return tuple(self.at(place) for place in self._shown() if place in places)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the columns into the new width."""
        super().resizeEvent(event)
        self._fit_columns()

    def fit(self) -> None:
        """Follow the letters and the colours of the theme."""
        super().fit()
        self._paint()
        self._fit_columns()

    def _shown(self) -> list[int]:
        """Rows that are not hidden."""
        return [place for place in range(self.rowCount()) if not self.isRowHidden(place)]

    def _hide(self) -> None:
        status, open_only, named = self._only
        for place in range(self.rowCount()):
            case = self.at(place)
            other = status not in (None, case.status) or (open_only and not case.is_open)
            self.setRowHidden(place, other or named not in case.id.lower())

    def _paint(self) -> None:
        dark, font = is_dark(self), self.font()
        for place in range(self.rowCount()):
            case = self.at(place)
            font.setBold(case.id == self._current)
            for column in range(len(_COLUMNS)):
                self.cell(place, column).setFont(font)
            if case.status in _COLOURS:
                self.cell(place, STATUS).setForeground(_COLOURS[case.status][dark])
            if case.reasons and case.is_open:
                self.cell(place, SCORE).setForeground(_COLOURS[Status.FLAGGED][dark])

    def _fit_columns(self) -> None:
        """Show the columns there is room for: names, status and doubt always, then volumes; names get what is left."""
        port, character = self.viewport(), self.fontMetrics().averageCharWidth()
        if port is None:
            return
        least, most = (number * character for number in _NAME_LENGTHS)
        name = min(max(self.sizeHintForColumn(STUDY), least), most)
        width = {
            column: max(self.sizeHintForColumn(column), self.header.sectionSizeHint(column))
            for column in (STATUS, SCORE, WT, TC, ET)
        }
        room = port.width() - width[STATUS] - width[SCORE]
        fits = room >= name + width[WT] + width[TC] + width[ET]
        for column in (WT, TC, ET):
            self.setColumnHidden(column, not fits)
            room -= width[column] if fits else 0
        for column, size in width.items():
            self.header.resizeSection(column, size)
        self.header.resizeSection(STUDY, max(room, least))

    def _on_sort(self, column: int, _order: object) -> None:
        if column < 0:  # as in the list again
            self.show_list(self._list)
        self._hide()


def differing_names(names: Sequence[str]) -> list[str]:
    """Names of which only what tells them apart stays, where some are too long for a column.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of str
        As they are when all fit; else an ellipsis stands for the words that all begin with, and for those all end with.
    """
    if len(names) < 2 or max(map(len, names)) <= _NAME_LENGTHS[1]:
        return list(names)
    head = re.sub(r"[A-Za-z0-9]*$", "", os.path.commonprefix(list(names)))  # noqa: RUF071 - no paths
    rest = [name[len(head) :] for name in names]
    tail = re.sub(r"^[A-Za-z0-9]*", "", os.path.commonprefix([name[::-1] for name in rest])[::-1])  # noqa: RUF071
    return [
        ("…" if head else "") + name[: len(name) - len(tail)] + ("…" if tail else "") if len(name) > len(tail) else name
        for name in rest
    ]


def _row_of(case: ListedCase, name: str, *, expected: bool) -> Row:
    status = "damaged" if case.problem else str(case.status) if case.result is not None else "no result"
    if expected:
        score, text = (case.expected_dice.value, "{:.2f}") if case.expected_dice is not None else (None, "")
        sorts = 2.0 if score is None else score
    else:
        score, text = case.triage_score, "{:.3f}"
        sorts = -1.0 if score is None else score
    doubt = "–" if score is None else text.format(score)
    if case.is_empty:
        doubt, sorts = "no tumour", -math.inf if expected else math.inf
    volumes = [case.volumes_ml.get(region) for region in REGIONS]
    texts = (name, status, doubt, *("–" if volume is None else f"{volume:.1f}" for volume in volumes))
    values = (case.id, status, sorts, *(-1.0 if volume is None else volume for volume in volumes))
    return Row(case, texts, _tip(case), values)


def _tip(case: ListedCase) -> str:
    words = [case.id]
    if case.reviewer:
        words.append(f"{case.status} by {case.reviewer}")
    elif case.earlier is not None and case.earlier.decision is not None:
        words.append(f"{STATUS_OF[case.earlier.decision]} by {case.earlier.reviewer}, of an earlier result")
    if case.volumes_ml:
        words.append(", ".join(f"{region} {volume:.1f} mL" for region, volume in case.volumes_ml.items()))
    if case.expected_dice is not None:
        words.append(f"expected Dice of the whole tumour {case.expected_dice}")
    words += [sentence for sentence in (*case.reasons, case.note, case.problem) if sentence]
    if case.files is None:
        words.append("The images were not found; the result is shown alone.")
    return "\n".join(words)
