"""Lines round masks and nested regions in a slice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path

from napari_uncseg.labels import REGIONS, Label, Region
from napari_uncseg.viewer.contours import contour, region_contours

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=8))


@settings(max_examples=100, deadline=None)
@given(masks)
def test_a_contour_holds_the_centres_of_its_voxels_and_no_others(mask):
    lines = contour(mask)
    assert all((line[0] == line[-1]).all() for line in lines), "each is closed"
    centres = np.argwhere(np.ones_like(mask))[:, ::-1] + 0.5
    crossings = sum((Path(line).contains_points(centres).astype(int) for line in lines), np.zeros(mask.size, int))
    assert np.array_equal(crossings % 2 == 1, mask.ravel())


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_line_runs_along_the_edges_of_voxels(height, width):
    (line,) = contour(np.ones((height, width), bool))
    assert line.min(axis=0).tolist() == [0, 0]
    assert line.max(axis=0).tolist() == [width, height]


def test_regions_are_nested_and_the_innermost_comes_last():
    labels = np.zeros((9, 9), np.uint8)
    labels[1:8, 1:8] = Label.ED
    labels[2:6, 2:6] = Label.NCR
    labels[3:5, 3:5] = Label.ET
    found = dict(region_contours(labels))
    assert list(found) == list(REGIONS)
    assert [float(np.ptp(found[region][0], axis=0)[0]) for region in REGIONS] == [7, 4, 2]
    assert [region for region, _ in region_contours(np.where(labels == Label.ED, Label.ED, 0))] == [Region.WT]
    assert list(region_contours(np.zeros((4, 4), np.uint8))) == []
