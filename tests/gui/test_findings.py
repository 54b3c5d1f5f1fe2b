"""Walking through findings: by key, by click, in pixels, and what is judged on the way."""

import numpy as np
import pytest
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import Qt

from napari_uncseg.labels import Region
from napari_uncseg.review.verdicts import Judgement, log_path, read_log
from napari_uncseg.viewer.bindings import change_opacity
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import LEAST_FRAME_MM, OUTLINE_NAME, go_to, session_of
from napari_uncseg.viewer.orientation import world_of
from napari_uncseg.widgets.findings.box import short_place
from napari_uncseg.widgets.findings.panel import FindingsWidget

PATIENCE = 60000


@pytest.fixture
def viewer(viewer, no_memory, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def panel(qtbot, viewer, dock):
    widget = dock(FindingsWidget(viewer))
    qtbot.waitUntil(lambda: not widget.searching, timeout=PATIENCE)
    widget.choice.map_box.setCurrentText("unc_output, unmasked")
    widget.slider.setValue(0.05)
    qtbot.waitUntil(lambda: not widget.searching, timeout=PATIENCE)
    yield widget
    qtbot.waitUntil(lambda: not widget.searching, timeout=PATIENCE)


@pytest.fixture
def session(viewer, panel):
    session = session_of(viewer)
    assert len(session.findings.items) >= 2, "the tests need findings to walk through"
    return session


def test_the_list_says_what_the_findings_are(panel, session):
    table = panel.findings.table
    items = session.findings.items
    assert table.rowCount() == len(items)
    assert table.item(0, 1).text() == short_place(items[0].place, items[0].region)
    assert items[0].place in table.item(0, 1).toolTip()
    assert table.item(0, 3).text() == f"{items[0].volume_ml:.2f}"
    assert f"{len(items)} places to check" in panel.findings.summary.text()
    assert "expected error volume" in panel.findings.summary.toolTip()


def test_places_are_short_in_the_table():
    assert short_place("tumour margin, left, anterior-superior", Region.WT) == "margin, L ant-sup"
    assert short_place("core margin, left, anterior", Region.WT) == "core margin, L ant"
    assert short_place("enhancing margin, left, anterior", Region.ET) == "margin, L ant"
    assert short_place("in the necrotic core, midline", Region.WT) == "in NCR, mid"
    assert short_place("4 mm outside WT, right, posterior-lateral", Region.WT) == "4 mm out, R post-lat"
    assert short_place("just outside ET, right", Region.ET) == "just out, R"
    assert short_place("far from WT, right, inferior", Region.WT) == "far away, R inf"
    assert short_place("no ET predicted, left", Region.ET) == "no ET, L"


def test_keys_go_round_in_all_views(viewer, panel, session, tiny_prediction, press_key):
    affine, shape = tiny_prediction.affine, tiny_prediction.segmentation.shape
    for key, rank in (("N", 1), ("N", 2), ("Shift-N", 1), ("Shift-N", len(session.findings.items))):
        press_key(viewer, key)
        finding = session.current
        assert finding.rank == rank
        assert viewer.dims.point == pytest.approx(world_of(finding.voxel, shape, affine))
        assert panel.findings.table.currentRow() == rank - 1
        assert panel.findings.detail.text().startswith(f"{rank}. ")


@pytest.mark.usefixtures("windowed")
def test_a_click_in_the_list_goes_there(qtbot, viewer, panel, session, tiny_prediction):
    viewer.show()
    table = panel.findings.table
    place = table.visualItemRect(table.item(1, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert session.current.rank == 2
    assert viewer.dims.point == pytest.approx(
        world_of(session.current.voxel, tiny_prediction.segmentation.shape, tiny_prediction.affine)
    )


def test_the_current_finding_is_outlined_in_cyan(qtbot, viewer, panel, session, tiny_study, colour_at):
    viewer.show()
    for layer in viewer.layers:
        layer.visible = layer.name == "T1c"
    session.go_to(session.findings.items[0])
    layer = viewer.layers[OUTLINE_NAME]
    layer.contour = 0

    def cyan():
        picture = viewer.screenshot(canvas_only=True, flash=False)
        red, green, blue = colour_at(viewer, picture, tiny_study.affine, session.current.voxel, half=1)
        return min(green, blue) > red + 60

    qtbot.waitUntil(cyan, timeout=PATIENCE)
    _, inside = session.findings.mask(session.current)
    assert int(np.count_nonzero(layer.data)) == int(inside.sum())
    session.step(1)
    assert int(np.count_nonzero(layer.data)) == int(session.findings.mask(session.current)[1].sum())
    assert [each.name for each in viewer.layers].count(OUTLINE_NAME) == 1


def test_the_outline_takes_nobodys_selection(viewer, session):
    viewer.layers.selection.active = viewer.layers["T1c"]
    session.step(1)
    assert [layer.name for layer in viewer.layers.selection] == ["T1c"]
    assert viewer.layers.selection.active.name == "T1c"


def test_the_camera_follows_only_out_of_sight(viewer, tiny_study):
    shape, affine = tiny_study.shape, tiny_study.affine
    camera = viewer.scene.camera
    near = world_of((20, 22, 18), shape, affine)
    before = camera.center
    go_to(viewer, near)
    assert camera.center == before
    camera.zoom = 60
    camera.center = (0, *world_of((2, 2, 18), shape, affine)[1:])
    go_to(viewer, near)
    assert camera.center[-2:] == pytest.approx(near[1:])


@pytest.mark.usefixtures("windowed")
def test_the_next_finding_is_framed_with_what_surrounds_it(viewer, session, tiny_prediction):
    camera = viewer.scene.camera
    camera.zoom = 0.1
    session.step(1)
    shape, affine = tiny_prediction.shape, tiny_prediction.affine
    box, _ = session.findings.mask(session.current)
    ends = [world_of([getattr(part, end) for part in box], shape, affine) for end in ("start", "stop")]
    for axis, pixels in zip(viewer.dims.displayed, viewer.canvas.size, strict=True):
        low, high = sorted(end[axis] for end in ends)
        half = pixels / camera.zoom / 2
        assert camera.center[axis] - half < low
        assert camera.center[axis] + half > high
    shortest = min(pixels / camera.zoom for pixels in viewer.canvas.size)
    assert LEAST_FRAME_MM < shortest < 2 * LEAST_FRAME_MM


def test_the_opacity_of_the_map_by_slider_and_by_key(qtbot, viewer, panel):
    layer = panel.choice.choose().layer
    panel.choice.opacity.setValue(40)
    assert layer.opacity == pytest.approx(0.4)
    change_opacity(viewer, 0.1)
    qtbot.waitUntil(lambda: panel.choice.opacity.value() == 50, timeout=PATIENCE)


def test_the_region_brings_the_image_on_which_it_is_seen_best(viewer, panel):
    for region, image in ((Region.ET, "T1c"), (Region.WT, "FLAIR (T2f)")):
        panel.choice.region_box.setCurrentIndex(list(Region).index(region))
        assert [name for name in ("T1c", "FLAIR (T2f)") if viewer.layers[name].visible] == [image]


def test_h_hides_and_shows_the_map(viewer, panel, session, press_key):
    layer = viewer.layers["unc_output, unmasked"]
    assert layer.visible
    press_key(viewer, "H")
    assert not layer.visible
    press_key(viewer, "H")
    assert layer.visible


def test_judging_writes_and_shows_and_can_be_taken_back(viewer, panel, session, tmp_path, press_key):
    session.reviewer = "R1"
    session.open_log(tmp_path)
    press_key(viewer, "N")
    press_key(viewer, "W")
    assert read_log(log_path(tmp_path)).records[-1].judgement is Judgement.REAL_ERROR
    marks = panel.findings.table.item(0, 5)
    assert marks.text() == "✗"
    assert panel.findings.judge_buttons[Judgement.REAL_ERROR].isChecked()
    press_key(viewer, "G")
    assert panel.findings.table.item(0, 5).text() == "✓"
    assert not panel.findings.judge_buttons[Judgement.REAL_ERROR].isChecked()
    press_key(viewer, "G")
    assert panel.findings.table.item(0, 5).text() == ""
    assert session.judgement_of(session.findings.items[0]) is None
    press_key(viewer, "U")
    assert len(read_log(log_path(tmp_path)).records) == 4


def test_judging_without_a_folder_says_what_is_missing(viewer, panel, session, press_key):
    session.reviewer = "R1"
    press_key(viewer, "N")
    press_key(viewer, "W")
    assert panel.findings.message.isVisibleTo(panel)
    assert panel.findings.message.text()
    assert not panel.findings.judge_buttons[Judgement.REAL_ERROR].isChecked()


def test_judgements_stay_with_their_findings_when_the_slider_moves(qtbot, viewer, panel, session, tmp_path, press_key):
    session.reviewer = "R1"
    session.open_log(tmp_path)
    session.go_to(session.findings.items[0])
    press_key(viewer, "U")
    voxel = session.current.voxel
    panel.slider.setValue(0.08)
    qtbot.waitUntil(lambda: not panel.searching, timeout=PATIENCE)
    now = session.findings.at(voxel)
    assert now is not None
    assert session.current == now
    assert panel.findings.table.item(now.rank - 1, 5).text() == "?"


@pytest.mark.usefixtures("windowed")
def test_keys_are_free_again_when_the_panel_goes(viewer, panel):
    assert coerce_keybinding("N") in viewer.keymap
    viewer.window.remove_dock_widget(panel)
    assert coerce_keybinding("N") not in viewer.keymap
