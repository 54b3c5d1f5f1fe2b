"""Results of a run: volumes, Dice where there is a reference, and saving."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_uncseg.errors import AnotherResult
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import Saved, save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGION_TITLES, REGIONS, region_masks
from napari_uncseg.widgets.base import worker_for
from napari_uncseg.widgets.common import heading, note_label, show_failure, show_note
from napari_uncseg.widgets.preferences import read_preferences
from napari_uncseg.widgets.segment.run import failure_sentence
from napari_uncseg.widgets.study_choice import FolderRow

FOLDER_NAME = "uncseg-results"
OVERWRITE = "Overwrite earlier results"

Command = Callable[[Path], str]
"""Gives, for a folder, the command that makes a result there."""


class SaveTask:
    """Saving, as a task that napari can name when it closes.

    Parameters
    ----------
    prediction : Prediction
        What is saved.
    out : Path
        Folder that takes a folder per study.
    overwrite : bool
        Whether another result may be replaced.
    command : callable, optional
        Gives the command that remakes the result in a folder; None leaves the prediction's own.
    """

    def __init__(self, prediction: Prediction, out: Path, overwrite: bool, command: Command | None) -> None:
        self._prediction = prediction
        self._out = out
        self._overwrite = overwrite
        self._command = command

    def __call__(self) -> Saved:
        """Write the files."""
        prediction = self._prediction
        if self._command is not None:
            provenance = {**prediction.provenance, "command": self._command(self._out)}
            prediction = dataclasses.replace(prediction, provenance=provenance)
        return save_prediction(prediction, self._out, overwrite=self._overwrite)

    def __str__(self) -> str:
        return "saving results"


class ResultsBox(QWidget):
    """Table of one outcome, and the form that saves it. Hidden until there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._prediction: Prediction | None = None
        self._command: Command | None = None
        self.title = heading("Result")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self.summary = note_label()
        self.folder = FolderRow("Folder for results")
        self.overwrite = QCheckBox(OVERWRITE)
        self.save_button = QPushButton("Save results")
        self.save_button.clicked.connect(self.save)
        self.message = note_label()
        self.message.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addLayout(self._grid)
        layout.addWidget(self.summary)
        layout.addWidget(heading("Save"))
        layout.addWidget(self.folder)
        layout.addWidget(self.overwrite)
        layout.addWidget(self.save_button)
        layout.addWidget(self.message)
        self.hide()

    @property
    def prediction(self) -> Prediction | None:
        """What *Save results* saves."""
        return self._prediction

    def present(self, study: Study, prediction: Prediction, command: Command | None = None) -> None:
        """Show an outcome; `command` tells how it is remade, unless its provenance does."""
        self._prediction = prediction
        self._command = command
        self.title.setText(f"Result of {study.id}")
        self._fill_table(prediction)
        self.summary.setText(_summary(prediction))
        if not self.folder.line.text():
            self.folder.line.setText(str(_proposed_folder(study)))
        self.message.hide()
        self.show()

    def save(self) -> None:
        """Save the result in a thread."""
        out = self.folder.path
        if self._prediction is None:
            return
        if out is None:
            show_failure(self.message, "No folder is chosen; choose where the results go.")
            return
        self.save_button.setEnabled(False)
        show_note(self.message, "Saving …")
        worker = worker_for(SaveTask(self._prediction, out, self.overwrite.isChecked(), self._command))
        worker.returned.connect(self._on_saved)
        worker.errored.connect(self._on_save_error)
        worker.start()

    def _on_saved(self, saved: Saved) -> None:
        self.save_button.setEnabled(True)
        if saved.skipped:
            show_note(self.message, f"The same results were there already: {saved.folder}")
        else:
            show_note(self.message, f"Saved {len(saved.files)} files in {saved.folder}")

    def _on_save_error(self, error: Exception) -> None:
        self.save_button.setEnabled(True)
        hint = f" (tick {OVERWRITE!r})" if isinstance(error, AnotherResult) else ""
        show_failure(self.message, failure_sentence(error) + hint)

    def _fill_table(self, prediction: Prediction) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        volumes, dice = _volumes(prediction), prediction.provenance.get("dice") or {}
        titles = ["Region", "Volume", *(["Dice"] if dice else [])]
        for column, title in enumerate(titles):
            self._grid.addWidget(_cell(title, column, bold=True), 0, column)
        for row, region in enumerate(REGIONS, start=1):
            cells = [f"{region} · {REGION_TITLES[region]}", f"{volumes[region]:.1f} mL"]
            if dice:
                cells.append(_number(dice.get(region)))
            for column, text in enumerate(cells):
                self._grid.addWidget(_cell(text, column), row, column)
        self._grid.setColumnStretch(0, 1)


def _cell(text: str, column: int, *, bold: bool = False) -> QLabel:
    label = QLabel(text)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if column:
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    if bold:
        font = label.font()
        font.setBold(True)
        label.setFont(font)
    return label


def _number(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.2f}"


def _volumes(prediction: Prediction) -> dict[str, float]:
    """Volume of each region in millilitres, as the provenance tells or else counted."""
    told = prediction.provenance.get("volumes_ml") or {}
    if all(region in told for region in REGIONS):
        return {region: float(told[region]) for region in REGIONS}
    masks = region_masks(prediction.segmentation)
    return {region: float(mask.sum()) * prediction.voxel_ml for region, mask in zip(REGIONS, masks, strict=True)}


def _summary(prediction: Prediction) -> str:
    recalibrated = "The probabilities are recalibrated." if prediction.recalibrated else ""
    return " ".join(filter(None, (_of_members(prediction), recalibrated, _of_tumour(prediction))))


def _of_members(prediction: Prediction) -> str:
    partial = prediction.partial
    if partial is not None:
        return f"Stopped early, {partial} members ({prediction.method}): run again for all."
    return f"Mean of {prediction.members} members ({prediction.method})." if prediction.members > 1 else ""


def _of_tumour(prediction: Prediction) -> str:
    if not (prediction.segmentation > 0).any():
        return "No tumour was found. Look at the images: a missed tumour leaves no uncertainty behind."
    score = prediction.provenance.get("triage_score")
    if score is None:
        return ""
    return f"Mean WT entropy in and around the tumour: {float(score):.3f} nats (0 sure, {math.log(2):.2f} undecided)."


def _proposed_folder(study: Study) -> Path:
    """Where the settings say, or next to the study's folder."""
    preferred = read_preferences().output_folder
    if preferred:
        return Path(preferred).expanduser()
    if study.sources:
        return study.sources[0].path.resolve().parent.parent / FOLDER_NAME
    return Path.home() / FOLDER_NAME
