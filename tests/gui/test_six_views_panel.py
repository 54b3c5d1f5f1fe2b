"""The panel *Six views* beside the main viewer: both stand at one place, and the window goes with the viewer."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QSettings

from napari_uncseg.review.correction import save_correction
from napari_uncseg.study.save import save_prediction
from napari_uncseg.view.correcting import start_correction
from napari_uncseg.view.layers import add_prediction, add_study
from napari_uncseg.view.navigate import session_of
from napari_uncseg.view.orientation import to_display
from napari_uncseg.view.palette import map_colormap
from napari_uncseg.widgets.six_views import SixViewsWidget

PATIENCE = 60000


@pytest.fixture(autouse=True)
def no_memory():
    """No options of an earlier test."""
    QSettings("napari-uncseg", "napari-uncseg").clear()


@pytest.fixture
def viewer(tiny_study, tiny_prediction):
    """The viewer without its window: the panel asks for no more."""
    viewer = ViewerModel()
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def panel(qtbot, viewer):
    widget = SixViewsWidget(viewer)
    qtbot.addWidget(widget)
    yield widget
    widget.close_window()


def test_it_says_what_is_missing(qtbot, tiny_study):
    viewer = ViewerModel()
    panel = SixViewsWidget(viewer)
    qtbot.addWidget(panel)
    assert panel.hint.isVisibleTo(panel)
    assert not panel.open_button.isEnabled()
    add_study(viewer, tiny_study)
    panel.refresh()
    assert not panel.open_button.isEnabled()
    panel.open_window()
    assert panel.window_shown is None


def test_window_and_viewer_stand_at_one_place(qtbot, viewer, panel):
    panel.open_window()
    window = panel.window_shown
    assert window.canvas.sheet.cut.point == pytest.approx(viewer.dims.point)
    viewer.dims.set_current_step(0, 9)
    assert window.canvas.sheet.views[0].slice_index(window.canvas.sheet.cut) == 9
    window.canvas.scroll_by(3)
    qtbot.waitUntil(lambda: viewer.dims.current_step[0] == 12, timeout=PATIENCE)
    assert window.canvas.sheet.cut.point == pytest.approx(viewer.dims.point)


def test_maps_are_cut_where_the_viewer_cuts_them(panel, viewer):
    panel.open_window()
    canvas = panel.window_shown.canvas
    viewer.layers["unc_output"].colormap = map_colormap("unc_output", 0.5)
    assert canvas.sheet.thresholds["unc_output"] == pytest.approx(0.5, abs=1e-3)
    viewer.layers["entropy (WT)"].contrast_limits = (0.2, 0.69)
    assert canvas.sheet.thresholds[["entropy", "(WT)"][0]] == pytest.approx(0.2 + 0.08 * 0.49, abs=2e-3)


def test_choosers_follow_each_other(panel):
    panel.open_window()
    window = panel.window_shown
    window.choose_plane("coronal")
    assert panel.plane_choice.currentText() == "Coronal"
    panel.plane_choice.setCurrentText("Sagittal")
    assert window.canvas.sheet.cut.plane == "sagittal"
    window.choose_preset("Methods")
    assert panel.preset_choice.currentText() == "Methods"


def test_a_new_run_and_a_correction_reach_the_window(qtbot, viewer, panel, tiny_prediction):
    panel.open_window()
    window = panel.window_shown
    again = dataclasses.replace(tiny_prediction)
    add_prediction(viewer, again)
    qtbot.waitUntil(lambda: window.prediction is again, timeout=PATIENCE)
    start_correction(viewer, again)
    qtbot.waitUntil(lambda: "corrected" in window.material.overlays, timeout=PATIENCE)


def test_a_saved_correction_is_shown_while_none_is_painted(viewer, panel, tmp_path, tiny_prediction):
    corrected = tiny_prediction.segmentation.copy()
    corrected[1, 1, 1] = 2
    save_prediction(tiny_prediction, tmp_path)
    save_correction(tiny_prediction, corrected, tmp_path / tiny_prediction.study_id, reviewer="AB")
    session_of(viewer).open_log(tmp_path)
    panel.open_window()
    overlay = panel.window_shown.material.overlays["corrected"]
    assert np.array_equal(overlay.array, to_display(corrected, tiny_prediction.affine))


def test_findings_are_walked_from_the_window(viewer, panel):
    panel.open_window()
    window, session = panel.window_shown, session_of(viewer)
    steps = []
    session.step = steps.append
    actions = {action.shortcut().toString(): action for action in window.actions()}
    for key in ("N", "Shift+N", "W"):
        actions[key].trigger()
    assert steps == [1, -1]
    assert "No finding is chosen" in window.readout.text()


def test_closing_leaves_nothing(qtbot, viewer, panel):
    panel.open_window()
    window = panel.window_shown
    left = [weakref.ref(window), weakref.ref(window.canvas), weakref.ref(window.material)]
    window.close()
    del window
    assert panel.window_shown is None

    def nothing_is_left():
        gc.collect()
        assert [ref() for ref in left] == [None] * 3

    qtbot.waitUntil(nothing_is_left, timeout=PATIENCE)
    viewer.dims.set_current_step(0, 3)  # nobody listens any more


def test_the_window_goes_with_the_viewer(qtbot, make_napari_viewer_proxy, tiny_study, tiny_prediction):
    viewer = make_napari_viewer_proxy()
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    panel = SixViewsWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Six views")
    panel.open_window()
    gone = weakref.ref(panel.window_shown)
    viewer.close()

    def window_is_gone():
        gc.collect()
        assert gone() is None

    qtbot.waitUntil(window_is_gone, timeout=PATIENCE)
