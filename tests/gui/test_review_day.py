"""A day of review in a real window, as a person would have it: every step is seen in pixels, in files and in state."""

import dataclasses

import numpy as np
import pytest
from tests.conftest import write_study
from tests.gui.conftest import inputs_of

from napari_uncseg.review.verdicts import Decision, Judgement, Status, StudyVerdict, latest, log_path, read_log
from napari_uncseg.viewer.bindings import FINDING_KEYS
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import world_of
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.case_browser.table import STATUS, STUDY
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.segment.panel import SegmentWidget
from napari_uncseg.widgets.verdict.panel import VerdictWidget

PATIENCE = 300000
REVIEWER = "R1"
SCORES = {"patient-1": 0.1, "patient-2": 0.5, "patient-3": 0.3, "patient-4": 0.2}
NOT_YET = "patient-5"
WORST, SECOND = "patient-2", "patient-3"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_memory")]


@pytest.fixture
def studies(tmp_path, tiny_study):
    """Folder of five studies."""
    generator = np.random.default_rng(20261122)
    for name in (*SCORES, NOT_YET):
        noise = generator.normal(0, 5, tiny_study.images.shape) * tiny_study.brain
        images = (tiny_study.images + noise).clip(0)
        write_study(dataclasses.replace(tiny_study, id=name, images=images), tmp_path / "studies")
    return tmp_path / "studies"


@pytest.fixture
def results(studies, save_result):
    """Folder of results of all studies but the last one."""
    for name, score in SCORES.items():
        folder = save_result(name, triage_score=score, inputs=inputs_of(studies / name))
    return folder


class Desk:
    """The window with the panels that a reviewer has open."""

    def __init__(self, qtbot, viewer, press_key, results, studies) -> None:
        self.qtbot, self.viewer, self.press_key = qtbot, viewer, press_key
        self.session = session_of(viewer)
        self.browser, self.threshold = CaseBrowserWidget(viewer), FindingsWidget(viewer)
        self.verdict = VerdictWidget(viewer)
        panels = {"Case browser": self.browser, "Threshold": self.threshold, "Verdict": self.verdict}
        for name, panel in panels.items():
            viewer.window.add_dock_widget(panel, name=name, tabify=True)
        self.browser.show_folders(results, studies)

    def until(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=PATIENCE)

    def ready(self, study_id) -> None:
        """Wait until a case is open with its findings."""
        self.until(lambda: self.browser.shown == study_id and self.session.study == study_id)
        self.until(lambda: not self.threshold.searching and self.session.findings is not None)

    def press(self, key) -> None:
        """Press a key of the review over the picture."""
        self.press_key(self.viewer, key)

    def column(self, number) -> list[str]:
        table = self.browser.table
        return [table.item(row, number).text() for row in range(table.rowCount()) if not table.isRowHidden(row)]

    def status_of(self, study_id) -> str:
        return self.column(STATUS)[self.column(STUDY).index(study_id)]

    def picture(self) -> np.ndarray:
        self.qtbot.wait(100)
        return self.viewer.screenshot(canvas_only=True, flash=False)


def colourful(picture) -> float:
    """Share of pixels that have a colour."""
    return float((np.ptp(picture[..., :3].astype(int), axis=-1) > 40).mean())


def run_the_one_without_result(desk, results) -> None:
    """The bundled network segments the study that has no result yet."""
    desk.browser.open(desk.browser.listed.case(NOT_YET))
    desk.until(lambda: desk.browser.shown == NOT_YET)
    assert list(open_studies(desk.viewer)) == [NOT_YET]
    assert not open_predictions(desk.viewer)
    assert desk.picture()[..., :3].mean() > 5, "no image is seen"
    segment = SegmentWidget(desk.viewer)
    desk.viewer.window.add_dock_widget(segment, name="Segment with uncertainty")
    segment.run()
    desk.until(lambda: not segment.running)
    assert not segment.bar.failure.isVisibleTo(segment), segment.bar.failure.text()
    assert list(open_predictions(desk.viewer)) == [NOT_YET]
    segment.results.folder.line.setText(str(results))
    segment.results.save()
    desk.until(lambda: segment.results.message.text().startswith("Saved "))
    desk.viewer.window.remove_dock_widget(segment)
    desk.browser.refresh()
    assert desk.browser.listed.case(NOT_YET).result is not None
    desk.until(lambda: not desk.threshold.searching)


