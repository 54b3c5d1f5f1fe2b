"""The panel *Case browser* and the window *Six patients*."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from tests.gui.closing import close_case

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io.results import load_prediction
from napari_uncseg.review.drafts import drafts_of
from napari_uncseg.review.verdicts import Decision, Status, log_path
from napari_uncseg.review.worklist import list_cases
from napari_uncseg.viewer.corrections import correction_layer, start_correction
from napari_uncseg.viewer.layers import add_prediction
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import to_display
from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.base import PANEL_WIDTH
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.case_browser.table import SCORE, STATUS, STUDY
from napari_uncseg.widgets.compare.patients import PatientsWindow

PATIENCE = 60000
SCORES = {"case-a": 0.1, "case-b": 0.5, "case-c": 0.3}


pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def results(tmp_path, save_result, study_folder):
    """Three results; the images of the first one are where its command says."""
    images = tmp_path / "images" / "case-a"
    images.parent.mkdir()
    study_folder.rename(images)
    for name, score in SCORES.items():
        save_result(name, triage_score=score, command=f"uncseg predict {images.parent} -o {tmp_path / 'results'}")
    return tmp_path / "results"


@pytest.fixture
def panel(qtbot, viewer, results):
    widget = CaseBrowserWidget(viewer)
    qtbot.addWidget(widget)
    widget.show_folders(results)
    yield widget
    widget.close_patients()


@pytest.fixture
def browsing(qtbot, panel):
    """The panel with the first case of its list open."""
    panel.open_chosen()
    opened(qtbot, panel, "case-b")
    return panel


def column(panel, number):
    table = panel.table
    return [table.item(row, number).text() for row in range(table.rowCount()) if not table.isRowHidden(row)]


def opened(qtbot, panel, study_id):
    qtbot.waitUntil(lambda: panel.shown == study_id, timeout=PATIENCE)


def test_it_says_what_to_do_and_what_is_wrong(qtbot, viewer, tmp_path):
    panel = CaseBrowserWidget(viewer)
    qtbot.addWidget(panel)
    assert panel.hint.isVisibleTo(panel)
    assert not panel.next_button.isVisibleTo(panel)
    panel.show_folders(tmp_path / "nowhere")
    assert panel.failure.code == StudyError.code
    panel.step(1)
    assert panel.shown == ""


def test_the_list_begins_with_what_needs_eyes(panel):
    assert column(panel, STUDY) == ["case-b", "case-c", "case-a"]
    assert column(panel, STATUS) == ["new"] * 3
    assert column(panel, SCORE) == ["0.500", "0.300", "0.100"]
    assert panel.summary.text() == "3 studies: 3 new"
    panel.table.sortByColumn(STUDY, Qt.SortOrder.AscendingOrder)
    assert column(panel, STUDY) == ["case-a", "case-b", "case-c"]
    panel.table.sortByColumn(SCORE, Qt.SortOrder.AscendingOrder)
    assert column(panel, STUDY) == ["case-a", "case-c", "case-b"]


def test_expected_dice_takes_the_place_of_doubt(panel, results, save_result):
    for name, value in {"case-x": 0.9, "case-y": 0.45}.items():
        regions = {region: {"value": value, "low": 0.2, "high": 0.95} for region in ("WT", "TC", "ET")}
        reasons = [{"code": "low_expected_dice", "text": "It is low."}] if value < 0.5 else []
        save_result(name, expected_dice=regions, needs_review=reasons)
    panel.show_folders(results)
    shown = dict(zip(column(panel, STUDY), column(panel, SCORE), strict=True))
    assert list(shown)[:2] == ["case-y", "case-x"]
    assert (shown["case-y"], shown["case-x"], shown["case-a"]) == ("0.45", "0.90", "–")
    assert "Dice" in panel.table.horizontalHeaderItem(SCORE).text()
    poor, good = (panel.table.item(row, SCORE) for row in (0, 1))
    assert "It is low." in poor.toolTip()
    assert poor.foreground() != good.foreground()


def test_one_key_leads_from_case_to_case(qtbot, browsing, viewer):
    assert list(open_predictions(viewer)) == ["case-b"]
    assert "case-b" in browsing.notes.text()
    for key in browsing.findChildren(QShortcut)[:1] * 2:
        key.activated.emit()
        qtbot.waitUntil(lambda: not browsing._wanted, timeout=PATIENCE)
    assert browsing.shown == "case-a"
    assert list(open_predictions(viewer)) == list(open_studies(viewer)) == ["case-a"]
    browsing.step(1)
    assert browsing.notes.isVisibleTo(browsing)
    browsing.step(-1)
    opened(qtbot, browsing, "case-c")
    assert list(open_predictions(viewer)) == ["case-c"]
    assert not open_studies(viewer)


def test_verdicts_change_status_filter_and_order(qtbot, panel, viewer):
    session = session_of(viewer)
    session.reviewer = "AB"
    session.look_at("case-b")
    session.decide(Decision.ACCEPT)
    assert column(panel, STUDY) == ["case-c", "case-a", "case-b"]
    assert column(panel, STATUS) == ["new", "new", "accepted"]
    assert panel.summary.text() == "3 studies: 2 new, 1 accepted"
    panel.filter_choice.setCurrentText("Not decided")
    assert column(panel, STUDY) == ["case-c", "case-a"]
    panel.filter_choice.setCurrentText(str(Status.ACCEPTED))
    assert column(panel, STUDY) == ["case-b"]


def test_after_a_verdict_the_next_case_is_the_one_that_came_next(qtbot, browsing, viewer):
    session = session_of(viewer)
    session.reviewer = "R1"
    for decision in (Decision.REJECT, Decision.ACCEPT):  # who thinks again still stands where they stood
        session.decide(decision)
        assert column(browsing, STUDY) == ["case-c", "case-a", "case-b"]
    browsing.step(-1)
    assert browsing.notes.isVisibleTo(browsing)
    browsing.step(1)
    opened(qtbot, browsing, "case-c")
    session.decide(Decision.ACCEPT)
    assert column(browsing, STUDY) == ["case-a", "case-b", "case-c"]
    browsing.step(1)
    opened(qtbot, browsing, "case-a")


def test_the_case_on_show_is_the_one_under_review(qtbot, panel, viewer, tiny_prediction):
    add_prediction(viewer, dataclasses.replace(tiny_prediction, study_id="another"))
    session_of(viewer).look_at("another")
    panel.open_chosen()
    opened(qtbot, panel, "case-b")
    assert session_of(viewer).study == "case-b"


def test_verdicts_stay_with_the_folder_that_the_open_case_came_from(qtbot, browsing, viewer, results, tmp_path):
    session = session_of(viewer)
    session.reviewer = "R1"
    other = shutil.copytree(results, tmp_path / "other")
    browsing.show_folders(other)
    session.decide(Decision.ACCEPT)
    assert log_path(results).is_file()
    assert not log_path(other).exists()
    assert column(browsing, STATUS) == ["new"] * 3
    browsing.open(browsing.listed.case("case-b"))
    qtbot.waitUntil(lambda: session.results == other, timeout=PATIENCE)
    assert session.verdict() is None


def test_the_next_panel_knows_what_is_open_and_what_is_unsaved(qtbot, browsing, viewer, results):
    browsing.setParent(None)
    again = CaseBrowserWidget(viewer)
    qtbot.addWidget(again)
    assert again.results.path == results  # where the reviewer stopped
    assert again.shown == "case-b"
    painted = start_correction(viewer, open_predictions(viewer)["case-b"])
    painted.data = np.where(np.asarray(painted.data) > 0, 2, 1).astype(np.uint8)
    left = np.array(painted.data)
    again.step(1)
    opened(qtbot, again, "case-c")
    assert list(open_predictions(viewer)) == ["case-c"]
    prediction = load_prediction(results / "case-b")
    (draft,) = drafts_of(results / "case-b", prediction)
    assert (to_display(draft.labels, prediction.affine) == left).all()


def test_the_last_list_is_there_at_the_next_start(qtbot, browsing, results):
    later = CaseBrowserWidget(ViewerModel())
    qtbot.addWidget(later)
    assert later.results.path == results
    assert later.table.chosen().id == "case-b"
    assert later.shown == ""
    shutil.rmtree(results)
    without = CaseBrowserWidget(ViewerModel())
    qtbot.addWidget(without)
    assert without.results.path is None
    assert without.hint.isVisibleTo(without)


def test_one_result_by_itself_keeps_its_log_with_the_others(qtbot, panel, viewer, results):
    panel.show_folders(results / "case-a")
    panel.open_chosen()
    opened(qtbot, panel, "case-a")
    assert session_of(viewer).results == results


def test_a_correction_outlives_its_result(browsing, viewer, results):
    painted = start_correction(viewer, open_predictions(viewer)["case-b"])
    painted.data = np.where(np.asarray(painted.data) > 0, 2, 1).astype(np.uint8)
    for layer, _ in tagged(viewer, "case-b"):
        viewer.layers.remove(layer)
    browsing.step(1)
    assert browsing.failure.isVisibleTo(browsing)
    again = load_prediction(results / "case-b")
    add_prediction(viewer, again)
    assert correction_layer(viewer, again) is painted
    assert correction_layer(viewer, dataclasses.replace(again, affine=again.affine + np.eye(4))) is None
    close_case(viewer, "case-b")
    assert painted not in viewer.layers


def test_an_unsaved_correction_of_which_no_draft_can_be_kept_is_not_left(qtbot, browsing, viewer, monkeypatch):
    painted = start_correction(viewer, open_predictions(viewer)["case-b"])
    painted.data = np.where(np.asarray(painted.data) > 0, 2, 1).astype(np.uint8)

    def refuse(*_told):
        raise SaveError("the disk is full")

    monkeypatch.setattr("napari_uncseg.viewer.corrections.write_draft", refuse)
    browsing.step(1)
    assert browsing.failure.isVisibleTo(browsing)
    assert "the disk is full" in browsing.failure.text()
    assert browsing.shown == "case-b"
    viewer.layers.remove(painted)
    browsing.step(1)
    opened(qtbot, browsing, "case-c")


def test_a_settings_folder_that_is_read_only_is_told_as_that(qtbot, browsing, monkeypatch):
    def refuse(*_told):
        raise SaveError("the disk is read-only")

    monkeypatch.setattr("napari_uncseg.widgets.case_browser.panel.remember_case", refuse)
    browsing.step(1)
    opened(qtbot, browsing, "case-c")
    assert "the list is not remembered: the disk is read-only" in browsing.notes.text()


def test_a_damaged_case_is_told_and_leaves_what_is_open(qtbot, browsing, viewer, results):
    (results / "case-c" / "case-c_entropy.nii.gz").write_bytes(b"")
    browsing.step(1)
    qtbot.waitUntil(lambda: browsing.failure.isVisibleTo(browsing), timeout=PATIENCE)
    assert "case-c_entropy" in browsing.failure.text()
    assert browsing.shown == "case-b"
    assert list(open_predictions(viewer)) == ["case-b"]


@pytest.fixture
def patients(qtbot, results):
    window = PatientsWindow(list_cases(results).cases)
    window.resize(1000, 700)
    window.show()
    qtbot.waitUntil(lambda: bool(window.canvas.state.views), timeout=PATIENCE)
    yield window
    window.close()


def test_patients_stand_side_by_side_each_at_its_own_slice(patients):
    views = patients.canvas.state.views
    assert [view.heading.split(" · ")[0] for view in views] == ["case-b", "case-c", "case-a"]
    assert "doubt 0.500" in views[0].title
    for view in views[:3]:
        assert view.origin == view.data.best_point
        assert view.pane.overlay == "unc_output"
    # Images are read where they were found, and only the one that is shown.
    assert [list(view.data.images) for view in views[:3]] == [[], [], ["t1c"]]
    assert set(views[2].data.overlays) == {"segmentation", "unc_output"}


def test_another_map_keeps_a_patients_own_slice(qtbot, patients):
    patients.canvas.show_state(patients.canvas.state.scrolled(4, alone=1))
    origin = patients.canvas.state.views[1].origin
    assert origin != patients.canvas.state.views[1].data.best_point
    patients.map_choice.setCurrentIndex(patients.map_choice.findData("entropy"))
    patients.map_choice.activated.emit(patients.map_choice.currentIndex())
    qtbot.waitUntil(lambda: patients.canvas.state.views[0].pane.overlay == "entropy", timeout=PATIENCE)
    assert patients.canvas.state.views[1].origin == origin
    assert "entropy" in patients.canvas.state.views[1].title


def test_pages_of_six(qtbot, results, save_result):
    for number in range(5):
        save_result(f"more-{number}")
    window = PatientsWindow(list_cases(results).cases)
    qtbot.addWidget(window)
    assert len(window.cases_shown) == 6
    window.turn_page(1)
    assert len(window.cases_shown) == 2
    assert window.pages.text().strip() == "7 to 8 of 8"
    window.turn_page(1)
    assert len(window.cases_shown) == 2
    qtbot.waitUntil(lambda: bool(window.canvas.state.views), timeout=PATIENCE)
    assert [view.data is None for view in window.canvas.state.views] == [False] * 2 + [True]


def test_a_damaged_patient_does_not_hide_the_others(qtbot, results):
    (results / "case-c" / "case-c_seg.nii.gz").write_bytes(b"")
    window = PatientsWindow(list_cases(results).cases)
    qtbot.addWidget(window)
    qtbot.waitUntil(lambda: bool(window.canvas.state.views), timeout=PATIENCE)
    views = window.canvas.state.views
    assert "case-c_seg" in views[1].pane.missing
    assert views[0].data is not None


def test_the_panel_compares_what_is_chosen(qtbot, panel):
    panel.table.selectAll()
    panel.compare_patients()
    window = panel.patients_window
    qtbot.waitUntil(lambda: bool(window.canvas.state.views), timeout=PATIENCE)
    assert [case.id for case in window.cases_shown] == ["case-b", "case-c", "case-a"]
    window.close()
    assert panel.patients_window is None


def test_a_review_needs_no_torch(results):
    code = f"""
