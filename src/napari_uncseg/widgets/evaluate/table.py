"""Table of one evaluated study: a row for each region, and headers that say what a number is taken over."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidgetItem

from napari_uncseg.evaluation.evaluation import MEANINGS, entry_of
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import REGION_TITLES, REGIONS, Region
from napari_uncseg.metrics.calibration import DEFAULT_BINS
from napari_uncseg.metrics.histograms import BINS
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.reporting.plot_style import REGION_COLOURS
from napari_uncseg.widgets.evaluate.measure import ENTROPY, FORECAST, Evaluated
from napari_uncseg.widgets.table import Row, Table

DASH = "–"


@dataclass(frozen=True)
class Column:
    """One number of the table.

    Parameters
    ----------
    title, second : str
        Two lines of the header; the second is a unit or a map.
    metric : str
        Name of the number.
    remark : str
        What to know of it here, a sentence or two.
    map : str, optional
        The uncertainty map it rates.
    chosen_set : bool
        Whether it is taken over the voxel set the user chose, rather than over the whole volume.
    bins : int, optional
        Bins of the histogram behind it.
    digits : int
        Digits after the point.
    factor : float
        What the number is multiplied with to be shown.
    """

    title: str
    second: str
    metric: str
    remark: str = ""
    map: str | None = None
    chosen_set: bool = False
    bins: int | None = None
    digits: int = 3
    factor: float = 1.0

    def over(self, voxel_set: VoxelSet) -> VoxelSet:
        """What it is taken over when the user chose a voxel set."""
        return voxel_set if self.chosen_set else VoxelSet.ALL

    def tooltip(self, voxel_set: VoxelSet) -> str:
        """What the header tells when the mouse rests on it."""
        over = self.over(voxel_set)
        bins = f"{self.bins} bins" if self.bins else "no bins: every voxel is counted"
        told = f"{self.title}: {MEANINGS[entry_of(self.metric.removesuffix('_any_size'))]}. {self.remark}".strip()
        return f"{told}\n\nVoxels: {VOXEL_SET_TITLES[over]} ({over}); {bins}; this study alone."


_EASY = "Much depends on the voxels: easy background lifts it."
_EMPTY = "A region that is empty in both is scored as BraTS has it."
_ALONE = f"{FORECAST} speaks of the whole tumour alone, and is 0 beyond 5 mm of the predicted one. {_EASY}"
COLUMNS: tuple[Column, ...] = (
    Column("Dice", "", "dice_any_size", _EMPTY),
    Column("HD95", "mm", "hd95_any_size", _EMPTY, digits=1),
    Column("Predicted", "mL", "volume_prediction", digits=1),
    Column("Reference", "mL", "volume_reference", digits=1),
    Column("AUROC", FORECAST, "auroc", _ALONE, FORECAST, chosen_set=True, bins=BINS),
    Column("AUROC", ENTROPY, "auroc", _EASY, ENTROPY, chosen_set=True, bins=BINS),
    Column(
        *("Errors", "%", "prevalence", "Without it an AUROC cannot be read.", ENTROPY),
        chosen_set=True,
        digits=2,
        factor=100.0,
    ),
    Column("ECE", "", "ece_classwise", "A good AUROC says nothing about it.", chosen_set=True, bins=DEFAULT_BINS),
)


class EvaluationTable(Table):
    """Numbers of one study over one voxel set."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(map(str, range(len(COLUMNS))), ""), "Evaluation per region")
        self._evaluated: Evaluated | None = None
        self._voxel_set = VoxelSet.TUMOUR
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(True)
        self.setIconSize(QSize(10, 10))
        self.header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.rows.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for titles in (self.header, self.rows):
            titles.setHighlightSections(False)
            titles.show()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._write()
        for row, region in enumerate(REGIONS):
            swatch = QPixmap(self.iconSize())
            swatch.fill(QColor(REGION_COLOURS[region]))
            item = QTableWidgetItem(QIcon(swatch), str(region))
            item.setToolTip(f"{region}: {REGION_TITLES[region]}")
            self.setVerticalHeaderItem(row, item)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share the width among the columns; what does not fit is scrolled to."""
        super().resizeEvent(event)
        self.fit()

    def present(self, evaluated: Evaluated, voxel_set: VoxelSet) -> None:
        """Show the numbers of a study over a voxel set."""
        self._evaluated, self._voxel_set = evaluated, voxel_set
        self._write()

    def as_text(self) -> str:
        """What the table shows, tab-separated for a spreadsheet, and what is needed to read it."""
        titles = ["Region", *(f"{column.title} {column.second}".strip() for column in COLUMNS)]
        columns = range(len(COLUMNS))
        rows = [[str(region), *(self.cell(row, each).text() for each in columns)] for row, region in enumerate(REGIONS)]
        lines = ["\t".join(cells) for cells in (titles, *rows)]
        if self._evaluated is not None:
            lines.append(
                f"Study {self._evaluated.study_id}; AUROC, errors and ECE over: {VOXEL_SET_TITLES[self._voxel_set]}; "
                f"ECE in {DEFAULT_BINS} bins. {RESEARCH_USE_ONLY}"
            )
        return "\n".join(lines) + "\n"

    def fit(self) -> None:
        """Columns as wide as they must be, or wider where there is room; as high as the rows are."""
        super().fit()
        self.resizeColumnsToContents()
        bar, port = self.horizontalScrollBar(), self.viewport()
        if bar is None or port is None:
            return
        spare = port.width() - self.header.length()
        for number in range(len(COLUMNS)):
            self.header.resizeSection(number, self.header.sectionSize(number) + max(spare, 0) // len(COLUMNS))
        height = self.header.sizeHint().height() + self.rows.length() + 2 * self.frameWidth()
        self.setFixedHeight(height + (bar.sizeHint().height() if spare < 0 else 0))

    def _write(self) -> None:
        for number, column in enumerate(COLUMNS):
            self.entitle(number, f"{column.title}\n{column.second}", column.tooltip(self._voxel_set))
        cells = {region: [self._cell(column, region) for column in COLUMNS] for region in REGIONS}
        self.write([Row(region, *zip(*own, strict=True)) for region, own in cells.items()])

    def _cell(self, column: Column, region: Region) -> tuple[str, str]:
        """Text and tooltip."""
        if self._evaluated is None:
            return "", ""
        over = column.over(self._voxel_set)
        value = self._evaluated.value(column.metric, region, over, column.map)
        if value is None:
            alone = column.map == FORECAST and region is not Region.WT
            why = f"{FORECAST} speaks of the whole tumour alone" if alone else f"the result has no map {column.map}"
            return DASH, f"Undefined: {why}."
        if not value.defined:
            return DASH, f"Undefined: {value.undefined}."
        empty = _empty(self._evaluated, region) if column.metric.endswith("any_size") else ""
        counted = f"{value.count:,} voxels: {VOXEL_SET_TITLES[over]}"
        return f"{value.value * column.factor:.{column.digits}f}", counted + empty


def _empty(evaluated: Evaluated, region: Region) -> str:
    """What to know of a score of a region that is empty or small, to follow its count."""
    predicted, true = (evaluated.value(f"volume_{what}", region) for what in ("prediction", "reference"))
    if predicted is None or true is None:
        return ""
    empty = [what for what, value in (("segmentation", predicted), ("reference", true)) if value.value == 0]
    if empty:
        return f"\nThe region is empty in the {' and the '.join(empty)}: the score is a convention."
    if true.value < Overlap(region).small_ml:
        return f"\nThe reference is below {Overlap(region).small_ml:g} mL: cohorts report such regions apart."
    return ""
