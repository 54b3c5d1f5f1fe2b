"""Results of a run: volumes, Dice where there is a reference, and saving."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from napari_uncseg.errors import AnotherResult
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import Saved, save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGION_TITLES, REGIONS, region_masks
from napari_uncseg.widgets.base import Job, Report, failure_sentence
from napari_uncseg.widgets.common import Note, PathRow, button, column, heading
from napari_uncseg.widgets.preferences import read_preferences

FOLDER_NAME = "uncseg-results"
OVERWRITE = "Overwrite earlier results"

Command = Callable[[Path], str]
"""Gives, for a folder, the command that makes a result there."""


class ResultsBox(QWidget):
    """Table of one outcome, and the form that saves it. Hidden until there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._prediction: Prediction | None = None
        self._command: Command | None = None
        self.title = heading("Result")
        self.table = QLabel()
        self.table.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.summary = Note()
        self.folder = PathRow("Folder for results")
        self.overwrite = QCheckBox(OVERWRITE)
        self.overwrite.setToolTip("Replace the result of another run of this study; only files of its own are removed")
        self.save_button = button("Save results", "Write segmentation, maps and how they were made", self.save)
        self.message = Note()
        self._job = Job(self, "saving results")
        self._job.returned.connect(self._on_saved)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)
        self.setLayout(
            column(
                *(self.title, self.table, self.summary, heading("Save"), self.folder, self.overwrite),
                *(self.save_button, self.message),
            )
        )
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
        self.table.setText(_table(prediction))
        self.summary.tell(_summary(prediction))
        self.summary.setToolTip(
            "Doubt: mean entropy of the whole tumour in and around the tumour, nats; ln 2 is largest"
        )
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
            self.message.fail("No folder is chosen; choose where the results go.")
            return
        self.save_button.setEnabled(False)
        self.message.tell("Saving …")
        self._job.start(partial(_save, self._prediction, out, self.overwrite.isChecked(), self._command))

    def _on_saved(self, saved: Saved) -> None:
        if saved.skipped:
            self.message.tell(f"The same results were there already: {saved.folder}")
        else:
            self.message.tell(f"Saved {len(saved.files)} files in {saved.folder}")

    def _on_failed(self, error: Exception) -> None:
        hint = f" (tick {OVERWRITE!r})" if isinstance(error, AnotherResult) else ""
        self.message.fail(failure_sentence(error) + hint)

    def _on_finished(self) -> None:
        self.save_button.setEnabled(True)


def _save(prediction: Prediction, out: Path, overwrite: bool, command: Command | None, _report: Report) -> Saved:
    if command is not None:
        prediction = dataclasses.replace(prediction, provenance={**prediction.provenance, "command": command(out)})
    return save_prediction(prediction, out, overwrite=overwrite)


def _table(prediction: Prediction) -> str:
    """Volume, and Dice where there is a reference, of each region, as HTML."""
    volumes, dice = _volumes(prediction), prediction.provenance.get("dice") or {}
    rows = [["<b>Region</b>", "<b>Volume</b>", *(["<b>Dice</b>"] if dice else [])]]
    for region in REGIONS:
        own = [_number(dice.get(region))] if dice else []
        rows.append([f"{region} · {REGION_TITLES[region]}", f"{volumes[region]:.1f} mL", *own])
    lines = (f"<td>{first}</td>{''.join(f'<td align=right>{each}</td>' for each in rest)}" for first, *rest in rows)
    return f'<table width="100%" cellpadding="3">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


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
    return f"Doubt {float(score):.3f} (0 sure, {math.log(2):.2f} coin toss)."


def _proposed_folder(study: Study) -> Path:
    """Where the settings say, or next to the study's folder."""
    preferred = read_preferences().output_folder
    if preferred:
        return Path(preferred).expanduser()
    if study.sources:
        return study.sources[0].path.resolve().parent.parent / FOLDER_NAME
    return Path.home() / FOLDER_NAME
