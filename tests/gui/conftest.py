"""What window tests share: colours at places of the patient, a network that is none, and options that are forgotten."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, QSettings, Qt
from qtpy.QtGui import QKeySequence, QWheelEvent
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_uncseg.errors import Cancelled
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import MODALITIES


def turn_wheel(widget, place, notches, keys=Qt.KeyboardModifier.NoModifier) -> None:
    """Turn the wheel over a place of a widget."""
    none, turned = Qt.MouseButton.NoButton, QPoint(0, 120 * notches)
    places = (QPointF(place), QPointF(widget.mapToGlobal(place)))
    event = QWheelEvent(*places, QPoint(), turned, none, keys, Qt.ScrollPhase.NoScrollPhase, False)
    QApplication.sendEvent(widget, event)


def inputs_of(folder: Path) -> dict[str, dict[str, str]]:
    """What a result tells of the images that it was made from, as they lie in a study's folder."""
    files = {role: next(folder.glob(f"*-{role}.nii.gz")) for role in MODALITIES}
    return {
        role: {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for role, file in files.items()
    }


@pytest.fixture
def save_result(tmp_path, tiny_prediction):
    """Saves the tiny result under the name of another study, and tells the folder of results."""

    def save(name, segmentation=tiny_prediction.segmentation, **told):
        provenance = {**tiny_prediction.provenance, "study": name, **told}
        changes = {"study_id": name, "segmentation": segmentation, "provenance": provenance}
        save_prediction(dataclasses.replace(tiny_prediction, **changes), tmp_path / "results")
        return tmp_path / "results"

    return save


@pytest.fixture
def windowed() -> None:
    """Asked for where the viewer needs its window: for keys, for pictures, for docks."""


@pytest.fixture
def viewer(request):
    """A viewer, with its window where a test asks for it: panels themselves ask for no more, and it takes its time."""
    make = request.getfixturevalue("make_napari_viewer_proxy") if "windowed" in request.fixturenames else ViewerModel
    return make()


@pytest.fixture
def dock(qtbot, viewer):
    """Puts a panel into the window, where there is one; it is there until the end of the test."""
    alone = []

    def put(panel):
        if hasattr(viewer, "window"):
            viewer.window.add_dock_widget(panel, name=type(panel).__name__)
        else:
            alone.append(panel)
        return panel

    yield put
    for panel in alone:
        panel.close()
        panel.deleteLater()
    qtbot.wait(1)  # deleted now: as garbage they might be collected in a thread, which Qt does not survive


@pytest.fixture
def colour_at(windowed) -> Callable[..., np.ndarray]:
    """Mean colour, 0 to 255, of a small square of a picture around a voxel that lies in the slice on show."""

    def colour(viewer, picture, affine, voxel, half: int = 2) -> np.ndarray:
        right, anterior, superior, _ = affine @ (*voxel, 1)
        world = (-superior, -anterior, -right)
        displayed = list(viewer.dims.displayed)
        camera = viewer.scene.camera
        height, width = picture.shape[:2]
        row = height / 2 + (world[displayed[0]] - camera.center[-2]) * camera.zoom
        column = width / 2 + (world[displayed[1]] - camera.center[-1]) * camera.zoom
        square = picture[round(row) - half : round(row) + half + 1, round(column) - half : round(column) + half + 1, :3]
        assert square.size, f"voxel {voxel} lies outside the picture"
        return square.reshape(-1, 3).mean(axis=0)

    return colour


class FakePredictor:
    """Stands in for the network: waits until it may answer, and knows whether it was asked to stop.

    When it is, it gives what ``partial`` holds, or else nothing.
    """

    def __init__(self, prediction) -> None:
        self.prediction = prediction
        self.may_answer = threading.Event()
        self.started = threading.Event()
        self.stopped = threading.Event()
        self.studies: list = []
        self.asked: list = []
        self.error: Exception | None = None
        self.partial = None
        self.notify: Callable[[str], None] = print

    def predict(self, study, *, progress, cancelled, command=None, **asked):
        self.studies.append(study)
        self.asked.append(asked)
        self.notify("The tiles were made smaller.")
        progress(1, 4, "Looking at the brain")
        self.started.set()
        while not self.may_answer.wait(0.01):
            if cancelled():
                self.stopped.set()
                if self.partial is not None:
                    return self.partial
                raise Cancelled("Stopped.")
        if self.error is not None:
            raise self.error
        return dataclasses.replace(self.prediction, study_id=study.id)


@pytest.fixture
def network(tiny_prediction, monkeypatch):
    """What stands in for the network of every panel."""
    fake = FakePredictor(tiny_prediction)

    def make(_settings, notify):
        fake.notify = notify
        return fake

    monkeypatch.setattr("napari_uncseg.inference.pipeline.make_predictor", make)
    yield fake
    fake.may_answer.set()  # whatever a test did, no thread may be left waiting


@pytest.fixture
def press_key(qtbot, windowed) -> Callable[..., None]:
    """Press a key, written as napari does it, over the picture: Qt, vispy and napari's key map all have their say."""

    def press(viewer, key: str) -> None:
        window = getattr(viewer, "__wrapped__", viewer).window
        pressed = QKeySequence(key.replace("-", "+"))[0]
        qtbot.keyClick(window._qt_viewer.canvas.native, pressed.key(), pressed.keyboardModifiers())

    return press


@pytest.fixture
def no_memory(tmp_path, monkeypatch):
    """No options and no place of an earlier test."""
    QSettings("napari-uncseg", "napari-uncseg").clear()
    for module in ("viewer.navigation", "widgets.case_browser.panel"):
        monkeypatch.setattr(f"napari_uncseg.{module}.state_folder", lambda: tmp_path / "state")


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> list[str]:
    """What was asked in a dialog that waits for a line; each time the answer is a reviewer's initials."""
    questions: list[str] = []

    def answer(_parent, title, *_rest):
        questions.append(title)
        return "R1", True

    monkeypatch.setattr(QInputDialog, "getText", answer)
    return questions
