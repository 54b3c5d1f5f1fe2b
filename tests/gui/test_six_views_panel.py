"""The panel *Six views* beside the main viewer: both stand at one place, and the window goes with the viewer."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.settings import get_settings
from tests.gui.closing import close_case

from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.maps import MapName
from napari_uncseg.review.corrections import save_correction
from napari_uncseg.review.findings import find
from napari_uncseg.review.verdicts import Judgement, log_path, read_log
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.viewer.colormaps import map_colormap
from napari_uncseg.viewer.corrections import start_correction
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import to_display
from napari_uncseg.widgets.common import is_dark
from napari_uncseg.widgets.compare.panel import SixViewsWidget
from napari_uncseg.widgets.compare.six_views import SixViewsWindow

PATIENCE = 60000


pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def viewer(viewer, tiny_study, tiny_prediction):
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
    assert window.canvas.state.cut.point == pytest.approx(viewer.dims.point)
    viewer.dims.set_current_step(0, 9)
    assert window.canvas.state.views[0].slice_index(window.canvas.state.cut) == 9
    window.canvas.scroll_by(3)
    qtbot.waitUntil(lambda: viewer.dims.current_step[0] == 12, timeout=PATIENCE)
    assert window.canvas.state.cut.point == pytest.approx(viewer.dims.point)


def test_maps_are_cut_where_the_viewer_cuts_them(panel, viewer):
    panel.open_window()
    canvas = panel.window_shown.canvas
    viewer.layers["unc_output"].colormap = map_colormap("unc_output", 0.5)
    assert canvas.state.thresholds["unc_output"] == pytest.approx(0.5, abs=1e-3)
    viewer.layers["entropy (WT)"].contrast_limits = (0.2, 0.69)
    assert canvas.state.thresholds[["entropy", "(WT)"][0]] == pytest.approx(0.2 + 0.08 * 0.49, abs=2e-3)


def test_a_new_run_and_a_correction_reach_the_window(qtbot, viewer, panel, tiny_prediction):
    panel.open_window()
    window = panel.window_shown
    again = dataclasses.replace(tiny_prediction)
    add_prediction(viewer, again)
    qtbot.waitUntil(lambda: window.prediction is again, timeout=PATIENCE)
    start_correction(viewer, again)
    qtbot.waitUntil(lambda: "corrected" in window.data.overlays, timeout=PATIENCE)


def test_a_saved_correction_is_shown_while_none_is_painted(viewer, panel, tmp_path, tiny_prediction):
    corrected = tiny_prediction.segmentation.copy()
    corrected[1, 1, 1] = 2
    save_prediction(tiny_prediction, tmp_path)
    save_correction(tiny_prediction, corrected, tmp_path / tiny_prediction.study_id, reviewer="AB")
    session_of(viewer).open_log(tmp_path)
    panel.open_window()
    overlay = panel.window_shown.data.overlays["corrected"]
    assert np.array_equal(overlay.array, to_display(corrected, tiny_prediction.affine))


@pytest.fixture
def reviewed(viewer, tiny_prediction, tmp_path):
    """The session, with findings of the study and a log that verdicts go to."""
    session = session_of(viewer)
    session.reviewer = "R1"
    session.open_log(tmp_path)
    session.look_at(tiny_prediction.study_id, fingerprint(tiny_prediction.provenance))
    session.present(find(build_watershed(tiny_prediction, MapName("unc_output")), 0.3))
    return session


def press(window, *keys):
    """Do what keys of the window do; a display without window manager makes no window active."""
    actions = {action.shortcut().toString(): action for action in window.actions()}
    for key in keys:
        actions[key].trigger()


def open_instead(viewer, study, prediction, study_id):
    """Take the study out of the viewer, and open another one there, as the case browser does."""
    close_case(viewer, study.id)
    other = dataclasses.replace(study, id=study_id, images=study.images[::-1].copy())
    add_study(viewer, other)
    provenance = {**prediction.provenance, "study": study_id}
    add_prediction(viewer, dataclasses.replace(prediction, study_id=study_id, provenance=provenance))
    return other


def test_findings_are_walked_and_judged_from_the_window(panel, reviewed, tmp_path, tiny_study):
    panel.open_window()
    window = panel.window_shown
    press(window, "W")
    assert "No finding is chosen" in window.readout.text()
    press(window, "N")
    assert reviewed.current.rank == 1
    press(window, "W")
    assert window.readout.text() == f"{tiny_study.id}, finding 1: real error"
    (record,) = read_log(log_path(tmp_path)).records
    assert (record.study, record.judgement) == (tiny_study.id, Judgement.REAL_ERROR)


def test_without_findings_a_step_says_so(panel, reviewed, tiny_study):
    reviewed.present(None)
    panel.open_window()
    press(panel.window_shown, "N")
    assert f"no findings of {tiny_study.id}" in panel.window_shown.readout.text()


@pytest.mark.parametrize("reviewed_now", ["another-study", ""])
def test_findings_of_another_study_are_neither_walked_nor_judged(panel, reviewed, tmp_path, tiny_study, reviewed_now):
    panel.open_window()
    window, findings = panel.window_shown, reviewed.findings
    reviewed.look_at(reviewed_now)
    reviewed.present(findings)
    reviewed.go_to(findings.items[0])
    for key in ("W", "G", "U", "N", "Shift+N"):
        window.show_message("")
        press(window, key)
        assert tiny_study.id in window.readout.text()
        assert reviewed_now in window.readout.text()
        assert reviewed.current is findings.items[0]
    assert not log_path(tmp_path).exists()


def test_findings_of_another_result_are_not_judged_either(panel, reviewed, tmp_path, tiny_study):
    panel.open_window()
    window, findings = panel.window_shown, reviewed.findings
    reviewed.look_at(tiny_study.id, "e" * 64)
    reviewed.present(findings)
    reviewed.go_to(findings.items[0])
    press(window, "W")
    assert window.readout.text().startswith(f"Another result of {tiny_study.id} is under review")
    assert not log_path(tmp_path).exists()


def test_the_window_shows_the_study_that_is_opened_instead(
    qtbot, viewer, panel, reviewed, tmp_path, tiny_study, tiny_prediction
):
    panel.open_window()
    window = panel.window_shown
    window.canvas.zoom(3)
    before = window.canvas.state.views[0].data.images["t1c"]
    other = open_instead(viewer, tiny_study, tiny_prediction, "another-study")
    qtbot.waitUntil(lambda: window.study is other, timeout=PATIENCE)
    assert panel.window_shown is window
    assert "another-study" in window.windowTitle()
    assert "another-study" in window.readout.text()
    assert panel.study_choice.currentText() == "another-study"
    cut = window.canvas.state.cut
    assert cut.point == pytest.approx(viewer.dims.point)
    assert (cut.zoom, cut.shift) == (1.0, (0.0, 0.0, 0.0))
    assert not np.array_equal(window.canvas.state.views[0].data.images["t1c"], before)
    # The session still holds the findings of the study before: none of them is judged for this one.
    press(window, "N", "W")
    assert "nothing was done" in window.readout.text()
    assert not log_path(tmp_path).exists()
    viewer.dims.set_current_step(0, 7)
    assert window.canvas.state.views[0].slice_index(window.canvas.state.cut) == 7


def test_of_several_studies_the_one_under_review_takes_the_window(viewer, panel, reviewed, tiny_study, tiny_prediction):
    panel.open_window()
    for study_id in ("one", "two"):
        open_instead(viewer, tiny_study, tiny_prediction, study_id)
    reviewed.look_at("one")
    panel.refresh()
    assert panel.window_shown.study.id == "one"


def test_the_window_closes_with_the_last_study_it_could_show(qtbot, viewer, panel, tiny_study):
    panel.open_window()
    close_case(viewer, tiny_study.id)
    add_study(viewer, dataclasses.replace(tiny_study, id="without-a-result"))
    qtbot.waitUntil(lambda: panel.window_shown is None, timeout=PATIENCE)
    assert panel.hint.isVisibleTo(panel)


def test_closing_leaves_nothing(qtbot, viewer, panel):
    panel.open_window()
    window = panel.window_shown
    left = [weakref.ref(window), weakref.ref(window.canvas), weakref.ref(window.data)]
    window.close()
    del window
    assert panel.window_shown is None

    def nothing_is_left():
        gc.collect()
        assert [ref() for ref in left] == [None] * 3

    qtbot.waitUntil(nothing_is_left, timeout=PATIENCE)
    viewer.dims.set_current_step(0, 3)  # nobody listens any more


def test_the_window_has_the_colours_and_letters_of_the_viewer(
    qtbot, make_napari_viewer_proxy, tiny_study, tiny_prediction
):
    viewer = make_napari_viewer_proxy()
    viewer.theme = "dark"
    window = SixViewsWindow(tiny_study, tiny_prediction)
    qtbot.addWidget(window)
    window.show()
    assert is_dark(window.readout)
    viewer.theme = "light"
    assert not is_dark(window.readout)
    letters, appearance = window.canvas.style_now.text, get_settings().appearance
    size = appearance.font_size
    appearance.font_size = 2 * size
    assert window.canvas.style_now.text == pytest.approx(2 * letters, abs=1)
    appearance.font_size = size
    window.close()
    viewer.theme = "dark"  # nobody listens any more
    viewer.close()


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
