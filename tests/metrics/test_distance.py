"""Distances and openings, against scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_uncseg.metrics.morphology import distance_within, open_ball

MASKS = arrays(bool, (9, 7, 8), elements=st.booleans())
SPACINGS = [(1.0, 1.0, 1.0), (0.9, 0.9, 0.9), (0.01, 0.01, 0.01), (0.5, 1.0, 2.5)]


@settings(max_examples=60, deadline=None)
@given(
    MASKS,
    st.sampled_from([(1.0, 1.0, 1.0), (0.9, 0.9, 0.9), (0.01,) * 3, (0.5, 1.0, 2.5)]),
    st.sampled_from([1.0, 3.0, 20.0]),
)
def test_distances_are_exact_up_to_the_limit(mask, spacing, limit):
    expected = ndimage.distance_transform_edt(mask, sampling=spacing) if not mask.all() else np.full(mask.shape, np.inf)
    assert distance_within(mask, spacing, limit) == pytest.approx(np.minimum(expected, limit), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (11, 9, 10), elements=st.sampled_from([True] * 9 + [False])), st.sampled_from([1.0, 2.0]))
def test_opening_is_that_by_a_ball(mask, radius):
    reach = int(radius)
    ball = (np.indices((2 * reach + 1,) * 3) - reach) ** 2
    expected = ndimage.binary_opening(np.pad(mask, 4), structure=ball.sum(axis=0) <= radius**2)[4:-4, 4:-4, 4:-4]
    assert np.array_equal(open_ball(mask, radius), expected)


def test_a_plate_of_five_voxels_is_thick_and_one_of_four_is_not():
    for thickness, kept in ((4, False), (5, True)):
        plate = np.zeros((30, 30, 20), dtype=bool)
        plate[5:25, 5:25, 8 : 8 + thickness] = True
        assert open_ball(plate, 2.0).any() == kept
