"""Correcting by finding, tissue, growth and between slices; drafts; what is told where the eyes are."""

import dataclasses
from weakref import WeakMethod

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QApplication

from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Label, Region, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.review.corrections import corrections_in, load_correction, save_correction
from napari_uncseg.review.drafts import drafts_of
from napari_uncseg.review.findings import find
from napari_uncseg.review.watershed import build_watershed
from napari_uncseg.viewer.bindings import CORRECTION_KEYS, show_modality
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.edits import ClickTool
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import world_of
from napari_uncseg.viewer.picture import UNSAVED
from napari_uncseg.widgets.drop import qt_viewer_of
from napari_uncseg.widgets.verdict.panel import VerdictWidget

PATIENCE = 120000

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def results(tmp_path, tiny_prediction):
    save_prediction(tiny_prediction, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def viewer(viewer, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def open_panel(viewer, dock, results, tiny_prediction, tiny_study):
    """The panel Verdict with the findings of a result, as often as it is asked for."""

    def made():
        panel = dock(VerdictWidget(viewer))
        session = session_of(viewer)
        session.open_log(results)
        session.present(find(build_watershed(tiny_prediction, MapName("unc_output"), tiny_study.brain), 0.05))
        panel.refresh()
        return panel

    return made


@pytest.fixture
def panel(open_panel):
    return open_panel()


def painted(viewer, prediction):
    return corrected_labels(correction_layer(viewer, prediction), prediction)


def mask_of(session, finding, shape):
    box, inside = session.findings.mask(finding)
    mask = np.zeros(shape, dtype=bool)
    mask[box] = inside
    return mask


@pytest.mark.parametrize("region", Region)
def test_a_finding_is_added_and_removed_in_one_step(viewer, panel, tiny_prediction, region):
    session, tools = session_of(viewer), panel.correction.tools
    finding = session.findings.items[0]
    session.go_to(finding)
    tools.follow_region(region)
    assert tools.region_choice.currentText() == region
    tools.add_button.click()
    inside = mask_of(session, finding, tiny_prediction.shape)
    number, before = list(Region).index(region), region_masks(tiny_prediction.segmentation)
    after = region_masks(painted(viewer, tiny_prediction))
    assert (after[number] == (before[number] | inside)).all()
    layer = correction_layer(viewer, tiny_prediction)
    tools.remove_button.click()
    assert not region_masks(painted(viewer, tiny_prediction))[number][inside].any()
    layer.undo()
    assert (region_masks(painted(viewer, tiny_prediction)) == after).all()
    layer.undo()
    assert (painted(viewer, tiny_prediction) == tiny_prediction.segmentation).all()


def test_the_region_is_that_of_the_finding_and_without_one_it_is_said(viewer, panel, tiny_prediction):
    panel.correction.tools.add_button.click()
    assert "No finding" in panel.correction.message.text()
    assert correction_layer(viewer, tiny_prediction) is None
    session = session_of(viewer)
    session.go_to(dataclasses.replace(session.findings.items[0], region=Region.ET))
    assert panel.correction.tools.region is Region.ET


def test_keys_correct_and_undo_whatever_layer_is_active(viewer, panel, press_key, tiny_prediction):
    session = session_of(viewer)
    session.go_to(session.findings.items[0])
    inside = mask_of(session, session.current, tiny_prediction.shape)
    for key, kept in ((CORRECTION_KEYS["remove"], False), (CORRECTION_KEYS["add"], True)):
        press_key(viewer, key)
        assert ((painted(viewer, tiny_prediction) > 0)[inside] == kept).all()
    viewer.layers.selection.active = viewer.layers["T1c"]
    press_key(viewer, "Ctrl-Z")
    assert not painted(viewer, tiny_prediction)[inside].any()
    press_key(viewer, "Ctrl-Shift-Z")
    assert painted(viewer, tiny_prediction)[inside].all()


def test_a_tissue_gives_the_brush_and_maps_are_hidden_while_the_mouse_paints(viewer, panel, tiny_prediction):
    tools = panel.correction.tools
    shown = [layer for layer in viewer.layers if layer.visible and layer.name.startswith("unc_output")]
    assert shown
    tools.tissue_buttons[Label.ET].click()
    layer = correction_layer(viewer, tiny_prediction)
    assert (layer.mode, layer.selected_label, layer.n_edit_dimensions) == ("paint", Label.ET, 2)
    assert not any(each.visible for each in shown)
    tools.brush_button.click()
    tools.outline_button.click()
    assert (layer.n_edit_dimensions, layer.contour) == (3, 1)
    layer.selected_label = int(Label.NCR)
    assert tools.tissue_buttons[Label.NCR].isChecked()
    layer.mode = "pan_zoom"
    assert all(each.visible for each in shown)
    assert not any(each.isChecked() for each in tools.tissue_buttons.values())
    layer.mode = "erase"
    assert not any(each.visible for each in shown)
    viewer.layers.remove(layer)
    panel.refresh()
    assert all(each.visible for each in shown)


def test_a_click_grows_the_tissue_in_the_image_on_show(viewer, panel, tiny_study, tiny_prediction):
    tools, place = panel.correction.tools, (14, 25, 20)
    show_modality(viewer, "t1c")
    panel.correction.correct()
    layer = correction_layer(viewer, tiny_prediction)
    layer.data[:] = 0
    layer.refresh()
    tools.tissue_buttons[Label.NCR].click()
    tools.grow_button.click()
    assert layer.mode == "pan_zoom"
    tools.tolerance.setValue(8)
    panel.correction._grow(world_of(place, tiny_prediction.shape, tiny_prediction.affine))
    grown, core = painted(viewer, tiny_prediction) == Label.NCR, tiny_study.reference == Label.NCR
    assert 2 * (grown & core).sum() / (grown.sum() + core.sum()) > 0.8
    assert "Grown in T1c" in panel.correction.message.text()
    layer.undo()
    assert not np.any(layer.data)
    layer.mode = "paint"
    assert not tools.grow_button.isChecked()
    assert not any("_on_press" in str(each) for each in viewer.mouse_drag_callbacks)


class Press:
    """A press of the mouse as napari hands it to a callback, and what becomes of it."""

    def __init__(self, button=1):
        self.button, self.pos, self.position, self.type = button, (5.0, 5.0), (1.0, 2.0, 3.0), "mouse_press"

    def send(self, tool, moves):
        steps = tool._on_press(None, self)
        next(steps)
        self.type = "mouse_move"
        for move in moves:
            self.pos = (5.0 + move, 5.0)
            next(steps)
        self.type = "mouse_release"
        with pytest.raises(StopIteration):
            next(steps)


def test_a_click_is_no_drag_and_of_the_left_button(viewer):
    places = []

    class Listener:
        def note(self, place):
            places.append(place)

    listener = Listener()
    tool = ClickTool(viewer, WeakMethod(listener.note))
    Press().send(tool, ())
    Press().send(tool, (1, 2))
    assert places == [(1.0, 2.0, 3.0)] * 2
    Press().send(tool, (1, 40, 2))
    Press(button=2).send(tool, ())
    assert len(places) == 2
    tool.put_away()


def test_slices_between_painted_ones_are_filled(viewer, panel, tiny_prediction):
    tools = panel.correction.tools
    tools.fill_button.click()
    assert panel.correction.message.isVisibleTo(panel)
    tools.tissue_buttons[Label.ED].click()
    layer = correction_layer(viewer, tiny_prediction)
    layer.data[:] = 0
    layer.metadata["uncseg-correction"].anchor[:] = 0
    layer.brush_size = 10
    for at in (8, 14):
        layer.paint((at, 20, 20), int(Label.ED))
    tools.fill_button.click()
    areas = [(np.asarray(layer.data)[at] > 0).sum() for at in range(7, 16)]
    assert areas[0] == areas[-1] == 0
    assert min(areas[1:-1]) > 0.9 * areas[1]
    layer.undo()
    assert not np.asarray(layer.data)[9:14].any()
    layer.undo()
    layer.undo()
    tools.fill_button.click()
    assert "No slices to fill" in panel.correction.message.text()


def test_what_is_not_saved_is_said_on_the_picture_and_kept(qtbot, viewer, panel, results, tiny_prediction, asked):
    session, words = session_of(viewer), viewer.canvas.overlays
    folder = results / tiny_prediction.study_id
    session.go_to(session.findings.items[0])
    panel.correction.tools.remove_button.click()
    qtbot.waitUntil(lambda: UNSAVED in words and words[UNSAVED].visible, timeout=PATIENCE)
    assert "not saved" in words[UNSAVED].text
    (draft,) = drafts_of(folder, tiny_prediction)
    assert (draft.labels == painted(viewer, tiny_prediction)).all()
    panel.correction.save_button.click()
    assert asked == ["Who reviews?"], "the name is asked in place, and once"
    (saved,) = corrections_in(folder, tiny_prediction.study_id)
    assert not words[UNSAVED].visible
    assert drafts_of(folder, tiny_prediction) == []
    layer = correction_layer(viewer, tiny_prediction)
    layer.undo()
    qtbot.waitUntil(lambda: words[UNSAVED].visible, timeout=PATIENCE)
    assert (painted(viewer, tiny_prediction) == tiny_prediction.segmentation).all(), "undo goes back beyond saving"
    layer.redo()
    qtbot.waitUntil(lambda: not words[UNSAVED].visible, timeout=PATIENCE)
    assert drafts_of(folder, tiny_prediction) == []
    assert (load_correction(saved, tiny_prediction) == painted(viewer, tiny_prediction)).all()


@pytest.mark.usefixtures("windowed")
def test_a_draft_is_offered_taken_and_goes_on(qtbot, viewer, open_panel, results, tiny_prediction):
    folder = results / tiny_prediction.study_id
    earlier = tiny_prediction.segmentation.copy()
    earlier[:2, :2, :2] = Label.ET
    save_correction(tiny_prediction, earlier, folder, reviewer="R1")
    panel = open_panel()
    session = session_of(viewer)
    session.go_to(session.findings.items[0])
    panel.correction.tools.remove_button.click()
    left = np.array(painted(viewer, tiny_prediction))
    assert left[0, 0, 0] == Label.ET, "it starts from the last correction"
    viewer.window.remove_dock_widget(panel)  # before the next draft was due
    viewer.layers.remove(correction_layer(viewer, tiny_prediction))
    again = open_panel()
    offer = again.correction.offer
    assert offer.isVisibleTo(again)
    assert "was not saved" in offer.note.text()
    offer.take_button.click()
    assert (painted(viewer, tiny_prediction) == left).all()
    assert not offer.isVisibleTo(again)
    assert again.correction.unsaved
    again.correction.save_button.click()
    assert not again.correction.unsaved
    assert drafts_of(folder, tiny_prediction) == []
    assert len(corrections_in(folder, tiny_prediction.study_id)) == 2


def test_a_draft_can_be_discarded(viewer, open_panel, results, tiny_prediction):
    panel = open_panel()
    session = session_of(viewer)
    session.go_to(session.findings.items[0])
    panel.correction.tools.remove_button.click()
    panel.correction._measure()
    viewer.layers.remove(correction_layer(viewer, tiny_prediction))
    panel.refresh()
    assert panel.correction.offer.isVisibleTo(panel)
    panel.correction.offer.discard_button.click()
    assert not panel.correction.offer.isVisibleTo(panel)
    assert drafts_of(results / tiny_prediction.study_id, tiny_prediction) == []


def test_the_layer_tells_the_volumes_as_they_are(qtbot, viewer, panel, tiny_prediction):
    panel.correction.correct()
    layer = correction_layer(viewer, tiny_prediction)
    before = list(layer.features["volume"])
    session = session_of(viewer)
    session.go_to(session.findings.items[0])
    panel.correction.tools.remove_button.click()
    qtbot.waitUntil(lambda: list(layer.features["volume"]) != before, timeout=PATIENCE)
    counts = [np.count_nonzero(painted(viewer, tiny_prediction) == label) for label in Label]
    assert list(layer.features["volume"]) == [f"{count * tiny_prediction.voxel_ml:.1f} mL" for count in counts]


def test_no_finding_and_no_result_do_no_harm(dock):
    panel = dock(VerdictWidget(viewer := ViewerModel()))
    for each in (panel.correction.tools, panel.correction):
        for name in [name for name in vars(each) if name.endswith("_button")]:
            getattr(each, name).click()
    assert len(viewer.layers) == 0


@pytest.mark.usefixtures("windowed")
def test_the_last_stroke_is_kept_as_the_window_closes_wherever_the_box_is_folded_away(viewer, panel, results):
    panel.correction.correct()
    panel.correction.hide()
    layer = correction_layer(viewer, panel.prediction)
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 1)
    QApplication.sendEvent(qt_viewer_of(viewer), QHideEvent())
    assert len(drafts_of(results / panel.prediction.study_id, panel.prediction)) == 1
