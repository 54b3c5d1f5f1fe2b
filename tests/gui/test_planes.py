"""Three planes over the picture of the main window, with a real mouse."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from tests.gui.conftest import turn_wheel

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.presets import THREE_PLANES, panes_of
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.widgets.compare.planes import toggle_planes

PATIENCE = 20000


@pytest.fixture
def viewer(make_napari_viewer_proxy, tiny_study, tiny_prediction):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1100, 800)
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    return viewer


@pytest.fixture
def planes(qtbot, viewer):
    shown = toggle_planes(viewer)
    qtbot.waitUntil(lambda: shown.isVisible() and shown.canvas.width() > 100, timeout=PATIENCE)
    return shown


def slices(canvas):
    return [view.slice_index(canvas.state.cut) for view in canvas.state.views]


def middle(canvas, number):
    return canvas.frames[number].picture.center().toPoint()


def test_a_click_and_the_wheel_set_the_place_everywhere(qtbot, viewer, planes):
    canvas, start = planes.canvas, slices(planes.canvas)
    assert [view.plane(canvas.state.cut) for view in canvas.state.views] == [*PLANES, "axial"]
    assert np.allclose(canvas.state.cut.point, viewer.dims.point, atol=2)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=middle(canvas, 1) + QPoint(20, 15))
    assert slices(canvas)[1] == start[1], "a click in the coronal plane moves the other two"
    assert slices(canvas)[0] != start[0]
    qtbot.waitUntil(lambda: np.allclose(viewer.dims.point, canvas.state.cut.point), timeout=PATIENCE)
    before = slices(canvas)
    turn_wheel(canvas, middle(canvas, 2), -1)
    assert slices(canvas) == [before[0], before[1], before[2] + 1, before[3]]
    turn_wheel(canvas, middle(canvas, 0), -1, Qt.KeyboardModifier.ControlModifier)
    assert canvas.state.cut.zoom == pytest.approx(1 / 1.2)
    viewer.dims.set_point(0, viewer.dims.range[0].start)
    assert slices(canvas)[0] == 0


def test_windows_maps_and_images_are_those_of_the_main_window(qtbot, viewer, planes):
    canvas = planes.canvas
    first = tuple(viewer.layers["T1c"].contrast_limits)
    qtbot.mousePress(canvas, Qt.MouseButton.RightButton, pos=middle(canvas, 0))
    qtbot.mouseMove(canvas, middle(canvas, 0) + QPoint(40, 0))
    qtbot.mouseRelease(canvas, Qt.MouseButton.RightButton, pos=middle(canvas, 0) + QPoint(40, 0))
    canvas.show_state(canvas.state.windowed("t1c", 0.1, 0.3))
    assert tuple(viewer.layers["T1c"].contrast_limits) != first
    for layer in viewer.layers:
        if layer.name in ("T1c", "FLAIR (T2f)"):
            layer.visible = layer.name != "T1c"
    qtbot.waitUntil(lambda: canvas.state.views[0].pane.image == "t2f", timeout=PATIENCE)
    assert canvas.state.views[3].pane.image == "t1c"
    assert canvas.state.views[0].pane.overlay == "unc_output"
    planes.opacity.setValue(40)
    assert viewer.layers["unc_output"].opacity == pytest.approx(0.4)


def test_a_double_click_enlarges_and_the_ruler_measures(qtbot, viewer, planes):
    canvas = planes.canvas
    qtbot.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=middle(canvas, 2))
    assert [view.pane.plane for view in canvas.state.views] == ["sagittal"]
    start, shift = middle(canvas, 0), Qt.KeyboardModifier.ShiftModifier
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, shift, start)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, shift, start)
    assert canvas.state.ruler is not None
    qtbot.mouseDClick(canvas, Qt.MouseButton.LeftButton, pos=middle(canvas, 0))
    assert len(canvas.state.views) == 4
    assert toggle_planes(viewer) is planes
    assert planes.isHidden()


def test_planes_have_the_room_of_a_narrow_window(qtbot, viewer):
    viewer.window.resize(700, 600)
    view = getattr(viewer, "__wrapped__", viewer).window._qt_viewer
    docks = (view.dockLayerList, view.dockLayerControls)
    shown = toggle_planes(viewer)
    assert not any(dock.isVisible() for dock in docks)
    qtbot.waitUntil(lambda: shown.canvas.width() > 600, timeout=PATIENCE)
    pictures = sum(frame.picture.width() * frame.picture.height() for frame in shown.canvas.frames)
    assert pictures > 0.95 * shown.canvas.width() * shown.canvas.height()
    toggle_planes(viewer)
    assert all(dock.isVisible() for dock in docks)


def test_a_list_behind_a_panel_takes_no_room_and_stays(qtbot, viewer):
    viewer.window.resize(700, 600)
    window = getattr(viewer, "__wrapped__", viewer).window
    behind = window._qt_viewer.dockLayerList
    window._qt_window.tabifyDockWidget(window.add_dock_widget(QWidget(), name="Panel", area="right"), behind)
    qtbot.waitUntil(lambda: bool(window._qt_window.tabifiedDockWidgets(behind)), timeout=PATIENCE)
    shown = toggle_planes(viewer)
    qtbot.waitUntil(lambda: shown.isVisible(), timeout=PATIENCE)
    assert window._qt_window.tabifiedDockWidgets(behind)


def test_six_views_have_the_planes_as_a_preset(tiny_study, tiny_prediction):
    panes = panes_of(THREE_PLANES, comparison_data(tiny_study, tiny_prediction))
    assert [pane.plane for pane in panes] == [*PLANES, *PLANES]
    assert {pane.overlay for pane in panes[:3]} == {"unc_output"}
