"""The panel *Threshold*: the slider moves what is drawn and what is counted, and the findings follow."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.review.verdicts import Judgement
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.tags import tagged
from napari_uncseg.widgets.findings.panel import FindingsWidget

BORDER = (25, 25, 20)
PATIENCE = 60000


@pytest.fixture
def panel(qtbot, viewer, dock, no_memory):
    widget = dock(FindingsWidget(viewer))
    yield widget
    qtbot.waitUntil(lambda: not widget.searching, timeout=PATIENCE)


@pytest.fixture
def opened(qtbot, viewer, panel, tiny_study, tiny_prediction):
    """The panel with a study, its result and its findings."""
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    found(qtbot, panel)
    return panel


def found(qtbot, panel):
    qtbot.waitUntil(lambda: not panel.searching, timeout=PATIENCE)


def test_without_a_map_it_says_what_to_do(panel):
    assert panel.hint.isVisibleTo(panel)
    assert "Run Segment with uncertainty" in panel.hint.text()
    assert not panel.slider.isVisibleTo(panel)
    assert not panel.findings.isVisibleTo(panel)


def test_volume_and_share(opened, tiny_study, tiny_prediction):
    assert opened.choice.map_box.currentText() == "unc_output"
    assert not opened.hint.isVisibleTo(opened)
    opened.slider.setValue(0.3)
    values, tumour = tiny_prediction.maps["unc_output"], tiny_prediction.segmentation > 0
    flagged = values >= np.float32(0.3)
    assert f"{flagged.sum() * tiny_study.voxel_ml:.1f} mL" in opened.volume.text()
    assert f"{flagged[tumour].mean():.0%} of the predicted tumour" in opened.share.text()


def test_with_a_reference_it_tells_what_that_is_worth(opened, tiny_study, tiny_prediction):
    opened.slider.setValue(0.3)
    flagged = tiny_prediction.maps["unc_output"] >= np.float32(0.3)
    wrong = (tiny_prediction.segmentation > 0) ^ (tiny_study.reference > 0)
    assert f"{flagged[wrong].mean():.0%} of the errors are flagged" in opened.against.text()
    assert f"{wrong[flagged].mean():.0%} of what is flagged is an error" in opened.against.text()
    dice, caught = opened.curve.curves
    assert caught[60] == pytest.approx(flagged[wrong].mean())
    assert dice[-1] == pytest.approx(opened.sweep.dice, abs=1e-9)
    assert opened.curve.isVisibleTo(opened)


def test_without_a_reference_there_is_no_curve(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, dataclasses.replace(tiny_study, reference=None))
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    found(qtbot, panel)
    assert not panel.curve.isVisibleTo(panel)
    assert not panel.against.isVisibleTo(panel)


def test_the_picture_follows_the_slider(qtbot, viewer, opened, tiny_study, tiny_prediction, colour_at):
    viewer.show()
    viewer.layers["Segmentation"].visible = False
    ras = tiny_study.affine @ (*BORDER, 1)
    viewer.dims.point = (-ras[2], -ras[1], -ras[0])

    def colourfulness():
        picture = viewer.screenshot(canvas_only=True, flash=False)
        return np.ptp(colour_at(viewer, picture, tiny_study.affine, BORDER, half=1))

    value = float(tiny_prediction.maps["unc_output"][BORDER])
    opened.slider.setValue(value - 0.05)
    qtbot.waitUntil(lambda: colourfulness() > 40, timeout=PATIENCE)
    opened.slider.setValue(value + 0.05)
    qtbot.waitUntil(lambda: colourfulness() < 10, timeout=PATIENCE)
    assert viewer.layers["unc_output"].contrast_limits == [0, 1]
    assert np.shares_memory(viewer.layers["unc_output"].data, tiny_prediction.maps["unc_output"])


def test_another_map_has_its_own_range_and_is_the_one_shown(qtbot, viewer, opened):
    opened.choice.map_box.setCurrentText("entropy (WT)")
    assert opened.slider.field.maximum() == pytest.approx(np.log(2), abs=1e-3)
    assert "nats" in opened.explanation.text()
    assert viewer.layers["entropy (WT)"].visible
    assert not viewer.layers["unc_output"].visible
    found(qtbot, opened)
    assert "by volume weighted by the map" in opened.findings.summary.toolTip()


def test_it_begins_with_the_map_that_is_seen(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    viewer.layers["unc_output"].visible = False
    viewer.layers["entropy (WT)"].visible = True
    panel.refresh()
    assert panel.choice.map_box.currentText() == "entropy (WT)"
    assert viewer.layers["entropy (WT)"].visible
    found(qtbot, panel)


def test_another_region_has_a_map_of_its_own(qtbot, viewer, opened, tiny_prediction):
    opened.choice.map_box.setCurrentText("entropy (WT)")
    opened.choice.region_box.setCurrentIndex(2)
    found(qtbot, opened)
    assert opened.choice.region is Region.ET
    assert opened.choice.map_box.currentText() == "entropy (ET)"
    layer = viewer.layers["entropy (ET)"]
    assert layer.visible
    assert layer.contrast_limits == pytest.approx([0, np.log(2)])
    findings = session_of(viewer).findings
    assert {item.region for item in findings.items} == {Region.ET}
    opened.choice.region_box.setCurrentIndex(0)
    assert opened.choice.map_box.currentText() == "entropy (WT)"


def test_a_voxel_set_cuts_what_is_flagged(qtbot, opened, tiny_study, tiny_prediction):
    opened.choice.map_box.setCurrentText("unc_output, unmasked")
    opened.slider.setValue(0.1)
    whole = opened.sweep.volume_ml(20)
    opened.choice.set_box.setCurrentIndex(opened.choice.set_box.findData(VoxelSet.PREDICTION))
    assert opened.threshold == pytest.approx(0.1)
    inside = (tiny_prediction.maps["unc_output_unmasked"] >= 0.1) & (tiny_prediction.segmentation > 0)
    assert opened.sweep.volume_ml(20) == pytest.approx(inside.sum() * tiny_study.voxel_ml)
    assert opened.sweep.volume_ml(20) < whole


def test_the_brain_is_offered_while_it_is_known(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    assert panel.choice.set_box.findData(VoxelSet.BRAIN) < 0
    add_study(viewer, tiny_study)
    qtbot.waitUntil(lambda: panel.choice.set_box.findData(VoxelSet.BRAIN) >= 0, timeout=PATIENCE)


def test_a_new_run_keeps_map_and_threshold(qtbot, viewer, panel, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    panel.choice.map_box.setCurrentText("entropy (WT)")
    panel.slider.setValue(0.4)
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    qtbot.wait(50)
    assert panel.choice.map_box.currentText() == "entropy (WT)"
    assert panel.threshold == pytest.approx(0.4, abs=2e-3)
    first_drawn = viewer.layers["entropy (WT)"].colormap.map(np.array([0.5, 0.62]))[:, 3]
    assert first_drawn.tolist() == [0, 1]


def test_when_the_maps_go_the_panel_empties(qtbot, viewer, opened):
    viewer.layers.clear()
    qtbot.waitUntil(lambda: opened.hint.isVisibleTo(opened), timeout=5000)
    assert opened.findings.table.rowCount() == 0
    assert len(viewer.layers) == 0


@pytest.mark.usefixtures("windowed")
def test_map_region_and_threshold_are_there_again(qtbot, viewer, opened, dock):
    opened.choice.region_box.setCurrentIndex(1)
    found(qtbot, opened)
    opened.slider.setValue(0.35)
    found(qtbot, opened)
    qtbot.waitUntil(lambda: session_of(viewer).state.thresholds.get("entropy-tc", 0) > 0.3, timeout=PATIENCE)
    viewer.window.remove_dock_widget(opened)
    again = dock(FindingsWidget(viewer))
    assert again.choice.map_box.currentText() == "entropy (TC)"
    assert again.choice.region is Region.TC
    assert again.threshold == pytest.approx(0.35, abs=4e-3)
    found(qtbot, again)


def test_the_handle_is_dragged_stepped_and_typed(qtbot, opened):
    strip, field = opened.slider.strip, opened.slider.field
    strip.resize(212, 60)
    at = QPointF(106, 20)
    press = QMouseEvent(
        QMouseEvent.Type.MouseButtonPress,
        at,
        at,
        Qt.MouseButton.LeftButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    strip.mousePressEvent(press)
    assert opened.threshold == pytest.approx(0.5)
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert opened.threshold == pytest.approx(0.505)
    qtbot.keyClick(strip, Qt.Key.Key_PageDown)
    assert opened.threshold == pytest.approx(0.455)
    field.setValue(0.9)
    assert opened.threshold == pytest.approx(0.9)
    field.setValue(0.123)
    assert opened.threshold == pytest.approx(0.125), "a map is cut at steps"
    assert field.value() == pytest.approx(0.125)
    opened.slider.setValue(7)
    assert opened.threshold == 1


def test_only_the_last_threshold_is_answered(qtbot, viewer, opened):
    session = session_of(viewer)
    heard = []
    opened._finder.found.connect(lambda _chosen, findings: heard.append(findings))
    for value in np.linspace(0.1, 0.3, 41):
        opened.slider.setValue(value)
    found(qtbot, opened)
    assert session.findings.threshold == pytest.approx(0.3)
    assert len(heard) <= 4, "every move of the slider was searched for"


@pytest.mark.usefixtures("windowed")
def test_the_panel_goes_and_leaves_nothing(qtbot, viewer, dock, no_memory, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    panel = dock(FindingsWidget(viewer))
    panel.slider.setValue(0.25)
    viewer.window.remove_dock_widget(panel)
    gone = weakref.ref(panel)
    panel.deleteLater()
    del panel
    qtbot.wait(300)  # deleted by Qt before it is collected
    gc.collect()
    assert gone() is None
    session_of(viewer).step(1)
    viewer.add_points([[0, 0, 0]])
    qtbot.wait(50)


def test_of_a_result_that_is_gone_no_key_judges(viewer, opened, tmp_path):
    """A case without a result was opened, or its layers were removed: its findings are on no screen any more."""
    session = session_of(viewer)
    session.open_log(tmp_path)
    session.step(1)
    assert session.current is not None
    for layer, _ in tagged(viewer, None, "map", "segmentation"):
        viewer.layers.remove(layer)
    opened.refresh()
    session.step(1)
    assert session.current is None
    for judge in opened.findings.judge_buttons.values():
        assert not judge.isEnabled()
    opened.findings.toggle(Judgement.FINE)
    assert session.log.records == ()
