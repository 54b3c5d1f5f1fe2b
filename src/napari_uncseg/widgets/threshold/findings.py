"""The list of findings: ranked, one key away each, and judged one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.labels import Region
from napari_uncseg.review.findings import EXPECTED_ERRORS, THICKNESS_LIMIT_MM, Finding, Findings
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.navigation import FINE, KEYS, NEXT, PREVIOUS, REAL_ERROR, UNSURE
from napari_uncseg.widgets.common import fit_rows, heading, note_label, show_failure

MOST = 60
"""Findings that are listed; whoever has looked at so many raises the threshold."""

MARKS: Mapping[Judgement | None, str] = MappingProxyType(
    {Judgement.REAL_ERROR: "✗", Judgement.FINE: "✓", Judgement.UNSURE: "?", None: ""}
)
_SHORT: Mapping[str, str] = MappingProxyType(
    {
        **{"left": "L", "right": "R", "anterior": "ant", "posterior": "post", "superior": "sup", "inferior": "inf"},
        **{"medial": "med", "lateral": "lat", "midline": "mid", "outside": "out"},
        **{"the necrotic core": "NCR", "oedema": "ED", "enhancing tumour": "ET"},
        **{"tumour margin": "margin", "enhancing margin": "ET margin"},
    }
)
"""Words of a place as the column has room for; the tip has them in full."""

_COLUMNS = ("#", "Place", "mm", "mL", "Slice", "")
_TIPS = (
    "Rank: what is worth a look first",
    "Where it lies; the tip of a row has it in full",
    "Thickness, millimetres",
    "Volume, millilitres",
    "Axial slice of its peak, counted from below",
    "What you judged: ✗ real error, ✓ fine, ? unsure",
)
_ACTIONS = {Judgement.REAL_ERROR: REAL_ERROR, Judgement.FINE: FINE, Judgement.UNSURE: UNSURE}
_SAMPLES = MappingProxyType({0: "00", 2: "mm", 3: "00.00", 4: "Slice", 5: "✗"})
"""What columns of one width have room for; the place has the rest."""
_PADDING = 10
"""What Qt leaves empty on both sides of a cell."""

_ROWS_SHOWN = 7


class FindingsBox(QWidget):
    """Table of findings with buttons to step and to judge; what is asked for goes out as signals.

    Attributes
    ----------
    chosen : Signal
        A :class:`Finding` that was clicked.
    step_requested : Signal
        +1 or -1.
    judgement_requested : Signal
        A :class:`Judgement`; None to take it back.
    """

    chosen = Signal(object)
    step_requested = Signal(int)
    judgement_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._findings: Findings | None = None
        self._current: Finding | None = None
        self.title = heading("Findings")
        self.summary = note_label()
        self.table = QTableWidget(0, len(_COLUMNS))
        self.detail = note_label()
        self.message = note_label()
        self.message.hide()
        self.previous_button = _button("Previous", PREVIOUS, "Go to the finding before")
        self.next_button = _button("Next", NEXT, "Go to the next finding")
        self.judge_buttons = {
            judgement: _button(str(judgement).capitalize(), action, "Click again to take it back")
            for judgement, action in _ACTIONS.items()
        }
        self._prepare_table()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.title, self.summary, self.table):
            layout.addWidget(widget)
        steps = QHBoxLayout()
        for button in (self.previous_button, self.next_button):
            steps.addWidget(button)
        layout.addLayout(steps)
        layout.addWidget(self.message)
        layout.addWidget(self.detail)
        judging = QHBoxLayout()
        # Bound methods throughout: a function that holds the panel would keep it until Python collects garbage, and Qt
        # objects that are collected so bring the process down.
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        self._group.buttonClicked.connect(self._on_judge)
        for button in self.judge_buttons.values():
            button.setCheckable(True)
            self._group.addButton(button)
            judging.addWidget(button)
        layout.addLayout(judging)
        self.previous_button.clicked.connect(self._on_previous)
        self.next_button.clicked.connect(self._on_next)
        self.table.cellClicked.connect(self._on_cell)
        self.table.currentCellChanged.connect(self._on_row)
        self.present(None, {})

    def present(self, findings: Findings | None, judgements: Mapping[int, Judgement]) -> None:
        """List findings; `judgements` by rank. None for findings that are still searched."""
        self._findings = findings
        items = findings.items[:MOST] if findings is not None else ()
        self.table.blockSignals(True)
        self.table.setRowCount(len(items))
        for row, item in enumerate(items):
            texts = (
                str(item.rank),
                short_place(item.place, item.region),
                f"{item.thickness_mm:.0f}",
                f"{item.volume_ml:.2f}",
                str(item.slice),
                "",
            )
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                if column != 1:
                    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                cell.setToolTip(_describe(item, findings))
                self.table.setItem(row, column, cell)
        self.table.blockSignals(False)
        self.table.setVisible(bool(items))
        self._fit_height(len(items))
        self.summary.setText(_summary(findings))
        self.mark(judgements)
        self.show_current(None)
        for button in (self.previous_button, self.next_button):
            button.setEnabled(bool(items))

    def mark(self, judgements: Mapping[int, Judgement]) -> None:
        """Show what was judged, by rank."""
        for row in range(self.table.rowCount()):
            judgement = judgements.get(row + 1)
            cell = self.table.item(row, len(_COLUMNS) - 1)
            if cell is not None:
                cell.setText(MARKS[judgement])
                cell.setToolTip(str(judgement) if judgement else "not judged")
        self._check(judgements.get(self._current.rank) if self._current is not None else None)

    def show_current(self, finding: Finding | None, judgement: Judgement | None = None) -> None:
        """Show which finding is looked at, in full."""
        self._current = finding
        self.table.blockSignals(True)
        if finding is None or finding.rank > self.table.rowCount():
            self.table.clearSelection()
            self.table.setCurrentCell(-1, -1)
        else:
            self.table.setCurrentCell(finding.rank - 1, 0)
            self.table.scrollToItem(self.table.item(finding.rank - 1, 0))
        self.table.blockSignals(False)
        self.detail.setText(_describe(finding, self._findings) if finding is not None else "")
        self.detail.setVisible(finding is not None)
        for button in self.judge_buttons.values():
            button.setVisible(finding is not None)
        self._check(judgement)
        self.message.hide()

    def show_problem(self, sentence: str) -> None:
        """Show why a judgement was not taken."""
        show_failure(self.message, sentence)

    def toggle(self, judgement: Judgement) -> None:
        """Judge the current finding as if its button were clicked."""
        button = self.judge_buttons[judgement]
        if self._current is not None:
            button.click()

    def _check(self, judgement: Judgement | None) -> None:
        for each, button in self.judge_buttons.items():
            button.setChecked(each is judgement)

    def _on_previous(self, _checked: bool = False) -> None:
        self.step_requested.emit(-1)

    def _on_next(self, _checked: bool = False) -> None:
        self.step_requested.emit(1)

    def _on_judge(self, button: QPushButton) -> None:
        judgement = next(each for each, own in self.judge_buttons.items() if own is button)
        self.judgement_requested.emit(judgement if button.isChecked() else None)

    def _on_cell(self, row: int, _column: int) -> None:
        self._choose(row)

    def _on_row(self, row: int, _column: int, before: int, _before_column: int) -> None:
        if row != before and self.table.hasFocus():  # the arrow keys
            self._choose(row)

    def _choose(self, row: int) -> None:
        if self._findings is not None and 0 <= row < len(self._findings.items):
            finding = self._findings.items[row]
            if finding is not self._current:
                self.chosen.emit(finding)

    def _prepare_table(self) -> None:
        table = self.table
        table.setHorizontalHeaderLabels(_COLUMNS)
        for column, tip in enumerate(_TIPS):
            title = table.horizontalHeaderItem(column)
            assert title is not None
            title.setToolTip(tip)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        table.setAccessibleName("Findings by rank")
        vertical, header = table.verticalHeader(), table.horizontalHeader()
        assert vertical is not None
        assert header is not None
        vertical.hide()
        for column in _SAMPLES:
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(20)
        self._fit_letters()

    def changeEvent(self, event: QEvent | None) -> None:
        """Fit the table to another size of letters."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit_letters()
            self._fit_height(self.table.rowCount())

    def _fit_letters(self) -> None:
        fit_rows(self.table)
        metrics = self.table.fontMetrics()
        for column, sample in _SAMPLES.items():
            self.table.setColumnWidth(column, metrics.horizontalAdvance(sample) + _PADDING)

    def _fit_height(self, rows: int) -> None:
        """As high as its rows, up to a few of them: the panel scrolls, and so does the table beyond."""
        vertical, header = self.table.verticalHeader(), self.table.horizontalHeader()
        assert vertical is not None
        assert header is not None
        shown = min(max(rows, 1), _ROWS_SHOWN)
        self.table.setFixedHeight(shown * vertical.defaultSectionSize() + header.sizeHint().height() + 6)


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


