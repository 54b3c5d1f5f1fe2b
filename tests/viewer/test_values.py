"""What a result says of a place when its images are not open."""

import dataclasses

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_uncseg.viewer.bindings import bind_viewer
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.picture import LEAST_POINTS, TITLE, TITLE_POINTS, VALUES, show_values, values_at


@pytest.fixture
def viewer(tiny_prediction):
    model = ViewerModel()
    add_prediction(model, tiny_prediction)
    return model


def peak(viewer, name="unc_output"):
    """Place of a map's largest value, in world coordinates, and that value as it is told."""
    layer = viewer.layers[name]
    place = np.unravel_index(int(np.argmax(layer.data)), layer.data.shape)
    return tuple(layer.data_to_world(place)), f"{float(layer.data[place]):.3f}"


def test_a_result_alone_tells_its_values(viewer):
    world, value = peak(viewer)
    told = values_at(viewer, world)
    assert told["unc_output"] == value
    assert {"segmentation", "entropy (WT)"} <= set(told)
    viewer.cursor.position = world
    show_values(viewer)
    assert f"unc_output {value}" in viewer.canvas.overlays[VALUES].text
    assert values_at(viewer, (1e6, 1e6, 1e6)) == {}


def test_values_follow_the_slice_and_go_when_the_picture_moves_below_the_mouse(viewer):
    bind_viewer(viewer)
    world, value = peak(viewer)
    viewer.dims.set_point(0, 0.0)
    viewer.cursor.position = (0.0, *world[1:])
    show_values(viewer)
    words = viewer.canvas.overlays[VALUES]
    assert f"unc_output {value}" not in words.text
    viewer.dims.set_point(0, world[0])
    assert f"unc_output {value}" in words.text
    viewer.scene.camera.center = (0.0, 1.0, 1.0)
    assert (words.text, words.visible) == ("", False)


def test_of_several_results_the_topmost_that_is_seen_there_tells(viewer, tiny_prediction):
    world, value = peak(viewer)
    below = list(viewer.layers)
    sure = {name: np.zeros_like(values) for name, values in tiny_prediction.maps.items()}
    add_prediction(viewer, dataclasses.replace(tiny_prediction, study_id="other", maps=sure))
    above = [layer for layer in viewer.layers if layer not in below]
    assert values_at(viewer, world)["unc_output"] == "0.000"
    for layer in above:
        layer.visible = False
    assert values_at(viewer, world)["unc_output"] == value
    for layer in above:
        layer.visible = True
        layer.translate = (1e4, 0, 0)  # it lies elsewhere
    assert values_at(viewer, world)["unc_output"] == value


@pytest.mark.parametrize(("width", "least", "most"), [(1200, TITLE_POINTS, TITLE_POINTS), (260, LEAST_POINTS, 10.0)])
def test_the_title_leaves_the_middle_to_its_letter(tiny_study, width, least, most):
    model = ViewerModel()
    add_study(model, dataclasses.replace(tiny_study, id="UNCSEG-phantom-00026"))
    bind_viewer(model)
    model.canvas.size = (600, width)
    assert least <= model.canvas.overlays[TITLE].font_size <= most
