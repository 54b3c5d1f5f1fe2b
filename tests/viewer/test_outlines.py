"""Which lines a viewer draws, and which colours its legend names; without a window."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_uncseg.labels import REFERENCE_COLOUR, REGION_COLOURS, REGIONS, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.viewer.colormaps import EXTRA, MISSED, error_kinds
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.orientation import PLANES
from napari_uncseg.viewer.outlines import LEGEND, OUTLINES
from napari_uncseg.viewer.picture import values_at


@pytest.fixture
def viewer(tiny_study, tiny_prediction):
    model = ViewerModel()
    add_study(model, tiny_study)
    add_prediction(model, tiny_prediction)
    return model


def lines(viewer):
    return viewer.scene.overlays[OUTLINES].lines


def legend(viewer):
    overlays = (viewer.canvas.overlays[f"uncseg_legend {text}"] for text in LEGEND)
    return {each.text.split()[-1] for each in overlays if each.visible}


def colours(drawn):
    return {tuple(np.round(colour, 2)) for colour in drawn.colours[:, :3].tolist()}


@pytest.mark.parametrize("plane", list(PLANES))
def test_lines_lie_round_the_regions_of_the_slice_on_show(viewer, plane):
    viewer.dims.order = PLANES[plane]
    across, down, right = PLANES[plane]
    layer = viewer.layers["Segmentation"]
    (drawn,) = lines(viewer)
    index = round(float(layer.world_to_data(viewer.dims.point)[across]))
    places = np.argwhere(np.take(np.asarray(layer.data), index, axis=across) > 0)
    places = places if down < right else places[:, ::-1]
    for column, axis in enumerate((right, down)):
        ends = places[:, 1 - column].min() - 0.5, places[:, 1 - column].max() + 0.5
        expected = [layer.translate[axis] + layer.scale[axis] * end for end in ends]
        found = drawn.points[:, column].min(), drawn.points[:, column].max()
        assert found == pytest.approx(expected, abs=1e-3)


def test_regions_have_hues_of_their_own_and_the_reference_is_dashed(viewer):
    assert legend(viewer) == set(REGIONS)
    (drawn,) = lines(viewer)
    assert colours(drawn) <= {tuple(np.round(colour[:3], 2)) for colour in REGION_COLOURS.values()}
    assert drawn.connect.mean() > 0.9
    viewer.layers["Reference"].visible = True
    reference = next(each for each in lines(viewer) if colours(each) == {REFERENCE_COLOUR[:3]})
    assert 0.3 < reference.connect.mean() < 0.7
    assert legend(viewer) == {*REGIONS, "reference"}
    viewer.layers["Segmentation"].visible = False
    assert lines(viewer) == (reference,)
    assert legend(viewer) == {"reference"}


def test_without_a_contour_labels_are_filled_and_named(viewer):
    viewer.layers["Segmentation"].contour = 0
    assert lines(viewer) == ()
    assert legend(viewer) == {"NCR", "ED", "ET"}


def test_lines_follow_slice_opacity_and_data(viewer):
    layer = viewer.layers["Segmentation"]
    layer.opacity = 0.5
    assert set(lines(viewer)[0].colours[:, 3].tolist()) == {0.5}
    viewer.dims.set_point(0, viewer.dims.range[0].start)
    assert lines(viewer) == ()
    layer.data = np.ones_like(layer.data)
    assert len(lines(viewer)) == 1
    viewer.dims.ndisplay = 3
    assert lines(viewer) == ()
    viewer.dims.ndisplay = 2
    viewer.layers.remove(layer)
    assert lines(viewer) == ()


def test_errors_are_missed_or_extra(viewer, tiny_study, tiny_prediction):
    kinds = error_kinds(tiny_prediction, MapName("error"))
    predicted, true = (region_masks(labels)[0] for labels in (tiny_prediction.segmentation, tiny_study.reference))
    assert np.array_equal(kinds == MISSED, true & ~predicted)
    assert np.array_equal(kinds == EXTRA, predicted & ~true)
    layer = viewer.layers["error (WT)"]
    assert not layer.colorbar.visible
    layer.visible = True
    assert {"missed", "extra"} <= legend(viewer)
    told = set()
    for value in np.unique(layer.data):
        place = np.argwhere(np.asarray(layer.data) == value)[0]
        told.add(values_at(viewer, layer.data_to_world(place))["error (WT)"])
    assert told == {"none", "missed", "extra"}