import sys; sys.modules["torch"] = None
from pathlib import Path
import napari
from qtpy.QtWidgets import QApplication
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget
from napari_uncseg.widgets.compare.panel import SixViewsWidget
from napari_uncseg.viewer.tags import open_predictions
viewer = napari.Viewer(show=False)
panel = CaseBrowserWidget(viewer)
viewer.window.add_dock_widget(panel, name="Case browser")
panel.show_folders(Path({str(results)!r}))
panel.open(panel.listed.case("case-a"))
while panel.shown != "case-a":
    QApplication.processEvents()
    assert not panel.failure.isVisibleTo(panel), panel.failure.text()
assert list(open_predictions(viewer)) == ["case-a"]
six = SixViewsWidget(viewer)
viewer.window.add_dock_widget(six, name="Six views")
six.open_window()
assert len(six.window_shown.panes) == 6
six.close_window()
viewer.close()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr


def test_the_columns_fit_a_default_dock(qtbot, panel, save_result):
    """No scroll bar at the width of a dock, with the longest names of BraTS; all columns where there is room."""
    for name in ("BraTS-GLI-01484-000", "BraTS-GLI-01485-100"):
        save_result(name)
    panel.refresh()
    panel.resize(PANEL_WIDTH, 700)
    panel.show()
    qtbot.waitExposed(panel)
    view = panel.table
    shown = [number for number in range(6) if not view.isColumnHidden(number)]
    assert shown == [STUDY, STATUS, SCORE]
    assert view.horizontalScrollBar().maximum() == 0
    assert view.columnWidth(STUDY) >= view.fontMetrics().horizontalAdvance("BraTS-GLI-01484-000")
    assert "WT 1" in view.item(0, STUDY).toolTip()
    panel.resize(640, 700)
    assert not any(view.isColumnHidden(number) for number in range(6))
    assert view.horizontalScrollBar().maximum() == 0
