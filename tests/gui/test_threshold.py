"""The panel *Threshold*: the slider moves what is drawn and what is counted."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.view.layers import add_prediction, add_study
from napari_uncseg.widgets.threshold import ThresholdWidget

BORDER = (25, 25, 20)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def panel(viewer):
    widget = ThresholdWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Threshold")
    return widget


def test_without_a_map_it_says_what_to_do(panel):
    assert panel.hint.isVisibleTo(panel)
    assert "Run Segment with uncertainty" in panel.hint.text()
    assert not panel.slider.isVisibleTo(panel)


def test_volume_and_share(viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    assert panel.map_choice.currentText() == "unc_output"
    assert not panel.hint.isVisibleTo(panel)
    panel.slider.setValue(0.3)
    values, tumour = tiny_prediction.maps["unc_output"], tiny_prediction.segmentation > 0
    flagged = values >= np.float32(0.3)
    assert f"{flagged.sum() * tiny_study.voxel_ml:.1f} mL" in panel.volume.text()
    assert f"{flagged[tumour].mean():.0%} of the predicted tumour" in panel.share.text()


def test_the_picture_follows_the_slider(viewer, panel, tiny_study, tiny_prediction, colour_at):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    viewer.layers["Segmentation"].visible = False
    ras = tiny_study.affine @ (*BORDER, 1)
    viewer.dims.point = (-ras[2], -ras[1], -ras[0])

    def colourfulness():
        picture = viewer.screenshot(canvas_only=True, flash=False)
        return np.ptp(colour_at(viewer, picture, tiny_study.affine, BORDER, half=1))

    value = float(tiny_prediction.maps["unc_output"][BORDER])
    panel.slider.setValue(value - 0.05)
    assert colourfulness() > 40
    panel.slider.setValue(value + 0.05)
    assert colourfulness() < 10
    assert viewer.layers["unc_output"].contrast_limits == [0, 1]
    assert np.shares_memory(viewer.layers["unc_output"].data, tiny_prediction.maps["unc_output"])


def test_another_map_has_its_own_range(viewer, panel, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    panel.map_choice.setCurrentText("entropy (WT)")
    assert panel.slider.maximum() == pytest.approx(np.log(2), abs=1e-3)
    assert "nats" in panel.explanation.text()


def test_a_new_run_keeps_map_and_threshold(qtbot, viewer, panel, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    panel.map_choice.setCurrentText("entropy (WT)")
    panel.slider.setValue(0.4)
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    qtbot.wait(50)
    assert panel.map_choice.currentText() == "entropy (WT)"
    assert panel.threshold == pytest.approx(0.4, abs=2e-3)
    first_drawn = viewer.layers["entropy (WT)"].colormap.map(np.array([0.5, 0.62]))[:, 3]
    assert first_drawn.tolist() == [0, 1]


def test_when_the_maps_go_the_panel_empties(qtbot, viewer, panel, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel.refresh()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: panel.hint.isVisibleTo(panel), timeout=5000)
