"""After *next study*, by its key, all that is seen is of the new patient; blind, nothing of the truth is."""

import dataclasses

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication
from tests.conftest import write_study
from tests.gui.conftest import inputs_of

from napari_uncseg.viewer.bindings import PICTURE_KEYS, WORKLIST_KEYS
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.outlines import OUTLINES
from napari_uncseg.viewer.picture import TITLE
from napari_uncseg.viewer.tags import open_predictions, open_studies, tagged
from napari_uncseg.widgets.compare.planes import PlanesView
from napari_uncseg.widgets.drop import DropFilter, qt_viewer_of
from napari_uncseg.widgets.review.panel import ReviewWidget

PATIENCE = 120000
FIRST, SECOND = "patient-1", "patient-2"

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def results(tmp_path, tiny_study, tiny_prediction, save_result):
    """Two patients with images; of the second they are twice as bright, and the tumour lies elsewhere."""
    for name, factor, score, shift in ((FIRST, 1, 0.5, 0), (SECOND, 2, 0.1, 5)):
        study = dataclasses.replace(tiny_study, id=name, images=factor * tiny_study.images)
        folder = write_study(study, tmp_path / "studies")
        labels = np.roll(tiny_prediction.segmentation, shift, axis=1)
        save_result(name, labels, triage_score=score, inputs=inputs_of(folder))
    return tmp_path / "results"


@pytest.fixture
def desk(qtbot, make_napari_viewer_proxy, results):
    """A window with the panel *Review*, the first patient open."""
    viewer = make_napari_viewer_proxy(show=True)
    QApplication.setActiveWindow(viewer.__wrapped__.window._qt_window)  # a screen of tests has no window manager
    panel = ReviewWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Review", area="right")
    panel.cases.show_folders(results, results.parent / "studies")
    panel.cases.open_chosen()
    wait_for(qtbot, viewer, panel, FIRST)
    yield viewer, panel
    qtbot.waitUntil(lambda: not panel.cases.reading_ahead and not panel.findings.searching, timeout=PATIENCE)


def wait_for(qtbot, viewer, panel, study_id):
    session = session_of(viewer)
    qtbot.waitUntil(
        lambda: session.study == study_id and session.findings is not None and not panel.cases.reading, timeout=PATIENCE
    )


def test_next_case_by_key_shows_the_new_patient_everywhere(qtbot, desk, press_key):
    viewer, panel = desk
    window = viewer.__wrapped__.window._qt_window
    drawn, bright = viewer.scene.overlays[OUTLINES].lines, viewer.layers["FLAIR (T2f)"].data.max()
    press_key(viewer, PICTURE_KEYS["planes"])
    planes = qt_viewer_of(viewer).canvas.native.findChild(PlanesView)
    qtbot.waitUntil(lambda: planes.isVisible() and FIRST in planes.name.text(), timeout=PATIENCE)
    before = planes.canvas.grab().toImage()
    qtbot.keyClick(planes.canvas, Qt.Key.Key_PageDown, Qt.KeyboardModifier.ControlModifier)
    wait_for(qtbot, viewer, panel, SECOND)
    assert viewer.canvas.overlays[TITLE].text.splitlines()[0] == SECOND
    assert window.windowTitle().startswith(SECOND)
    assert panel.findings.findings.study.text() == SECOND
    assert panel.verdict.status.text().startswith(SECOND)
    qtbot.waitUntil(lambda: SECOND in planes.name.text(), timeout=PATIENCE)
    assert {view.data.study_id for view in planes.canvas.state.views} == {SECOND}
    assert planes.canvas.grab().toImage() != before
    assert {tag.study_id for _, tag in tagged(viewer)} == {SECOND}
    assert viewer.layers["FLAIR (T2f)"].data.max() == pytest.approx(2 * bright)
    shown = open_predictions(viewer)[SECOND]
    assert np.count_nonzero(viewer.layers["Segmentation"].data) == np.count_nonzero(shown.segmentation)
    assert viewer.scene.overlays[OUTLINES].lines != drawn
    press_key(viewer, PICTURE_KEYS["planes"])
    press_key(viewer, WORKLIST_KEYS["previous_study"])
    wait_for(qtbot, viewer, panel, FIRST)
    assert viewer.canvas.overlays[TITLE].text.splitlines()[0] == FIRST


def test_the_map_that_was_chosen_is_kept_for_the_next_case_and_each_case_keeps_its_own(qtbot, desk):
    viewer, panel = desk
    box = panel.findings.choice.map_box
    box.setCurrentText("entropy (WT)")
    panel.cases.step(1)
    wait_for(qtbot, viewer, panel, SECOND)
    assert box.currentText() == "entropy (WT)", "the same as before"
    box.setCurrentText("unc_output, unmasked")
    panel.cases.step(-1)
    wait_for(qtbot, viewer, panel, FIRST)
    assert box.currentText() == "entropy (WT)", "the one that was chosen here"


def test_blind_nothing_of_the_truth_is_seen(qtbot, desk):
    viewer, panel = desk
    assert open_studies(viewer)[FIRST].reference is not None
    assert not panel.findings.against.isHidden()
    panel.cases.blind.click()
    qtbot.waitUntil(lambda: open_studies(viewer)[FIRST].reference is None, timeout=PATIENCE)
    wait_for(qtbot, viewer, panel, FIRST)
    assert not {"Reference", "error (WT)"} & {layer.name for layer in viewer.layers}
    assert panel.findings.against.isHidden()
    assert panel.findings.curve.isHidden()
    box = panel.findings.choice.map_box
    assert not any("error (" in box.itemText(row) for row in range(box.count()))
    panel.cases.step(1)
    wait_for(qtbot, viewer, panel, SECOND)
    assert open_studies(viewer)[SECOND].reference is None
    panel.cases.blind.click()
    qtbot.waitUntil(lambda: open_studies(viewer)[SECOND].reference is not None, timeout=PATIENCE)
    wait_for(qtbot, viewer, panel, SECOND)
    assert not viewer.layers["Reference"].visible


def drop(viewer, path):
    """Drop a file or folder on the picture, as Qt's drag manager tells of it; returns whether the plugin took it."""
    data, view = QMimeData(), qt_viewer_of(viewer)
    data.setUrls([QUrl.fromLocalFile(str(path))])
    none = Qt.KeyboardModifier.NoModifier
    event = QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, none)
    return view.findChild(DropFilter).eventFilter(view, event)


def test_a_folder_that_is_dropped_is_opened_without_a_question(qtbot, desk, results, tmp_path, monkeypatch):
    viewer, _ = desk
    told = []
    monkeypatch.setattr("napari_uncseg.widgets.drop.show_warning", told.append)
    assert drop(viewer, results.parent / "studies" / SECOND)
    qtbot.waitUntil(lambda: list(open_studies(viewer)) == [SECOND], timeout=PATIENCE)
    assert drop(viewer, results / SECOND)
    qtbot.waitUntil(lambda: SECOND in open_predictions(viewer), timeout=PATIENCE)
    assert told == []
    assert drop(viewer, results.parent / "studies")
    assert len(told) == 1, "it holds two studies"
    other = tmp_path / "store.zarr"
    other.mkdir()
    assert not drop(viewer, other), "what others may read is left to napari"
