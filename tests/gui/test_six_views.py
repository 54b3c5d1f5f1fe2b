"""The window *Six views*: what its cells show, that they move together, and that nothing is left when it closes."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from napari.qt import QtViewer

from napari_uncseg.view.layers import add_prediction, add_study
from napari_uncseg.widgets.six_views import SixViewsWidget

PATIENCE = 60000


@pytest.fixture
def viewer(make_napari_viewer_proxy, tiny_study, tiny_prediction):
    viewer = make_napari_viewer_proxy()
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def panel(viewer):
    widget = SixViewsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Six views")
    yield widget
    widget.close_window()


def opened(qtbot, panel):
    panel.open_window()
    window = panel.window_shown
    window.resize(900, 660)
    qtbot.waitUntil(lambda: window.model.canvas.grid.enabled, timeout=PATIENCE)
    qtbot.wait(100)
    return window


def test_it_says_what_is_missing(qtbot, make_napari_viewer_proxy, tiny_study):
    viewer = make_napari_viewer_proxy()
    panel = SixViewsWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Six views")
    assert panel.hint.isVisibleTo(panel)
    assert not panel.open_button.isEnabled()
    add_study(viewer, tiny_study)
    panel.refresh()
    assert not panel.open_button.isEnabled()
    panel.open_window()
    assert panel.window_shown is None


def test_six_cells_show_six_things(qtbot, viewer, panel, tiny_study):
    window = opened(qtbot, panel)
    # Axial cut through the middle of the tumour, where the main viewer stands.
    assert window.model.dims.point == pytest.approx(viewer.dims.point)
    for layer in window.model.layers:
        layer.name_overlay.visible = False
        if hasattr(layer, "colorbar"):
            layer.colorbar.visible = False
    window.model.canvas.overlays.scale_bar.visible = False
    picture = window.screenshot()[..., :3].astype(float)
    height, width = picture.shape[0] // 2, picture.shape[1] // 3
    cells = [picture[r * height : (r + 1) * height, c * width : (c + 1) * width] for r in (0, 1) for c in (0, 1, 2)]
    coloured = [(np.ptp(cell, axis=2) > 40).mean() for cell in cells]
    # Images are grey; segmentation and maps bring colour.
    assert max(coloured[:2]) == 0
    assert min(coloured[2:]) > 0.002
    means = [cell.mean() for cell in cells]
    assert min(means) > 5
    # T1c and FLAIR differ, so they are two images.
    assert np.abs(cells[0] - cells[1])[4:-4, 4:-4].mean() > 2


def test_cells_move_together(qtbot, panel):
    window = opened(qtbot, panel)
    before = window.screenshot()[..., :3].astype(int)
    window.model.dims.set_current_step(0, 3)
    after = window.screenshot()[..., :3].astype(int)
    height, width = before.shape[0] // 2, before.shape[1] // 3
    for row in (0, 1):
        for column in (0, 1, 2):
            cell = (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
            assert np.abs(before[cell] - after[cell]).mean() > 1


def test_plane_and_outline(qtbot, panel):
    window = opened(qtbot, panel)
    window.plane_choice.setCurrentText("Coronal")
    assert window.model.dims.order[0] == 1
    assert panel.plane_choice.currentText() == "Coronal"
    panel.plane_choice.setCurrentText("Sagittal")
    assert window.model.dims.order[0] == 2
    assert window.plane_choice.currentText() == "Sagittal"
    window.outline_choice.setChecked(False)
    assert window.model.canvas.grid.actual_shape(window.model.layers) == (2, 3)


def test_a_new_run_reaches_the_window(qtbot, viewer, panel, tiny_prediction):
    window = opened(qtbot, panel)
    again = dataclasses.replace(tiny_prediction)
    add_prediction(viewer, again)
    qtbot.waitUntil(lambda: window.prediction is again, timeout=PATIENCE)
    assert len(window.model.layers) == 18


def test_closing_leaves_nothing(qtbot, panel):
    before = len(QtViewer._instances)
    window = opened(qtbot, panel)
    assert len(QtViewer._instances) == before + 1
    left = [weakref.ref(window), weakref.ref(window.model)]
    window.close()
    del window
    qtbot.wait(100)
    gc.collect()
    assert panel.window_shown is None
    assert [ref() for ref in left] == [None, None]
    assert len(QtViewer._instances) == before


def test_the_window_goes_with_the_viewer(qtbot, viewer, panel):
    window = opened(qtbot, panel)
    gone = weakref.ref(window)
    del window
    viewer.close()
    qtbot.wait(200)
    gc.collect()
    assert gone() is None


def test_closing_before_the_first_turn_does_no_harm(qtbot, panel):
    panel.open_window()
    panel.close_window()
    qtbot.wait(50)
    assert panel.window_shown is None
