"""A run of the panel: what is asked for, how it is done and saved by the package's one pipeline, and what came out.

torch is imported in the thread, when a model runs, so that opening the panel costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from napari_uncseg.errors import Cancelled
from napari_uncseg.inference import jobs, pipeline
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGION_TITLES, REGIONS
from napari_uncseg.uncertainty.expected_dice import expected_dice_of
from napari_uncseg.viewer.orientation import study_notes
from napari_uncseg.widgets.common import Note, PathRow, button, column, heading
from napari_uncseg.widgets.job import STOPPED, Job, Report
from napari_uncseg.widgets.preferences import read_preferences


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Parameters
    ----------
    load : callable
        Reads or builds the study.
    settings : PredictionSettings
        Of the pipeline; where the result goes is chosen later.
    """

    load: Callable[[], Study]
    settings: pipeline.PredictionSettings


@dataclass(frozen=True)
class Outcome:
    """A study with its prediction and what was asked for, whatever is selected in the viewer by now.

    A result that was opened, and not made here, has no request; it holds the command that remakes it.
    """

    study: Study
    prediction: Prediction
    request: Request | None = None


def run(request: Request, report: Report) -> Outcome:
    """Read the study, then predict; called in a thread.

    Returns
    -------
    Outcome
        Of the members that are done, when it was stopped after the first of several.

    Raises
    ------
    UncsegError
        When the model, the device or the study do not do; Cancelled when stopped.
    """
    settings = request.settings
    report.tell(0, 0, "Reading the study")
    study = request.load()
    for note in study_notes(study):
        report.notify(note)
    if report.cancelled():
        raise Cancelled(STOPPED)
    report.tell(0, 0, "Loading the model")
    predictor = pipeline.make_predictor(settings, report.notify)
    kwargs = settings.predict_kwargs()
    prediction = predictor.predict(study, progress=report.tell, cancelled=report.cancelled, **kwargs)
    return Outcome(study, prediction, request)


def save(outcome: Outcome, out: Path, overwrite: bool, _report: Report) -> jobs.Outcome:
    """Save a result with the command that remakes it; called in a thread.

    Raises
    ------
    SaveError
        When another result stands there, or the disk cannot take it.
    """
    study, request = outcome.study, outcome.request
    if request is None:
        return pipeline.save_study(outcome.prediction, pipeline.PredictionSettings(out, overwrite))
    settings = replace(request.settings, out=out, overwrite=overwrite, resample=study.resampled)
    command = jobs.command_of(study, settings.options)
    return pipeline.save_study(outcome.prediction, settings, command)


FOLDER_NAME = "uncseg-results"


class ResultsBox(QWidget):
    """Table of one outcome, and the form that saves it. Hidden until there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._outcome: Outcome | None = None
        self.title = heading("Result")
        self.table = QLabel()
        self.table.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.summary = Note()
        self.summary.setToolTip(
            "Doubt: mean entropy of the whole tumour in and around the tumour, nats; ln 2 is largest"
        )
        self.folder = PathRow("Folder for results")
        self.overwrite = QCheckBox("Overwrite earlier results")
        self.overwrite.setToolTip("Replace the result of another run of this study; only files of its own are removed")
        self.save_button = button("Save results", "Write segmentation, maps and how they were made", self.save)
        self.message = Note()
        self._job = Job(self, "saving results")
        self._job.returned.connect(self._on_saved)
        self._job.failed.connect(self.message.fail)
        self._job.finished.connect(self._on_finished)
        saving = (heading("Save"), self.folder, self.overwrite, self.save_button, self.message)
        self.setLayout(column(self.title, self.table, self.summary, *saving))
        self.hide()

    def present(self, outcome: Outcome) -> None:
        """Show an outcome."""
        self._outcome = outcome
        self.title.setText(f"Result of {outcome.study.id}")
        self.table.setText(_table(outcome.prediction))
        self.summary.tell(" ".join(_summary(outcome.prediction)))
        if not self.folder.line.text():
            self.folder.line.setText(str(_proposed_folder(outcome.study)))
        self.message.hide()
        self.show()

    def save(self) -> None:
        """Save the result in a thread."""
        out = self.folder.path
        if out is None:
            self.message.fail("No folder is chosen; choose where the results go.")
        elif self._outcome is not None:
            self.save_button.setEnabled(False)
            self.message.tell("Saving …")
            self._job.start(partial(save, self._outcome, out, self.overwrite.isChecked()))

    def _on_saved(self, saved: jobs.Outcome) -> None:
        there = saved.status is jobs.Status.SKIPPED
        self.message.tell(f"{'The same results were there already' if there else 'Saved in'}: {saved.folder}")

    def _on_finished(self) -> None:
        self.save_button.setEnabled(True)


def _table(prediction: Prediction) -> str:
    """Volume, and Dice where there is a reference, of each region, as HTML."""
    volumes, dice = (prediction.provenance.get(name) or {} for name in ("volumes_ml", "dice"))
    rows = [["<b>Region</b>", "<b>Volume</b>", *(["<b>Dice</b>"] if dice else [])]]
    for region in REGIONS:
        score = dice.get(region)
        own = ["undefined" if score is None or math.isnan(score) else f"{score:.2f}"] if dice else []
        rows.append([f"{region} · {REGION_TITLES[region]}", f"{volumes[region]:.1f} mL", *own])
    lines = (f"<td>{first}</td>{''.join(f'<td align=right>{each}</td>' for each in rest)}" for first, *rest in rows)
    return f'<table width="100%" cellpadding="3">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _summary(prediction: Prediction) -> list[str]:
    """What to know of a result: how many members it has, and how sure it is."""
    said, partial = [], prediction.partial
    if partial is not None:
        said.append(f"Stopped early, {partial} members ({prediction.method}): run again for all.")
    elif prediction.member_count > 1:
        said.append(f"Mean of {prediction.member_count} members ({prediction.method}).")
    if prediction.recalibrated:
        said.append("The probabilities are recalibrated.")
    score, estimates = prediction.provenance.get("triage_score"), expected_dice_of(prediction.provenance)
    if not prediction.segmentation.any():
        said.append("No tumour was found. Look at the images: a missed tumour leaves no uncertainty behind.")
    elif estimates:
        said.append("Expected Dice " + ", ".join(f"{region} {each}" for region, each in estimates.items()) + ".")
    elif score is not None:
        said.append(f"Mean entropy {float(score):.3f} (0 sure, {math.log(2):.2f} coin toss).")
    reasons = prediction.provenance.get("needs_review") or ()
    return said + [f"Needs review: {reason['text']}" for reason in reasons if reason["code"] != "no_tumour"]


def _proposed_folder(study: Study) -> Path:
    """Where the settings say, or next to the study's folder."""
    beside = study.sources[0].path.absolute().parent.parent if study.sources else Path.home()
    return read_preferences().results or beside / FOLDER_NAME