def _button(text: str, action: str, tip: str) -> QPushButton:
    key = KEYS[action].replace("Shift-", "⇧")
    button = QPushButton(f"{text}  {key}")
    button.setToolTip(f"{tip} (key {KEYS[action]})")
    # Keys of the review belong to the canvas: a button that took the focus would keep them from it.
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def _summary(findings: Findings | None) -> str:
    if findings is None:
        return "Looking for places to check …"
    if not findings.flagged_ml:
        return "Nothing is flagged at this threshold."
    parts = []
    if findings.ring_ml >= 0.005:
        parts.append(f"{findings.ring_ml:.1f} mL thin ring along the contour, as partial volume makes it")
    if findings.small_ml >= 0.005:
        parts.append(f"{findings.small_ml:.2f} mL in components below 0.05 mL")
    left_out = f" Left out: {', '.join(parts)}." if parts else ""
    count = len(findings.items)
    if not count:
        return f"No place to check at this threshold.{left_out}"
    listed = f", the first {MOST} listed" if count > MOST else ""
    places = "place" if count == 1 else "places"
    return f"{count} {places} to check{listed}, by {findings.ranked_by}.{left_out}"


def _describe(finding: Finding, findings: Findings | None) -> str:
    by = findings.ranked_by if findings is not None else ""
    unit = finding.map.unit
    score = (
        f"errors to expect, as the map claims: {finding.score:.2f} mL"
        if by == EXPECTED_ERRORS
        else f"{by}: {finding.score:.2f} mL"
    )
    more = "over " if finding.thickness_mm >= 2 * THICKNESS_LIMIT_MM - 1.5 else ""
    return (
        f"{finding.rank}. {finding.reason[0].upper()}{finding.reason[1:]}. {finding.volume_ml:.2f} mL, {more}"
        f"{finding.thickness_mm:.0f} mm thick, peak {finding.peak:.2f}{f' ({unit})' if unit else ''}, axial slice "
        f"{finding.slice} from below; {score}."
    )
