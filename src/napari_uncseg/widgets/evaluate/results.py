"""Results of an evaluation: the table, the reliability plot, and both on the clipboard or on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_uncseg.errors import SaveError
from napari_uncseg.evaluation.table import csv_text
from napari_uncseg.io.files import exists, write_files
from napari_uncseg.metrics.calibration import DEFAULT_BINS
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.reporting.plot_style import encode_figure
from napari_uncseg.reporting.plots import reliability_figure
from napari_uncseg.widgets.common import Note, button, choice, column, form, heading, offer, row
from napari_uncseg.widgets.evaluate.measure import Evaluated
from napari_uncseg.widgets.evaluate.table import EvaluationTable

if TYPE_CHECKING:
    from napari_uncseg.widgets.evaluate.reliability_plot import Ink, ReliabilityPlot

STALE = "⚠ Layers have changed since: these numbers are of what was open before. Evaluate again."
SHORT_TITLES = {
    VoxelSet.TUMOUR: "Tumour and 5 mm",
    VoxelSet.BRAIN: "Brain",
    VoxelSet.UNION: "Region in either",
}
BINS_NOTE = (
    "Below the dotted line the model claims more of the region than there is, above it less. Bins of few voxels (log "
    "axis) weigh little."
)
UNION_NOTE = (
    "A voxel below a probability of 0.5 is among these voxels only because it is truly in the region: there the share "
    "is 1 by choice of the voxels, and says nothing of the model."
)


class EvaluationResults(QWidget):
    """Table and plot of one evaluated study. Hidden until there is one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its theme gives the colours.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.evaluated: Evaluated | None = None
        """What is shown."""
        self.title = heading("")
        self.stale = Note(STALE)
        self.set_choice = choice("Voxels that AUROC, errors, ECE and the plot are taken over", SHORT_TITLES, self._show)
        self.table = EvaluationTable()
        self.plot: ReliabilityPlot | None = None
        self.remarks, self.reading, self.message = Note(), Note(BINS_NOTE), Note()
        copy = button("Copy table", "Put the table on the clipboard, for a spreadsheet", self.copy)
        save = button("Save CSV and PNG…", "Save all numbers and the plot, with what they are of", self._ask_and_save)
        self._plot_heading = heading("Reliability")
        self._column = column(
            *(self.title, self.stale, form(Look_in=self.set_choice), self.table, self.remarks),
            *(self._plot_heading, self.reading, row(copy, save), self.message),
        )
        self._column.addStretch(1)
        self.setLayout(self._column)
        self.hide()

    @property
    def voxel_set(self) -> VoxelSet:
        """What AUROC, errors, ECE and the plot are taken over."""
        return VoxelSet(self.set_choice.currentData() or VoxelSet.TUMOUR)

    def present(self, evaluated: Evaluated) -> None:
        """Show a study; the voxel set stays, unless it was not measured."""
        self.evaluated = evaluated
        self.title.setText(f"{evaluated.study_id} against {evaluated.reference}")
        sets = {each: SHORT_TITLES[each] for each in evaluated.voxel_sets}
        offer(self.set_choice, sets, self.voxel_set, or_first=True)
        self.remarks.tell("\n".join(evaluated.remarks))
        self.message.hide()
        self.stale.hide()
        self.show()
        self._show()

    def clear(self) -> None:
        """Show nothing."""
        self.evaluated = None
        self.hide()

    def copy(self) -> None:
        """Put the table on the clipboard, tab-separated."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.table.as_text())
            self.message.tell("The table is on the clipboard; it can be pasted into a spreadsheet.")

    def save(self, path: Path) -> None:
        """Write all numbers, the plot and where they come from, beside one another.

        Parameters
        ----------
        path : Path
            The CSV file; when it is there already it is replaced with its two companions.
        """
        evaluated, path = self.evaluated, path if path.suffix == ".csv" else path.with_name(f"{path.name}.csv")
        picture, record = path.with_suffix(".png"), path.with_suffix(".json")
        if evaluated is None:
            return
        title = f"{evaluated.study_id} · {VOXEL_SET_TITLES[self.voxel_set]} · {DEFAULT_BINS} bins · research use only"
        curves = evaluated.curves(self.voxel_set)
        drawn = reliability_figure({region: curve for region, curve in curves.items() if curve is not None}, title)
        told = {
            **evaluated.record,
            "remarks": [*evaluated.remarks, *([STALE] if self.stale.isVisibleTo(self) else [])],
            "plot": {"file": picture.name, "voxel_set": self.voxel_set},
        }
        contents = {
            path: csv_text(evaluated.values).encode(),
            picture: encode_figure(drawn, "png"),
            record: (json.dumps(told, indent=2) + "\n").encode(),
        }
        with self.message.failing():
            taken = next((other for other in (picture, record) if exists(other, SaveError)), None)
            if taken is not None and not exists(path, SaveError):  # else the user has agreed to replace them
                raise SaveError(f"{taken} is there already; choose another name.")
            write_files(contents)
            self.message.tell(f"Saved {path.name}, {picture.name}, {record.name} in {path.parent}")

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme of the window, of which Qt tells as a change of style."""
        super().changeEvent(event)
        changed = event is not None and event.type() == QEvent.Type.StyleChange
        if changed and self.plot is not None and self.plot.ink != self._ink():
            self._show()

    def _show(self, _index: int = 0) -> None:
        if self.evaluated is None:
            return
        self.table.present(self.evaluated, self.voxel_set)
        if self.plot is None:
            # The first plot loads matplotlib.
            from napari_uncseg.widgets.evaluate.reliability_plot import ReliabilityPlot

            self.plot = ReliabilityPlot()
            # With a stretch so large, what it cannot take goes to the end of the panel and not between the lines.
            self._column.insertWidget(self._column.indexOf(self._plot_heading) + 1, self.plot, 100)
        self.plot.setToolTip(
            f"Voxels: {VOXEL_SET_TITLES[self.voxel_set]}. The curve: of the voxels said to be in the region with some "
            "probability, the share that is; on the dotted line the model is right about itself. The bars: voxels per "
            "bin."
        )
        self.plot.present(self.evaluated.curves(self.voxel_set), self._ink())
        self.reading.setText(UNION_NOTE if self.voxel_set is VoxelSet.UNION else BINS_NOTE)

    def _ask_and_save(self) -> None:
        if self.evaluated is not None:
            name = f"{self.evaluated.study_id}_evaluation.csv"
            chosen, _ = QFileDialog.getSaveFileName(self, "Save table and plot", name, "Table (*.csv)")
            if chosen:
                self.save(Path(chosen))

    def _ink(self) -> Ink:
        from napari_uncseg.widgets.evaluate.reliability_plot import Ink

        theme = get_theme(self._viewer.theme)
        return Ink(theme.background.as_hex("long"), theme.text.as_hex("long"), theme.type == "dark")
