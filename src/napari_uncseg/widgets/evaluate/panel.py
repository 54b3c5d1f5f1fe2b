"""*Evaluate this study*: the result of a study against its reference, region by region."""

from __future__ import annotations

import time

import napari
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.errors import Cancelled
from napari_uncseg.viewer.tags import tagged
from napari_uncseg.widgets.base import worker_for
from napari_uncseg.widgets.common import (
    LayerWatch,
    fill_panel,
    narrow,
    note_label,
    row_label,
    show_failure,
    show_note,
)
from napari_uncseg.widgets.evaluate.inputs import (
    Inputs,
    Reference,
    inputs_of,
    missing_sentence,
    references_of,
    study_ids,
)
from napari_uncseg.widgets.evaluate.results import EvaluationResults
from napari_uncseg.widgets.evaluate.task import Evaluated, EvaluationTask
from napari_uncseg.widgets.segment.run import Report, Stopper, failure_sentence
from napari_uncseg.widgets.verdict.edit_watch import EditWatch

LOOK_INTERVAL_MS = 100
PANEL_HEIGHT = 300
"""Least height of the form, in pixels: what is longer is scrolled."""


class EvaluateWidget(QWidget):
    """Panel of an evaluation: idle, running (only *Cancel* works) or stopping.

    The evaluation is bound to the study it was started on and to copies of its labels. Results are kept by study; one
    that no longer fits what is open is marked as such.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its studies, results and references are offered.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._stopper = Stopper()
        self._references: list[Reference] = []
        self._done: dict[str, Evaluated] = {}
        self._started = 0.0
        self.study_choice = narrow(QComboBox())
        self.reference_choice = narrow(QComboBox())
        self.hint = note_label()
        self.run_button = QPushButton("Evaluate this study")
        self.cancel_button = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.status = note_label()
        self.failure = note_label()
        self.results = EvaluationResults(viewer)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self._lay_out()
        self.study_choice.currentIndexChanged.connect(self._on_study)
        self.reference_choice.currentIndexChanged.connect(self._on_reference)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.destroyed.connect(self._stopper.stop)
        self._edits = EditWatch(self, self._compare)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self._set_running(False)
        self.refresh()

    @property
    def running(self) -> bool:
        """Whether an evaluation is going on."""
        return self._stopper.report is not None

    def refresh(self) -> None:
        """Offer the open studies and references; keep what was chosen, else take the first that can be evaluated."""
        ids = study_ids(self._viewer)
        chosen = self.study_choice.currentText()
        ready = [study_id for study_id in ids if references_of(self._viewer, study_id)]
        self._done = {study_id: done for study_id, done in self._done.items() if study_id in ids}
        self.study_choice.blockSignals(True)
        self.study_choice.clear()
        self.study_choice.addItems(ids)
        if ids:
            self.study_choice.setCurrentText(chosen if chosen in ids else (ready or ids)[0])
        self.study_choice.blockSignals(False)
        self._on_study()

    def run(self) -> None:
        """Evaluate the chosen study against the chosen reference."""
        inputs = self._inputs()
        if self.running or inputs is None:
            return
        self.failure.hide()
        report = Report()
        worker = worker_for(EvaluationTask(inputs.snapshot(), report))
        worker.returned.connect(self._on_evaluated)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._stopper.start(report, worker)
        self._started = time.monotonic()
        self._set_running(True)
        worker.start()

    def cancel(self) -> None:
        """Ask the evaluation to stop; it does within seconds."""
        if self.running:
            self._stopper.stop()
            self.cancel_button.setEnabled(False)
            self.bar.setRange(0, 0)
            self.status.setText("Stopping …")

    def event(self, event: QEvent | None) -> bool:
        """Stop when napari takes the panel out of its dock, which it does without closing or deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._stopper.stop()
        return super().event(event)

    def _inputs(self) -> Inputs | None:
        """What would be evaluated now."""
        study_id, index = self.study_choice.currentText(), self.reference_choice.currentIndex()
        if not study_id or not 0 <= index < len(self._references):
            return None
        return inputs_of(self._viewer, study_id, self._references[index])

    def _on_study(self, _index: int = 0) -> None:
        """Offer the references of the chosen study and show what is known of it."""
        study_id = self.study_choice.currentText()
        index = self.reference_choice.currentIndex()
        before = self._references[index].layer if 0 <= index < len(self._references) else None
        self._references = references_of(self._viewer, study_id) if study_id else []
        layers = [reference.layer for reference in self._references]
        certain = next((place for place, reference in enumerate(self._references) if reference.certain), -1)
        self.reference_choice.blockSignals(True)
        self.reference_choice.clear()
        self.reference_choice.addItems([reference.title for reference in self._references])
        self.reference_choice.setCurrentIndex(layers.index(before) if before in layers else certain)
        self.reference_choice.blockSignals(False)
        labels = [layer for layer, _ in tagged(self._viewer, study_id, "segmentation")] if study_id else []
        self._edits.follow([*labels, *layers])
        done = self._done.get(study_id)
        if done is None:
            self.results.clear()
        elif self.results.evaluated is not done:
            self.results.present(done)
        self._on_reference()

    def _on_reference(self, _index: int = 0) -> None:
        sentence = missing_sentence(self._viewer, self.study_choice.currentText())
        if not sentence and self.reference_choice.currentIndex() < 0:
            sentence = f"Choose the label file that is the reference of {self.study_choice.currentText()}."
        show_note(self.hint, sentence)
        self.reference_choice.setPlaceholderText("choose …" if self._references else "none is open")
        self._update_buttons()
        self._compare()

    def _compare(self) -> None:
        """Say whether the result on show is still that of what is open."""
        done, inputs = self.results.evaluated, self._inputs()
        if done is not None:
            self.results.mark_stale(inputs is None or not done.stamp.fits(inputs.stamp))

    def _look(self) -> None:
        """Show what the thread reported since the last look."""
        report = self._stopper.report
        if report is None or report.cancel.is_set():
            return
        done, total, message = report.progress
        self.bar.setRange(0, max(total, 0))
        self.bar.setValue(done)
        self.status.setText(f"{message} · {time.monotonic() - self._started:.0f} s")

    def _on_evaluated(self, evaluated: Evaluated) -> None:
        self._done[evaluated.study_id] = evaluated
        show_note(self.status, f"Done in {time.monotonic() - self._started:.0f} s.")
        self.refresh()

    def _on_error(self, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self.status.hide()
            show_failure(self.failure, failure_sentence(error))

    def _on_finished(self) -> None:
        report = self._stopper.report
        if report is not None and report.cancel.is_set():
            show_note(self.status, "Stopped; nothing was changed.")
        self._stopper.clear()
        self._set_running(False)

    def _set_running(self, running: bool) -> None:
        self.bar.setVisible(running)
        self._update_buttons()
        if running:
            self.bar.setRange(0, 0)
            show_note(self.status, "Starting …")
            self._timer.start()
        else:
            self._timer.stop()

    def _update_buttons(self) -> None:
        self.run_button.setEnabled(not self.running and self.reference_choice.currentIndex() >= 0)
        self.study_choice.setEnabled(not self.running and self.study_choice.count() > 0)
        self.reference_choice.setEnabled(not self.running and bool(self._references))
        self.run_button.setToolTip(self.hint.text())
        self.cancel_button.setVisible(self.running)
        self.cancel_button.setEnabled(self.running)

    def _lay_out(self) -> None:
        for label in (self.status, self.failure):
            label.hide()
        content = QWidget()
        inner = QVBoxLayout(content)
        inner.setContentsMargins(8, 4, 8, 8)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_label("Study"), self.study_choice)
        form.addRow(row_label("Reference"), self.reference_choice)
        inner.addLayout(form)
        inner.addWidget(self.hint)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        inner.addLayout(buttons)
        for widget in (self.bar, self.status, self.failure):
            inner.addWidget(widget)
        inner.addWidget(self.results, 1)
        inner.addStretch(0)
        fill_panel(self, content, PANEL_HEIGHT)