def set_the_threshold(desk) -> float:
    """Open the worst case, and lower the threshold until findings are left."""
    desk.browser.open(desk.browser.listed.case(WORST))
    desk.ready(WORST)
    assert list(open_predictions(desk.viewer)) == list(open_studies(desk.viewer)) == [WORST]
    desk.threshold.choice.map_box.setCurrentText("unc_output, unmasked")
    desk.threshold.slider.setValue(0.05)
    desk.until(lambda: not desk.threshold.searching)
    seen = colourful(desk.picture())
    assert f"{desk.session.findings.flagged_ml:.1f} mL" in desk.threshold.volume.text()
    desk.press(FINDING_KEYS["overlay"])
    assert colourful(desk.picture()) < seen
    desk.press(FINDING_KEYS["overlay"])
    return desk.threshold.threshold


def walk_the_findings(desk, results) -> None:
    """One key leads from place to place; one key says what each is."""
    prediction = open_predictions(desk.viewer)[WORST]
    items = desk.session.findings.items
    assert len(items) >= 2
    for item in items[:2]:
        desk.press(FINDING_KEYS["next"])
        assert desk.session.current.rank == item.rank
        at = world_of(item.voxel, prediction.segmentation.shape, prediction.affine)
        assert desk.viewer.dims.point == pytest.approx(at)
    assert desk.threshold.findings.table.currentRow() == 1
    desk.press(FINDING_KEYS["real_error"])
    (record,) = read_log(log_path(results)).records
    assert (record.study, record.reviewer, record.judgement) == (WORST, REVIEWER, Judgement.REAL_ERROR)
    assert record.voxel == items[1].voxel
    assert desk.status_of(WORST) == Status.FLAGGED


def decide(desk, results) -> None:
    """A verdict on this case, and one key to the next, which is accepted."""
    desk.verdict.decision_buttons[Decision.NEEDS_CORRECTION].click()
    desk.verdict.difficulty.setCurrentIndex(desk.verdict.difficulty.findData(4))
    desk.verdict.comment.setPlainText("oedema left out")
    desk.verdict.save()
    assert "Saved: needs correction" in desk.verdict.message.text()
    assert desk.status_of(WORST) == Status.NEEDS_CORRECTION
    desk.browser.step(1)
    desk.ready(SECOND)
    desk.until(lambda: desk.verdict.study_choice.currentText() == SECOND)
    desk.verdict.decision_buttons[Decision.ACCEPT].click()
    desk.verdict.save()
    verdicts = [each for each in latest(read_log(log_path(results)).records) if isinstance(each, StudyVerdict)]
    assert {each.study: (each.decision, each.difficulty, each.comment) for each in verdicts} == {
        WORST: (Decision.NEEDS_CORRECTION, 4, "oedema left out"),
        SECOND: (Decision.ACCEPT, None, ""),
    }
    desk.browser.filter_choice.setCurrentText("Not decided")
    assert sorted(desk.column(STUDY)) == ["patient-1", "patient-4", NOT_YET]
    desk.browser.filter_choice.setCurrentText("All")


def find_everything_again(desk, threshold) -> None:
    """The next morning: the list stands where it stood, and the case as it was left."""
    assert desk.session.reviewer == REVIEWER
    assert desk.browser.table.chosen().id == SECOND
    assert desk.status_of(WORST) == Status.NEEDS_CORRECTION
    assert desk.status_of(SECOND) == Status.ACCEPTED
    assert desk.browser.summary.text() == "5 studies: 3 new, 1 accepted, 1 needs correction"
    desk.browser.open(desk.browser.listed.case(WORST))
    desk.ready(WORST)
    desk.until(lambda: desk.verdict.study_choice.currentText() == WORST)
    assert desk.threshold.choice.map_box.currentText() == "unc_output, unmasked"
    assert desk.threshold.threshold == pytest.approx(threshold, abs=0.005)
    assert Judgement.REAL_ERROR in desk.session.judgements().values()
    assert "needs correction, difficulty 4" in desk.verdict.status.text()


def test_a_day_of_review(qtbot, make_napari_viewer_proxy, press_key, results, studies):
    desk = Desk(qtbot, make_napari_viewer_proxy(show=True), press_key, results, studies)
    desk.verdict.reviewer.setText(REVIEWER)
    desk.verdict.reviewer.editingFinished.emit()
    assert desk.browser.summary.text() == "5 studies: 5 new"
    run_the_one_without_result(desk, results)
    threshold = set_the_threshold(desk)
    walk_the_findings(desk, results)
    decide(desk, results)
    desk.until(lambda: not desk.threshold.searching)
    desk.viewer.close()
    again = Desk(qtbot, make_napari_viewer_proxy(show=True), press_key, results, studies)
    find_everything_again(again, threshold)
    again.until(lambda: not again.threshold.searching)
