"""Pixels and lines of slices."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_uncseg.compare.data import comparison_data
from napari_uncseg.compare.layout import ComparisonState, Pane, PaneView
from napari_uncseg.compare.render import (
    LABEL_ALPHA,
    STEPS,
    Renderer,
    border,
    colour_table,
    coloured,
    cutter,
    filled,
    grey,
    scale_bar_mm,
)
from napari_uncseg.labels import LABEL_COLOURS, Label
from napari_uncseg.viewer.orientation import PLANES

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=8))


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
    alpha = coloured(values, "entropy", upper, 0.3 / upper)[..., 3]
    step = upper / STEPS
    assert (alpha[values < 0.3 - 2 * step] == 0).all()
    assert (alpha[values > 0.3 + 3 * step] == 255).all()


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


def drawn(lines):
    """Unit edges that lines cover."""
    edges = set()
    for x0, y0, x1, y1 in lines.astype(int).tolist():
        assert (x0 == x1) != (y0 == y1)
        steps = range(min(x0, x1), max(x0, x1)) if y0 == y1 else range(min(y0, y1), max(y0, y1))
        for step in steps:
            edge = ("level", step, y0) if y0 == y1 else ("upright", x0, step)
            assert edge not in edges, "an edge is drawn twice"
            edges.add(edge)
    return edges


@settings(max_examples=150, deadline=None)
@given(masks)
def test_a_border_is_every_edge_between_inside_and_outside(mask):
    expected = set()
    padded = np.pad(mask, 1)
    for row, column in np.argwhere(mask).tolist():
        above, below = padded[row, column + 1], padded[row + 2, column + 1]
        before, after = padded[row + 1, column], padded[row + 1, column + 2]
        expected |= {("level", column, row)} if not above else set()
        expected |= {("level", column, row + 1)} if not below else set()
        expected |= {("upright", column, row)} if not before else set()
        expected |= {("upright", column + 1, row)} if not after else set()
    assert drawn(border(mask)) == expected


@given(st.integers(1, 30), st.integers(1, 30))
def test_runs_in_one_line_are_joined(height, width):
    assert len(border(np.ones((height, width), bool))) == 4


@pytest.fixture
def view(tiny_study, tiny_prediction):
    data = comparison_data(tiny_study, tiny_prediction)
    return PaneView(Pane("t1c", "entropy"), data, data.best_point)


def test_a_pane_is_an_image_a_map_and_contours(view, tiny_study):
    state, renderer = ComparisonState((view,)), Renderer()
    image, overlay = renderer.image(state, view), renderer.overlay(state, view)
    _, down, right = state.views[0].axes(state.cut)
    assert image.shape == overlay.shape[:2] == (view.data.shape[down], view.data.shape[right])
    assert renderer.image(state, view) is image, "an unchanged slice is computed once"
    inside = image[image > 0]
    assert inside.size
    labels = view.data.overlays["segmentation"]
    plane = labels.array[view.slice_index(state.cut)]
    drawn_colours = [colour for colour, lines in renderer.outlines(state, view) if len(lines)]
    assert drawn_colours == [
        LABEL_COLOURS[label] for label in (Label.ED, Label.NCR, Label.ET) if (plane == label).any()
    ]


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
