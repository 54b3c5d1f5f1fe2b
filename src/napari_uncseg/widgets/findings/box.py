"""The list of findings: ranked, one key away each, and judged one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_uncseg.labels import Region
from napari_uncseg.review.findings import EXPECTED_ERRORS, LEAST_ML, THICKNESS_LIMIT_MM, Finding, Findings
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.bindings import FINDING_KEYS
from napari_uncseg.widgets.common import Note, button, column, heading, key_button, row, weakly
from napari_uncseg.widgets.table import Row, Table

MOST = 60
"""Findings that are listed; whoever has looked at so many raises the threshold."""

MARKS: Mapping[Judgement | None, str] = {
    Judgement.REAL_ERROR: "✗",
    Judgement.FINE: "✓",
    Judgement.UNSURE: "?",
    None: "",
}
_SHORT: Mapping[str, str] = {
    **{"left": "L", "right": "R", "anterior": "ant", "posterior": "post", "superior": "sup", "inferior": "inf"},
    **{"medial": "med", "lateral": "lat", "midline": "mid", "outside": "out"},
    **{"the necrotic core": "NCR", "oedema": "ED", "enhancing tumour": "ET"},
    **{"tumour margin": "margin", "enhancing margin": "ET margin"},
}
"""Words of a place as the column has room for; the tip has them in full."""

_PLACE, _JUDGED = 1, 5
_COLUMNS = {
    "#": "Rank: what is worth a look first",
    "Place": "Where it lies; the tip of a row has it in full",
    "mm": "Thickness, millimetres",
    "mL": "Volume, millilitres",
    "Slice": "Axial slice of its peak, counted from below",
    "": "What you judged: ✗ real error, ✓ fine, ? unsure",
}
_SAMPLES = {0: "00", 2: "mm", 3: "00.00", 4: "Slice", 5: "✗"}
"""What columns of one width have room for; the place has the rest."""
_PADDING = 10
"""What Qt leaves empty on both sides of a cell."""

_ROWS_SHOWN = (3, 12)
"""Rows there is always room for, and most rows that are shown at once: the table scrolls."""


class FindingsTable(Table):
    """As high as its rows where there is room for them."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS, "Findings by rank", QHeaderView.ResizeMode.Fixed, _ROWS_SHOWN)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.header.setSectionResizeMode(_PLACE, QHeaderView.ResizeMode.Stretch)
        self.header.setMinimumSectionSize(20)
        self.fit()

    def fit(self) -> None:
        """Fit columns too."""
        super().fit()
        for place, sample in _SAMPLES.items():
            self.setColumnWidth(place, self.fontMetrics().horizontalAdvance(sample) + _PADDING)


class FindingsBox(QWidget):
    """Table of findings with buttons to step and to judge; what is asked for goes out as signals.

    Attributes
    ----------
    chosen : Signal
        A :class:`Finding` that was clicked.
    judgement_requested : Signal
        A :class:`Judgement`; None to take it back.
    """

    chosen = Signal(object)
    judgement_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._findings: Findings | None = None
        self._current: Finding | None = None
        self.study, self.doubts = heading("Findings"), Note()
        self.summary, self.detail, self.message = Note(), Note(), Note()
        self.table = FindingsTable()
        self.previous_button = button("◀", f"Go to the finding before (key {FINDING_KEYS['previous']})")
        self.next_button = button("▶", f"Go to the next finding (key {FINDING_KEYS['next']})")
        self.judge_buttons = {each: _judge_button(each) for each in Judgement}
        for judgement, each in self.judge_buttons.items():
            each.clicked.connect(weakly(self._ask, judgement))
        self.table.cellClicked.connect(self._choose)
        self.table.currentCellChanged.connect(self._on_row)
        buttons = row(self.previous_button, self.next_button, *self.judge_buttons.values(), stretch=(0, 0, 1, 1, 1))
        layout = column(self.study, self.doubts, self.summary, self.table, buttons, self.message, self.detail)
        layout.setStretchFactor(self.table, 1)
        self.setLayout(layout)
        self.present(None, {})

    def present(self, findings: Findings | None, judgements: Mapping[int, Judgement]) -> None:
        """List findings; `judgements` by rank. None for findings that are still searched."""
        self._findings = findings
        items = findings.items[:MOST] if findings is not None else ()
        self.table.write([_row_of(item, findings) for item in items], left=(_PLACE,))
        self.table.setVisible(findings is None or bool(items))
        self.summary.tell(_summary(findings))
        self.summary.setToolTip(_left_out(findings))
        self.mark(judgements)
        self.show_current(None)
        for each in (self.previous_button, self.next_button):
            each.setEnabled(bool(items))

    def tell_doubts(self, reasons: Sequence[str]) -> None:
        """Tell why a result needs review, if it does."""
        missed = ("Nothing flagged does not mean nothing missed: go through FLAIR.",) if reasons else ()
        self.doubts.warn((*reasons, *missed), first="Needs review" if reasons else "", doubt=True)

    def mark(self, judgements: Mapping[int, Judgement]) -> None:
        """Show what was judged, by rank."""
        for place in range(self.table.rowCount()):
            judgement, cell = judgements.get(place + 1), self.table.cell(place, _JUDGED)
            cell.setText(MARKS[judgement])
            cell.setToolTip(str(judgement) if judgement else "not judged")

    def show_current(self, finding: Finding | None, judgement: Judgement | None = None) -> None:
        """Show which finding is looked at, in full."""
        self._current = finding
        with signals_blocked(self.table):
            if finding is None or finding.rank > self.table.rowCount():
                self.table.clearSelection()
                self.table.setCurrentCell(-1, -1)
            else:
                self.table.setCurrentCell(finding.rank - 1, 0)
                self.table.scrollToItem(self.table.item(finding.rank - 1, 0))
        self.detail.tell(_in_short(finding, self._findings) if finding is not None else "")
        for each, judging in self.judge_buttons.items():
            judging.setEnabled(finding is not None)
            judging.setChecked(each is judgement)
        self.message.hide()

    def toggle(self, judgement: Judgement) -> None:
        """Judge the current finding as if its button were clicked."""
        if self._current is not None:
            self.judge_buttons[judgement].click()

    def _ask(self, judgement: Judgement) -> None:
        self.judgement_requested.emit(judgement if self.judge_buttons[judgement].isChecked() else None)

    def _on_row(self, place: int, _column: int, before: int, _before_column: int) -> None:
        if place != before and self.table.hasFocus():  # the arrow keys
            self._choose(place)

    def _choose(self, place: int, _column: int = 0) -> None:
        finding = self.table.at(place)
        if finding is not None and finding is not self._current:
            self.chosen.emit(finding)


