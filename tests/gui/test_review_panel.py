"""The panel *Review*: a list of results without the mouse, in a small window that does not grow."""

import numpy as np
import pytest

from napari_uncseg.io.results import load_prediction
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.review.verdicts import Decision, Judgement, log_path, read_log
from napari_uncseg.viewer.bindings import FINDING_KEYS, VERDICT_KEYS
from napari_uncseg.viewer.corrections import start_correction
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.case_browser.table import differing_names
from napari_uncseg.widgets.review.panel import ReviewWidget

PATIENCE = 120000
SMALL = (1280, 720)
SCORES = {"case-a": 0.1, "case-b": 0.5, "case-c": 0.3}

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def results(save_result):
    """Three results without their images."""
    *_, folder = (save_result(name, triage_score=score) for name, score in SCORES.items())
    return folder


def test_a_list_by_keys_alone(qtbot, make_napari_viewer_proxy, press_key, results, monkeypatch, asked):
    """The name is asked once, refusals are told over the picture, a verdict opens what comes next."""
    told = []
    for module in ("common", "verdict.panel", "case_browser.panel"):
        for name in ("show_warning", "show_info"):
            monkeypatch.setattr(f"napari_uncseg.widgets.{module}.{name}", told.append, raising=False)
    viewer = make_napari_viewer_proxy(show=True)
    window = viewer.__wrapped__.window._qt_window
    window.resize(*SMALL)
    panel, session = ReviewWidget(viewer), session_of(viewer)
    viewer.window.add_dock_widget(panel, name="Review", area="right")
    panel.cases.show_folders(results)
    panel.cases.open_chosen()

    def ready(study_id):
        qtbot.waitUntil(lambda: session.study == study_id and session.findings is not None, timeout=PATIENCE)

    ready("case-b")
    assert (window.width(), window.height()) == SMALL
    assert panel.findings.findings.study.text() == "case-b"
    for part in (panel.findings.findings.table, *panel.verdict.decision_buttons.values()):
        assert not part.visibleRegion().isEmpty(), "it is seen without scrolling"
    press_key(viewer, FINDING_KEYS["next"])
    press_key(viewer, FINDING_KEYS["real_error"])
    (record,) = read_log(log_path(results)).records
    assert (record.study, record.reviewer, record.judgement) == ("case-b", "R1", Judgement.REAL_ERROR)
    press_key(viewer, VERDICT_KEYS["accept"])
    ready("case-c")
    assert read_log(log_path(results)).records[-1].decision is Decision.ACCEPT
    assert list(open_predictions(viewer)) == ["case-c"]
    assert any("case-b" in each for each in told), "the verdict is told over the next picture"
    painted = start_correction(viewer, open_predictions(viewer)["case-c"])
    painted.data = np.where(np.asarray(painted.data) > 0, 2, 1).astype(np.uint8)
    told.clear()
    press_key(viewer, VERDICT_KEYS["needs_correction"])
    ready("case-a")
    (corrected,) = corrections_in(results / "case-c", "case-c")
    assert sorted(set(load_correction(corrected, load_prediction(results / "case-c")).ravel())) == [1, 2]
    assert any("case-c" in each and "correction is saved" in each for each in told)
    press_key(viewer, VERDICT_KEYS["reject"])
    assert "Every study" in told[-1]
    last = {each.study: each.decision for each in read_log(log_path(results)).records if hasattr(each, "decision")}
    assert last == {"case-a": Decision.REJECT, "case-b": Decision.ACCEPT, "case-c": Decision.NEEDS_CORRECTION}
    assert len(asked) == 1
    panel.cases.search.setText("-B")
    assert [case.id for case in panel.cases.table.cases()] == ["case-b"]


def test_long_names_keep_what_tells_them_apart():
    names = [f"CPTAC-GBM-{number:05}_resampled_brain_v3" for number in (12, 345)]
    assert differing_names(names) == ["…00012…", "…00345…"]
    assert differing_names(["a", "ab"]) == ["a", "ab"]
    assert differing_names(names[:1]) == names[:1]
