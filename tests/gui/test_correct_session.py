"""A session of correcting in a real window, with keys and mouse: two cases, a crash, the draft, saving, the report."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from tests.conftest import write_study
from tests.gui.conftest import inputs_of

from napari_uncseg.io.results import load_prediction
from napari_uncseg.labels import Label
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.review.drafts import drafts_of
from napari_uncseg.review.verdicts import Decision, log_path, read_log
from napari_uncseg.viewer.bindings import CORRECTION_KEYS, FINDING_KEYS, PICTURE_KEYS, VERDICT_KEYS
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.picture import UNSAVED
from napari_uncseg.viewer.surfaces import in_3d
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.review.panel import ReviewWidget

PATIENCE = 120000
CASES = ("case-a", "case-b")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_memory")]


@pytest.fixture
def studies(tmp_path, tiny_study):
    """Folder of two studies."""
    for number, name in enumerate(CASES):
        moved = np.where(tiny_study.images > 0, tiny_study.images + number, 0)
        write_study(dataclasses.replace(tiny_study, id=name, images=moved), tmp_path / "studies")
    return tmp_path / "studies"


@pytest.fixture
def results(studies, save_result):
    """Their results."""
    *_, folder = (save_result(name, inputs=inputs_of(studies / name)) for name in CASES)
    return folder


class Desk:
    """A window with the panel *Review*, and hands on keys and mouse."""

    def __init__(self, qtbot, viewer, press_key, results, studies) -> None:
        self.qtbot, self.viewer, self.press_key, self.results = qtbot, viewer, press_key, results
        viewer.__wrapped__.window._qt_window.resize(1400, 950)
        self.panel, self.session = ReviewWidget(viewer), session_of(viewer)
        viewer.window.add_dock_widget(self.panel, name="Review", area="right")
        self.panel.cases.show_folders(results, studies)
        self.correction = self.panel.verdict.correction

    def until(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=PATIENCE)

    def open(self, name) -> None:
        self.panel.cases.open(self.panel.cases.listed.case(name))
        self.ready(name)

    def ready(self, name) -> None:
        self.until(lambda: self.session.study == name and self.session.findings is not None)
        self.until(lambda: list(open_predictions(self.viewer)) == [name])
        self.qtbot.wait(300)

    def press(self, key) -> None:
        self.press_key(self.viewer, key)

    @property
    def prediction(self):
        return open_predictions(self.viewer)[self.session.study]

    @property
    def painted(self) -> np.ndarray:
        return corrected_labels(correction_layer(self.viewer, self.prediction), self.prediction)

    def canvas_point(self, world) -> QPoint:
        """Pixel of the canvas that shows a place of the slice on show."""
        camera, canvas = self.viewer.scene.camera, self.viewer.__wrapped__.window._qt_viewer.canvas.native
        row, column = (world[axis] for axis in self.viewer.dims.displayed)
        return QPoint(
            round(canvas.width() / 2 + (column - camera.center[-1]) * camera.zoom),
            round(canvas.height() / 2 + (row - camera.center[-2]) * camera.zoom),
        )

    def drag(self, *places) -> None:
        """Press the left button at a place, and move to others."""
        canvas = self.viewer.__wrapped__.window._qt_viewer.canvas.native
        first, *rest = map(self.canvas_point, places)
        self.qtbot.mouseMove(canvas, first)
        self.qtbot.wait(50)
        self.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=first)
        for point in rest:
            self.qtbot.mouseMove(canvas, point)
            self.qtbot.wait(50)
        self.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=(rest or [first])[-1])
        self.qtbot.wait(50)

    def keep_picture(self, name) -> np.ndarray:
        """The window as it stands; kept where UNCSEG_PICTURES says, for people to look at."""
        self.qtbot.wait(200)
        folder = os.environ.get("UNCSEG_PICTURES")
        path = str(Path(folder) / f"{name}.png") if folder else None
        return self.viewer.screenshot(path, canvas_only=False, flash=False)


def correct_by_finding_and_by_hand(desk) -> None:
    """One key adds or removes a finding, the mouse paints and grows, Ctrl+Z goes back all the way."""
    desk.press(FINDING_KEYS["next"])
    desk.press(CORRECTION_KEYS["remove"])
    removed = np.array(desk.painted)
    assert np.count_nonzero(removed != desk.prediction.segmentation) > 0
    desk.panel.verdict._correct.unfold()
    desk.panel.studies.unfold(False)
    tools, point = desk.correction.tools, desk.viewer.dims.point
    tools.tissue_buttons[Label.ET].click()
    side = (point[0], point[1] + 8.0, point[2] + 8.0)
    desk.drag(point, (point[0], point[1] + 4, point[2] + 4), side)
    stroke = np.array(desk.painted)
    assert np.count_nonzero((stroke != removed) & (stroke == Label.ET)) > 5, "the mouse painted"
    assert not any(layer.visible for layer in desk.viewer.layers if "unc_output" in layer.name)
    desk.keep_picture("correct-painting")
    tools.grow_button.click()
    tools.tolerance.setValue(30)
    desk.drag(point)
    assert np.count_nonzero(desk.painted == Label.ET) > np.count_nonzero(stroke == Label.ET), "the click grew"
    desk.press("Ctrl-Z")
    assert (desk.painted == stroke).all()
    desk.press("Ctrl-Z")
    assert (desk.painted == removed).all()
    desk.press("Ctrl-Z")
    assert (desk.painted == desk.prediction.segmentation).all()
    desk.press("Ctrl-Shift-Z")
    assert (desk.painted == removed).all()
    tools.grow_button.setChecked(False)
    desk.until(lambda: desk.viewer.canvas.overlays[UNSAVED].visible)


def test_a_session_of_correcting(qtbot, make_napari_viewer_proxy, press_key, results, studies, monkeypatch):
    """Killed in the first case, the draft is offered, goes on and is saved with the verdict; the second is left."""
    told = []
    monkeypatch.setattr("napari_uncseg.widgets.case_browser.panel.show_info", told.append)
    script = Path(__file__).with_name("crashing_session.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(results), str(studies), CASES[0]], capture_output=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()[-2000:]
    saved = load_prediction(results / CASES[0])
    (draft,) = drafts_of(results / CASES[0], saved)
    assert draft.voxels > 0

    desk = Desk(qtbot, make_napari_viewer_proxy(show=True), press_key, results, studies)
    desk.open(CASES[0])
    desk.until(lambda: desk.correction.offer.isVisible())
    assert "was not saved" in desk.correction.offer.note.text()
    desk.keep_picture("correct-draft")
    desk.correction.offer.take_button.click()
    assert (desk.painted == draft.labels).all()
    desk.press(FINDING_KEYS["next"])
    desk.press(CORRECTION_KEYS["add"])
    finished = np.array(desk.painted)
    desk.panel.verdict.make_report()
    desk.until(lambda: not desk.panel.verdict.report.running)
    page = (results / CASES[0] / f"{CASES[0]}_review.html").read_text(encoding="utf-8")
    assert "corrected, mL" in page
    assert re.search(r"\d+ × \d+ \(slice \d+\)", page)
    desk.press(VERDICT_KEYS["needs_correction"])
    desk.ready(CASES[1])
    (path,) = corrections_in(results / CASES[0], CASES[0])
    assert (load_correction(path, saved) == finished).all()
    assert drafts_of(results / CASES[0], saved) == []
    assert read_log(log_path(results)).records[-1].decision is Decision.NEEDS_CORRECTION

    correct_by_finding_and_by_hand(desk)
    desk.press(PICTURE_KEYS["surfaces"])
    assert in_3d(desk.viewer)
    picture = desk.keep_picture("correct-3d")
    assert (np.ptp(picture[..., :3].astype(int), axis=-1) > 40).mean() > 0.01
    desk.press(PICTURE_KEYS["surfaces"])
    assert not in_3d(desk.viewer)
    left = np.array(desk.painted)
    desk.open(CASES[0])
    assert any(CASES[1] in each and "draft" in each for each in told)
    desk.open(CASES[1])
    desk.until(lambda: desk.correction.offer.isVisible())
    desk.correction.offer.take_button.click()
    assert (desk.painted == left).all()
    desk.viewer.close()
