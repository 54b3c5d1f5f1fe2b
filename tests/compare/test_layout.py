"""Moving through a state: slices, crosshair, windows, and patients that are cut apart."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.layout import ComparisonState, Cut, Pane, PaneView, caption
from napari_uncseg.viewer.orientation import PLANES


@pytest.fixture
def data(tiny_study, tiny_prediction):
    return comparison_data(tiny_study, tiny_prediction)


@pytest.fixture
def state(data):
    keys = ("segmentation", "error", "unc_output", "variance", "entropy", "")
    return ComparisonState(tuple(PaneView(Pane("t1c", key), data) for key in keys), Cut(point=data.best_point))


def slices(state):
    return [view.slice_index(state.cut) for view in state.views]


@pytest.mark.parametrize("plane", list(PLANES))
def test_all_panes_scroll_together_and_stop_at_the_ends(state, data, plane):
    state = dataclasses.replace(state, cut=dataclasses.replace(state.cut, plane=plane))
    start = slices(state)
    assert len(set(start)) == 1
    assert slices(state.scrolled(2)) == [start[0] + 2] * 6
    last = data.shape[PLANES[plane][0]] - 1
    assert slices(state.scrolled(10_000)) == [last] * 6
    assert slices(state.scrolled(-10_000)) == [0] * 6


def test_planes_of_their_own_scroll_along_their_own_axes(data):
    views = tuple(PaneView(Pane("t1c", plane=plane), data) for plane in PLANES)
    state = ComparisonState(views, Cut(point=data.best_point))
    start = slices(state)
    for number, plane in enumerate(PLANES):
        moved = slices(state.scrolled(2, within=number))
        assert moved == [place + 2 * (place_of == number) for place_of, place in enumerate(start)], plane
    assert slices(state.pointed(views[1], (data.world(0, 5), 0, data.world(2, 7)))) == [5, start[1], 7]
    assert caption(state).startswith("Three planes: ")


def test_one_patient_scrolls_alone(data):
    views = tuple(PaneView(Pane("t1c"), data, origin=data.best_point) for _ in range(3))
    state = ComparisonState(views, Cut())
    here = slices(state)[0]
    assert slices(state.scrolled(3, alone=1)) == [here, here + 3, here]
    assert slices(state.scrolled(3, alone=1).scrolled(-1)) == [here - 1, here + 2, here - 1]


def test_the_crosshair_goes_where_it_is_pointed_and_stays_in_the_volume(state, data):
    _, down, right = state.views[0].axes(state.cut)
    moved = state.pointed(state.views[0], tuple(data.world(axis, (0, 5.2, 9.9)[axis]) for axis in range(3)))
    assert data.index(down, moved.cut.point[down]) == 5
    assert data.index(right, moved.cut.point[right]) == 10
    assert slices(moved) == slices(state)
    outside = state.pointed(state.views[0], (0, 1e5, -1e5))
    assert data.index(down, outside.cut.point[down]) == data.shape[down] - 1
    assert outside.cut.point[right] == pytest.approx(data.world(right, 0))


def test_a_window_belongs_to_a_modality_in_all_panes(state, data):
    low, high = data.windows["t1c"]
    wider = state.windowed("t1c", 0.0, 1.0)
    assert wider.window_of(state.views[0]) == pytest.approx((low - (high - low) / 2, high + (high - low) / 2))
    assert wider.window_of(state.views[5]) == wider.window_of(state.views[0])
    flair = PaneView(Pane("t2f"), data)
    assert wider.window_of(flair) == data.windows["t2f"]
    narrowest = state.windowed("t1c", 0.0, -100.0).window_of(state.views[0])
    assert narrowest[1] > narrowest[0]


def test_a_common_scale_is_the_largest_range_on_show(state, data):
    entropy, variance = data.overlays["entropy"], data.overlays["variance"]
    assert state.range_of(variance) == 0.25
    common = dataclasses.replace(state, common_scale=True)
    assert common.range_of(variance) == common.range_of(entropy) == 1.0
    assert common.colours_of(variance) == common.colours_of(entropy) == "unc_output"
    two = dataclasses.replace(common, views=tuple(view for view in state.views if view.pane.overlay != "unc_output"))
    assert two.range_of(variance) == pytest.approx(np.log(2))


def test_zoomed_pictures_are_brought_to_the_crosshair(state, data):
    assert state.centred().cut.shift == (0.0, 0.0, 0.0)
    zoomed = dataclasses.replace(state, cut=dataclasses.replace(state.cut, zoom=3.0))
    expected = np.subtract(state.cut.point, data.middle)
    assert zoomed.centred().cut.shift == pytest.approx(expected)


def test_values_under_the_cursor(data, tiny_study, tiny_prediction):
    voxel = (17, 25, 20)
    right, anterior, superior, _ = tiny_study.affine @ (*voxel, 1)
    values = data.values_at((-superior, -anterior, -right))
    assert values["T1c"] == f"{tiny_study.images[(0, *voxel)]:.0f}"
    assert values["entropy (WT)"] == f"{tiny_prediction.maps['entropy'][voxel]:.3f}"
    assert values["Segmentation"] == "NCR"
    assert data.values_at((1e4, 0.0, 0.0)) == {}


def test_the_caption_says_how_to_make_the_picture_again(state, data, tiny_study):
    words = caption(dataclasses.replace(state, thresholds={"unc_output": 0.4}))
    index = state.views[0].slice_index(state.cut)
    assert f"Axial plane: {tiny_study.id}, slice {data.shape[0] - index} of {data.shape[0]}." in words
    assert "unc_output 0.4 to 1 (predicted probability of error)" in words
    assert "variance (WT) 0.02 to 0.25" in words
    low, high = data.windows["t1c"]
    assert f"T1c {low:.4g} to {high:.4g}" in words
    assert "made for tests (00000000)" in words
    assert "Research use only" in words
    assert "contours of the predicted segmentation" in words
    assert "the reference (white, dashed)" in caption(dataclasses.replace(state, reference=True))
    assert "one common scale" in caption(dataclasses.replace(state, common_scale=True))