def _row_of(item: Finding, findings: Findings | None) -> Row:
    where = short_place(item.place, item.region)
    texts = (str(item.rank), where, f"{item.thickness_mm:.0f}", f"{item.volume_ml:.2f}", str(item.slice), "")
    return Row(item, texts, _describe(item, findings))


def short_place(place: str, region: Region) -> str:
    """A place in the abbreviations of reports, without the region that all findings of a map share: ``edge L ant-sup``.

    Parameters
    ----------
    place : str
        As :attr:`Finding.place`.
    region : Region
        What the map speaks of.
    """
    border, *where = re.sub(rf"\b({'|'.join(_SHORT)})\b", lambda found: _SHORT[found[0]], place).split(", ")
    border = border.replace(f"far from {region}", "far away").replace(f"no {region} predicted", f"no {region}")
    border = border.removeprefix(f"{region} ").removesuffix(f" {region}") if border != f"no {region}" else border
    return ", ".join((border, " ".join(where))) if where else border


def _judge_button(judgement: Judgement) -> QPushButton:
    key = FINDING_KEYS[judgement.replace(" ", "_")]
    made = key_button(judgement.capitalize(), key, f"This finding is {judgement}; click again to undo")
    made.setCheckable(True)
    return made


def _summary(findings: Findings | None) -> str:
    if findings is None:
        return "Looking for places to check …"
    if not findings.flagged_ml:
        return "Nothing is flagged at this threshold; that does not mean that nothing was missed."
    rest = findings.ring_ml + findings.small_ml
    left_out = f" Not listed: {rest:.1f} mL of thin rim and small components." if rest >= 0.05 else ""
    count = len(findings.items)
    if not count:
        return f"No place to check at this threshold.{left_out}"
    listed = f", the first {MOST} listed" if count > MOST else ""
    return f"{count} {'place' if count == 1 else 'places'} to check{listed}.{left_out}"


def _left_out(findings: Findings | None) -> str:
    """What is flagged and not listed, and why."""
    if findings is None:
        return ""
    small = f"components below {LEAST_ML} mL {findings.small_ml:.2f} mL"
    not_listed = f"thin rim along the contour {findings.ring_ml:.1f} mL (partial volume), {small}"
    return f"Ranked by {findings.ranked_by}. Flagged and not listed: {not_listed}"


def _describe(finding: Finding, findings: Findings | None) -> str:
    unit = finding.map.unit
    more = "over " if finding.thickness_mm >= 2 * THICKNESS_LIMIT_MM - 1.5 else ""
    return (
        f"{_in_short(finding, findings)} {finding.volume_ml:.2f} mL, {more}{finding.thickness_mm:.0f} mm thick, peak "
        f"{finding.peak:.2f}{f' ({unit})' if unit else ''}, axial slice {finding.slice} from below."
    )


def _in_short(finding: Finding, findings: Findings | None) -> str:
    """What the table has no room for."""
    by = findings.ranked_by if findings is not None else ""
    score = f"{'expected error' if by == EXPECTED_ERRORS else by} {finding.score:.{1 if finding.score >= 1 else 2}f} mL"
    return f"{finding.rank}. {finding.reason[0].upper()}{finding.reason[1:]}; {score}."
