"""*Segment with uncertainty*: run the model on a study, see what came out, save it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import napari
from napari.layers import Layer
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

from napari_uncseg.errors import Cancelled, ModelError, UncsegError
from napari_uncseg.viewer.layers import add_prediction, add_study, adopt_layers
from napari_uncseg.viewer.tags import open_studies, tag_of
from napari_uncseg.widgets.base import worker_for
from napari_uncseg.widgets.command import predict_command
from napari_uncseg.widgets.common import fill_panel, heading, note_label, row_label, show_failure, show_note
from napari_uncseg.widgets.preferences import DEVICES, read_preferences
from napari_uncseg.widgets.segment.calibration_choice import CalibrationChoice
from napari_uncseg.widgets.segment.ensemble_choice import MemberChoice
from napari_uncseg.widgets.segment.results import ResultsBox
from napari_uncseg.widgets.segment.run import Outcome, Predict, Report, Request, Run, Stopper, failure_sentence, predict
from napari_uncseg.widgets.study_choice import LAYERS, FolderRow, StudyChoice

BUNDLED, OWN_FOLDER = 0, 1
FORM_HEIGHT = 360
"""What the form takes up to its buttons, in pixels."""
LOOK_INTERVAL_MS = 100
"""How often the panel looks at the report of a run."""


class SegmentWidget(QWidget):
    """Panel of a run: idle, running (only *Cancel* works) or stopping (waiting for the thread to notice).

    The run is bound to the study it was started on, never to what is selected in the viewer. When the panel or the
    viewer goes away, the thread is told to stop and its result is dropped.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where results are shown.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._stopper = Stopper()
        self._layers: dict[str, Layer] = {}
        self._started = 0.0
        self._shown = False
        self.predict: Predict = predict
        preferences = read_preferences()
        self.study = StudyChoice(viewer)
        self.model = QComboBox()
        self.model.addItems(["Bundled model", "Folder"])
        self.model_folder = FolderRow("Folder of a model", preferences.model_folder, "folder of a trained model")
        self.members = MemberChoice()
        self.calibration = CalibrationChoice()
        self.device = QComboBox()
        self.device.addItems(list(DEVICES))
        self.device.setCurrentText(preferences.device)
        self.run_button = QPushButton("Run")
        self.cancel_button = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.status = note_label()
        self.failure = note_label()
        self.warnings = note_label()
        self.results = ResultsBox()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self.model.currentIndexChanged.connect(self._on_model)
        self.model_folder.line.textChanged.connect(self._on_model)
        self.members.preset.currentIndexChanged.connect(self._on_members)
        self.members.words.textChanged.connect(self._on_members)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self._lay_out()
        self.model.setCurrentIndex(OWN_FOLDER if preferences.model_folder else BUNDLED)
        self._on_model()
        self._set_running(False)
        self.destroyed.connect(self._stopper.stop)

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return self._stopper.report is not None

    def run(self) -> None:
        """Start a run on what the form says."""
        if self.running:
            return
        self.failure.hide()
        self.warnings.hide()
        try:
            request = self._request()
        except UncsegError as error:
            show_failure(self.failure, str(error))
            return
        # Layers of single files become the study's own once it is there.
        self._layers = self.study.layers() if self.study.source.currentIndex() == LAYERS else {}
        report = Report()
        worker = worker_for(Run(request, self.predict, report))
        worker.returned.connect(self._on_outcome)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._stopper.start(report, worker)
        self._started = time.monotonic()
        self._shown = False
        self._set_running(True)
        worker.start()

    def cancel(self) -> None:
        """Ask the run to stop; it does within seconds, and gives what is done of several members."""
        if self.running:
            self._stopper.ask()
            self.cancel_button.setEnabled(False)
            self.bar.setRange(0, 0)
            self.status.setText("Stopping …")

    def event(self, event: QEvent | None) -> bool:
        """Stop when napari takes the panel out of its dock, which it does without closing or deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._stopper.stop()
        return super().event(event)

    def _request(self) -> Request:
        folder: Path | None = None
        if self.model.currentIndex() == OWN_FOLDER:
            folder = self.model_folder.path
            if folder is None:
                raise ModelError("No model folder is chosen; choose one, or take the bundled model.")
        members = self.members.members_for(folder)
        calibration = self.calibration.chosen_for(folder, members)
        return Request(self.study.loader(), folder, self.device.currentText(), members, calibration)

    def _look(self) -> None:
        """Show what the thread reported since the last look."""
        report = self._stopper.report
        if report is None or report.cancel.is_set():
            return
        done, total, message = report.progress
        self.bar.setRange(0, max(total, 0))
        self.bar.setValue(done)
        self.status.setText(f"{message} · {time.monotonic() - self._started:.0f} s")
        self._show_notices(report)

    def _on_outcome(self, outcome: Outcome) -> None:
        study, prediction = outcome.study, outcome.prediction
        self._shown = True
        if open_studies(self._viewer).get(study.id) is not study:
            if self._layers and all(_is_loose(layer, self._viewer) for layer in self._layers.values()):
                adopt_layers(self._layers, study)
            else:
                add_study(self._viewer, study)
        add_prediction(self._viewer, prediction)
        request = outcome.request
        command = partial(
            predict_command,
            study,
            device=request.device,
            model_folder=request.model_folder,
            members=request.members,
            calibration=None if request.calibration is None else request.calibration.name,
        )
        self.results.present(study, prediction, command)
        seconds = time.monotonic() - self._started
        if prediction.partial is not None:
            show_note(self.status, f"Stopped after {seconds:.0f} s; the result is {prediction.partial} members.")
        else:
            show_note(self.status, f"Done in {seconds:.0f} s.")
            self.members.learn(request.members, seconds)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, Cancelled):
            return
        self.status.hide()
        show_failure(self.failure, failure_sentence(error))

    def _on_finished(self) -> None:
        report = self._stopper.report
        if report is not None:
            self._show_notices(report)
            if report.cancel.is_set() and not self._shown:
                show_note(self.status, "Stopped; nothing was changed.")
        self._stopper.clear()
        self._layers = {}
        self._set_running(False)

    def _show_notices(self, report: Report) -> None:
        show_note(self.warnings, "\n".join(f"⚠ {notice}" for notice in report.notices))

    def _set_running(self, running: bool) -> None:
        model = (self.model, self.model_folder, self.members, self.calibration, self.device)
        for widget in (self.study, *model, self.run_button):
            widget.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)
        if running:
            self.bar.setRange(0, 0)
            show_note(self.status, "Starting …")
            self._timer.start()
        else:
            self._timer.stop()

    def _on_model(self, _change: object = None) -> None:
        own = self.model.currentIndex() == OWN_FOLDER
        self.model_folder.setVisible(own)
        self.members.look_into((self.model_folder.path or Path()) if own else None)
        self._on_members()

    def _on_members(self, _change: object = None) -> None:
        folder = self.model_folder.path if self.model.currentIndex() == OWN_FOLDER else None
        unsaid = self.model.currentIndex() == OWN_FOLDER and folder is None
        try:
            members = None if unsaid else self.members.members_for(folder)
        except UncsegError:  # the form of the members says what is wrong with them
            members = None
        self.calibration.look_at(folder, members)

    def _lay_out(self) -> None:
        for label in (self.status, self.failure, self.warnings):
            label.hide()
        content = QWidget()
        inner = QVBoxLayout(content)
        inner.setContentsMargins(8, 4, 8, 8)
        inner.addWidget(heading("Study"))
        inner.addWidget(self.study)
        inner.addWidget(heading("Model"))
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_label("Network"), self.model)
        form.addRow(row_label("Device"), self.device)
        inner.addLayout(form)
        inner.addWidget(self.model_folder)
        inner.addWidget(self.members)
        inner.addWidget(self.calibration)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        inner.addLayout(buttons)
        for widget in (self.bar, self.status, self.failure, self.warnings, self.results):
            inner.addWidget(widget)
        inner.addStretch(1)
        # Other panels in the same column must not push the buttons out of sight.
        fill_panel(self, content, FORM_HEIGHT)


def _is_loose(layer: Layer, viewer: napari.viewer.Viewer) -> bool:
    """Whether a layer is still in the viewer and belongs to no study yet."""
    return layer in viewer.layers and tag_of(layer) is None
