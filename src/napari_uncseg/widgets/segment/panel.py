"""*Segment with uncertainty*: run the model on a study, see what came out, save it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari
from napari.layers import Layer
from qtpy.QtWidgets import QWidget

from napari_uncseg.errors import ModelError, UncsegError
from napari_uncseg.inference.pipeline import PredictionSettings
from napari_uncseg.viewer.layers import add_prediction, add_study, adopt_layers, close_others
from napari_uncseg.viewer.tags import open_studies, tag_of
from napari_uncseg.widgets.common import PathRow, choice, form, heading
from napari_uncseg.widgets.job import JobPanel
from napari_uncseg.widgets.preferences import DEVICES, read_preferences
from napari_uncseg.widgets.segment.choices import LAYERS, CalibrationChoice, EnsembleChoice, StudyChoice
from napari_uncseg.widgets.segment.run import Outcome, Request, ResultsBox, run

BUNDLED, OWN_FOLDER = 0, 1


class SegmentWidget(JobPanel):
    """Panel of a run, which gives what is done of several members when it is stopped.

    It is bound to the study it was started on, never to what is selected in the viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where results are shown.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        tip = "Segment the study, and map where not to trust the result"
        super().__init__(viewer, "a segmentation", "Run", tip)
        self._taken: dict[str, Layer] = {}
        preferences = read_preferences()
        self.study = StudyChoice(viewer)
        self.model = choice("Network that segments", ["Bundled model", "Folder"], self._on_model)
        self.model_folder = PathRow("Folder of a model", preferences.model_folder, "folder of a trained model")
        self.members = EnsembleChoice()
        self.calibration = CalibrationChoice()
        self.device = choice("Where the network runs; auto takes the graphics card when there is one", DEVICES)
        self.device.setCurrentText(preferences.device)
        self.results = ResultsBox()
        self._model_form = QWidget()  # its words are greyed with its boxes
        self._model_form.setLayout(form(Network=self.model, Device=self.device))
        model = (heading("Model"), self._model_form, self.model_folder, self.members, self.calibration)
        self.fill(heading("Study"), self.study, *model, self.bar, self.results)
        self.model_folder.line.textChanged.connect(self._on_model)
        self.members.changed.connect(self._on_members)
        self.model.setCurrentIndex(OWN_FOLDER if preferences.model_folder else BUNDLED)
        self._on_model()

    def run(self) -> None:
        """Start a run on what the form says."""
        if self.running:
            return
        self.bar.warnings.hide()
        with self.bar.failure.failing():
            request = self._request()
            # Layers of single files become the study's own once it is there.
            self._taken = self.study.layers() if self.study.source.currentIndex() == LAYERS else {}
            self.bar.start(partial(run, request))

    def _folder(self) -> Path | None:
        """Folder of a model of the user's own; None for the bundled model.

        Raises
        ------
        ModelError
            When none is typed yet.
        """
        if self.model.currentIndex() == BUNDLED:
            return None
        if self.model_folder.path is None:
            raise ModelError("No model folder is chosen; choose one, or take the bundled model.")
        return self.model_folder.path

    def _request(self) -> Request:
        folder = self._folder()
        members = self.members.members_for(folder)
        calibration, device = self.calibration.chosen_for(folder, members), self.device.currentText()
        settings = PredictionSettings(Path(), ensemble=members, calibration=calibration, device=device, model=folder)
        return Request(self.study.loader(), settings)

    def _on_returned(self, outcome: Outcome) -> None:
        study, prediction = outcome.study, outcome.prediction
        if open_studies(self._viewer).get(study.id) is not study:
            if self._taken and all(_is_loose(layer, self._viewer) for layer in self._taken.values()):
                adopt_layers(self._taken, study)
            else:
                add_study(self._viewer, study)
        add_prediction(self._viewer, prediction)
        close_others(self._viewer, study.id)  # one may have been opened meanwhile
        self.results.present(outcome)
        seconds = self.bar.seconds
        if prediction.partial is not None:
            self.bar.status.tell(f"Stopped after {seconds:.0f} s; the result is {prediction.partial} members.")
        elif outcome.request is not None:
            self.members.learn(outcome.request.settings.ensemble, seconds)

    def _on_running(self) -> None:
        running = self.running
        self._taken = self._taken if running else {}
        for widget in (self.study, self._model_form, self.model_folder, self.members, self.calibration):
            widget.setEnabled(not running)
        self.bar.run_button.setEnabled(not running)

    def _on_model(self, _change: object = None) -> None:
        own = self.model.currentIndex() == OWN_FOLDER
        self.model_folder.setVisible(own)
        self.members.look_into((self.model_folder.path or Path()) if own else None)
        self._on_members()

    def _on_members(self) -> None:
        try:
            folder = self._folder()
            self.calibration.look_at(folder, self.members.members_for(folder))
        except UncsegError:  # the form says what is wrong with the members
            self.calibration.look_at(None, None)


def _is_loose(layer: Layer, viewer: napari.viewer.Viewer) -> bool:
    """Whether a layer is still in the viewer and belongs to no study yet."""
    return layer in viewer.layers and tag_of(layer) is None
