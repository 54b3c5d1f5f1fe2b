"""Pixels and lines of slices."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.layout import ComparisonState, Pane, PaneView
from napari_uncseg.compare.render import (
    FINER,
    LABEL_ALPHA,
    STEPS,
    Renderer,
    colour_table,
    coloured,
    cutter,
    filled,
    grey,
    scale_bar_mm,
)
from napari_uncseg.labels import LABEL_COLOURS, REGIONS, Label, region_masks
from napari_uncseg.viewer.orientation import PLANES


@pytest.mark.parametrize("plane", list(PLANES))
def test_a_cut_is_a_view_with_the_axes_of_its_plane(plane):
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    across, down, right = PLANES[plane]
    cut = cutter(PLANES[plane], 2)(array)
    assert np.array_equal(cut, np.moveaxis(array, (across, down, right), (0, 1, 2))[2])
    assert np.shares_memory(cut, array)


def test_grey_spans_the_window():
    values = np.array([[-5.0, 10.0, 20.0, 30.0, 99.0]])
    assert grey(values, (10.0, 30.0)).tolist() == [[0, 0, 128, 255, 255]]


def test_a_map_is_transparent_below_its_threshold_and_nowhere_above():
    upper = float(np.log(2))
    values = np.linspace(0, upper, 200, dtype=np.float32).reshape(10, 20)
    middle = slice(FINER // 2, None, FINER)  # of each voxel, where its own value stands
    alpha = coloured(values, "entropy", upper, 0.3 / upper)[middle, middle, 3]
    step = upper / STEPS
    assert (alpha[values < 0.3 - 2 * step] == 0).all()
    assert (alpha[values > 0.3 + 3 * step] == 255).all()


def test_between_voxels_values_are_interpolated_and_not_colours():
    values = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)
    row = coloured(values, "entropy", 1.0, 0.5)[FINER // 2]
    known = coloured(np.array([[2 / 3]], dtype=np.float32), "entropy", 1.0, 0.5)[0, 0]
    assert np.flatnonzero(row[:, 3]).tolist() == [3, 4, 5], "a third of the way to zero is above half"
    assert np.abs(row[3].astype(int) - known).max() <= 1


def test_the_colour_of_a_value_does_not_depend_on_the_threshold():
    low, high = colour_table("unc_output", 0.1), colour_table("unc_output", 0.5)
    above = slice(STEPS * 6 // 10, None)
    assert np.abs(low[above].astype(int) - high[above]).max() <= 1


def test_labels_have_their_colours_and_unknown_ones_show():
    pixels = filled(np.array([[0, 1, 2, 3, 9]]), {int(label): colour for label, colour in LABEL_COLOURS.items()})
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    for label in Label:
        expected = [round(255 * part) for part in (*LABEL_COLOURS[label][:3], LABEL_ALPHA)]
        assert pixels[0, int(label)].tolist() == expected
    assert pixels[0, 4, :3].tolist() == [255, 0, 255]


@pytest.fixture
def view(tiny_study, tiny_prediction):
    data = comparison_data(tiny_study, tiny_prediction)
    return PaneView(Pane("t1c", "entropy"), data, data.best_point)


def test_a_pane_is_an_image_a_map_and_contours(view, tiny_study):
    state, renderer = ComparisonState((view,)), Renderer()
    image, overlay = renderer.image(state, view), renderer.overlay(state, view)
    _, down, right = state.views[0].axes(state.cut)
    assert image.shape == (view.data.shape[down], view.data.shape[right])
    assert overlay.shape[:2] == (FINER * image.shape[0], FINER * image.shape[1])
    assert renderer.image(state, view) is image, "an unchanged slice is computed once"
    inside = image[image > 0]
    assert inside.size
    labels = view.data.overlays["segmentation"]
    plane = labels.array[view.slice_index(state.cut)]
    assert [each.region for each in renderer.outlines(state, view)] == [
        region for region, mask in zip(REGIONS, region_masks(plane), strict=True) if mask.any()
    ]
    both = renderer.outlines(dataclasses.replace(state, reference=True), view)
    assert [each.of_reference for each in both][:1] == [True], "the reference lies below"


@pytest.mark.parametrize(("overlay", "changes"), [("segmentation", {}), ("error", {}), ("entropy", {"outline": False})])
def test_contours_are_left_out_where_they_would_cover_something(view, overlay, changes):
    shown = dataclasses.replace(view, pane=Pane("t1c", overlay))
    assert Renderer().outlines(ComparisonState((shown,), **changes), shown) == []


def test_without_overlays_the_image_is_left(view):
    state, renderer = ComparisonState((view,), overlays=False), Renderer()
    assert renderer.overlay(state, view) is None
    assert renderer.outlines(state, view) == []
    assert renderer.image(state, view) is not None


@pytest.mark.parametrize(("width", "length"), [(240.0, 50), (150.0, 50), (100.0, 20), (31.0, 10), (3.1, 1)])
def test_scale_bars_have_round_lengths(width, length):
    assert scale_bar_mm(width) == length
