"""Hiding all that lies on the images, window and level by drag, the key of the help sheet: in pixels and in state."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding

from napari_uncseg.viewer.bindings import (
    HELP,
    HELP_PANEL,
    HIDE_OVERLAYS,
    PICTURE_KEYS,
    bare_while_held,
    bind_viewer,
    drag_window,
    dragged_window,
    overlays,
    turn_wheel,
)
from napari_uncseg.viewer.corrections import start_correction
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.picture import SIDES, TITLE, VALUES, show_values, values_at

PATIENCE = 20000


class Event:
    """A mouse event as napari hands it to a callback; it changes while the mouse is dragged."""

    def __init__(self, button, pos):
        self.button, self.pos, self.type = button, pos, "mouse_press"

    def move(self, right, down):
        self.type, self.pos = "mouse_move", (self.pos[0] + right, self.pos[1] + down)


def press(viewer, key):
    viewer.keymap[coerce_keybinding(key.replace("+", "-"))](viewer)


def fill(viewer, study, prediction):
    add_study(viewer, study)
    add_prediction(viewer, prediction)
    bind_viewer(viewer)
    return viewer


@pytest.fixture
def viewer(tiny_study, tiny_prediction):
    return fill(ViewerModel(), tiny_study, tiny_prediction)


def visible(viewer):
    return [layer.name for layer in viewer.layers if layer.visible]


def test_one_key_bares_the_images_and_brings_all_back(viewer, tiny_prediction):
    start_correction(viewer, tiny_prediction)
    before = visible(viewer)
    assert {"FLAIR (T2f)", "unc_output"} <= set(before)
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    assert visible(viewer) == ["FLAIR (T2f)"]
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    assert visible(viewer) == before


def test_the_reference_comes_and_goes_by_key(viewer):
    assert not viewer.layers["Reference"].visible
    for shown in (True, False):
        press(viewer, PICTURE_KEYS["reference"])
        assert viewer.layers["Reference"].visible is shown


def test_layers_of_the_users_own_stay(viewer):
    own = viewer.add_points(np.zeros((1, 3)), name="mine")
    assert own not in overlays(viewer)
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    assert own.visible


def test_a_layer_that_went_meanwhile_does_no_harm(viewer):
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    viewer.layers.remove(viewer.layers["unc_output"])
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    assert visible(viewer) == ["FLAIR (T2f)", "Segmentation"]


def test_the_picture_is_bare(make_napari_viewer_proxy, qtbot, tiny_study, tiny_prediction):
    viewer = make_napari_viewer_proxy(show=True)
    fill(viewer, tiny_study, tiny_prediction)

    def colourful():
        canvas = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
        return (np.ptp(canvas, axis=-1) > 40).mean(), canvas.mean()

    qtbot.waitUntil(lambda: colourful()[0] > 0.002, timeout=PATIENCE)
    press(viewer, PICTURE_KEYS[HIDE_OVERLAYS])
    qtbot.waitUntil(lambda: colourful()[0] == 0 and colourful()[1] > 5, timeout=PATIENCE)


class Turn:
    """A turn of the wheel."""

    def __init__(self, notches, modifiers=(), position=(0.0, 0.0, 0.0)):
        self.delta, self.modifiers, self.position = (0, notches), modifiers, position


def test_the_picture_says_whose_it_is_and_where_it_is_cut(viewer, tiny_study):
    words, overlays = viewer.canvas.overlays[TITLE], viewer.canvas.overlays
    viewer.dims.set_point(0, viewer.dims.range[0].start)
    assert words.text.splitlines() == [tiny_study.id, "FLAIR (T2f) · axial 36/36"], "counted from below"
    assert viewer.title.startswith(tiny_study.id)
    assert [overlays[f"uncseg_{side}"].text for side in SIDES] == list("APRL")
    viewer.dims.order = PLANES["coronal"]
    assert "coronal" in words.text
    assert [overlays[f"uncseg_{side}"].text for side in SIDES] == list("SIRL")
    press(viewer, PICTURE_KEYS["t2f"])
    assert "FLAIR" in words.text
    assert visible(viewer)[0] == "FLAIR (T2f)"
    assert tuple(viewer.canvas.background_color) == (0, 0, 0, 1)


def test_the_wheel_turns_slices_and_zooms_with_ctrl(viewer):
    start, zoom = viewer.dims.point[0], viewer.scene.camera.zoom
    step = viewer.dims.range[0].step
    turn_wheel(viewer, Turn(-1))
    assert viewer.dims.point[0] == pytest.approx(start + step)
    turn_wheel(viewer, Turn(1))
    assert viewer.dims.point[0] == pytest.approx(start)
    turn_wheel(viewer, Turn(1, ("Control",), viewer.dims.point))
    assert viewer.scene.camera.zoom == pytest.approx(zoom * 1.2)
    assert "dims_scroll" not in [each.__name__ for each in viewer.mouse_wheel_callbacks]


def test_windows_opacity_and_bare_images_by_key(viewer):
    image, first = viewer.layers["FLAIR (T2f)"], tuple(viewer.layers["FLAIR (T2f)"].contrast_limits)
    press(viewer, PICTURE_KEYS["window"])
    assert tuple(image.contrast_limits) != first
    press(viewer, PICTURE_KEYS["fit"])
    assert tuple(image.contrast_limits) == pytest.approx(first)
    opacity = viewer.layers["unc_output"].opacity
    press(viewer, PICTURE_KEYS["fainter"])
    assert viewer.layers["unc_output"].opacity == pytest.approx(opacity - 0.1)
    before = visible(viewer)
    held = bare_while_held(viewer)
    next(held)
    assert visible(viewer) == ["FLAIR (T2f)"]
    assert next(held, None) is None
    assert visible(viewer) == before


def test_a_plain_image_has_window_values_and_keys_too():
    viewer = ViewerModel()
    image = viewer.add_image(np.arange(64.0).reshape(4, 4, 4), name="mine")
    bind_viewer(viewer)
    drag = drag_window(viewer, event := Event(2, (0, 0)))
    next(drag)
    event.move(40, 0)
    before = tuple(image.contrast_limits)
    next(drag)
    assert tuple(image.contrast_limits) != before
    viewer.cursor.position = (0, 0, 1)
    show_values(viewer)
    assert viewer.canvas.overlays[VALUES].text == "mine 1"


def test_a_second_call_adds_nothing(viewer):
    before = list(viewer.mouse_drag_callbacks)
    bind_viewer(viewer)
    assert list(viewer.mouse_drag_callbacks) == before


@pytest.mark.parametrize(
    ("right", "down", "expected"),
    [(0, 0, (100, 300)), (100, 0, (50, 350)), (0, 100, (160, 360)), (-1000, 0, (199, 201))],
)
def test_window_and_level(right, down, expected):
    assert dragged_window((100, 300), right, down) == pytest.approx(expected)


def test_a_drag_of_the_right_button_sets_the_window_and_keeps_the_camera(viewer):
    image = viewer.layers["FLAIR (T2f)"]
    before = tuple(image.contrast_limits)
    viewer.layers.selection.active = image
    event = Event(2, (50, 60))
    drag = drag_window(viewer, event)
    next(drag)
    assert not viewer.scene.camera.mouse_pan
    event.move(40, -20)
    next(drag)
    assert tuple(image.contrast_limits) == pytest.approx(dragged_window(before, 40, -20))
    event.type = "mouse_release"
    assert next(drag, None) is None
    assert viewer.scene.camera.mouse_pan
    assert tuple(viewer.layers["T2w"].contrast_limits) != tuple(image.contrast_limits)


def test_other_buttons_and_painting_are_left_alone(viewer, tiny_prediction):
    viewer.layers.selection.active = viewer.layers["T1c"]
    assert list(drag_window(viewer, Event(1, (0, 0)))) == []
    start_correction(viewer, tiny_prediction)
    assert list(drag_window(viewer, Event(2, (0, 0)))) == []


def test_the_help_key_asks_for_the_panel(tiny_study, tiny_prediction):
    asked = []

    class Window:
        def add_plugin_dock_widget(self, plugin, widget):
            asked.append((plugin, widget))

    class Viewer(ViewerModel):
        @property
        def window(self):
            return Window()

    viewer = fill(Viewer(), tiny_study, tiny_prediction)
    press(viewer, PICTURE_KEYS[HELP])
    assert asked == [("napari-uncseg", HELP_PANEL)]
    press(fill(ViewerModel(), tiny_study, tiny_prediction), PICTURE_KEYS[HELP])


def test_all_values_under_the_mouse_are_told_hidden_maps_too(viewer, tiny_prediction):
    viewer.layers["entropy (WT)"].visible = False
    layer = viewer.layers["unc_output"]
    place = np.unravel_index(int(np.argmax(layer.data)), layer.data.shape)
    world = layer.data_to_world(place)
    told = values_at(viewer, world)
    assert told["unc_output"] == f"{float(layer.data[place]):.3f}"
    assert told["entropy (WT)"] == f"{float(viewer.layers['entropy (WT)'].data[place]):.3f}"
    label = int(viewer.layers["Segmentation"].data[place])
    assert told["segmentation"] == {0: "none", 1: "NCR", 2: "ED", 3: "ET"}[label]
    viewer.cursor.position = tuple(world)
    show_values(viewer)
    words = viewer.canvas.overlays[VALUES].text
    assert "unc_output " + told["unc_output"] in words
    assert f"FLAIR (T2f) {float(viewer.layers['FLAIR (T2f)'].data[place]):.4g}" in words
    assert show_values in viewer.mouse_move_callbacks
    assert values_at(viewer, (1e6, 1e6, 1e6)) == {}
    for each in viewer.layers:
        each.visible = False
    assert values_at(viewer, world) == {}
