"""Dilation in millimetres and bounding boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from napari_uncseg.metrics.morphology import bounding_box, dilate_mm


def _point(shape=(15, 15, 15), at=(7, 7, 7)):
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def test_a_point_becomes_a_ball():
    dilated = dilate_mm(_point(), (1, 1, 1), 5)
    offsets = np.argwhere(dilated) - 7
    assert (np.linalg.norm(offsets, axis=1) <= 5).all()
    assert len(offsets) == 515  # lattice points within radius 5
    assert dilated[7, 7, 12]
    assert dilated[7, 10, 11]  # 3-4-5


def test_anisotropic_voxels_count_in_millimetres():
    dilated = dilate_mm(_point(), (1, 2.5, 6), 5)
    x, y, z = (np.flatnonzero(dilated.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    assert (x.min(), x.max()) == (2, 12)
    assert (y.min(), y.max()) == (5, 9)
    assert (z.min(), z.max()) == (7, 7)


@pytest.mark.parametrize("mm", [0.0, 5.0])
def test_an_empty_mask_stays_empty_and_the_input_is_kept(mm):
    mask = np.zeros((5, 6, 7), bool)
    dilated = dilate_mm(mask, (1, 1, 1), mm)
    assert not dilated.any()
    assert dilated is not mask


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 3.0), st.floats(0.0, 6.0))
def test_the_box_changes_nothing(seed, size, mm):
    mask = np.random.default_rng(seed).random((12, 9, 10)) > 0.995
    spacing = (1.0, size, 1.5)
    expected = distance_transform_edt(~mask, sampling=spacing) <= mm * (1 + 1e-6) if mask.any() else mask
    np.testing.assert_array_equal(dilate_mm(mask, spacing, mm), expected)


def test_bounding_box():
    mask = _point((5, 6, 7), (0, 3, 6)) | _point((5, 6, 7), (2, 3, 4))
    assert bounding_box(mask) == (slice(0, 3), slice(3, 4), slice(4, 7))
    assert bounding_box(mask, margin=(1, 2, 1)) == (slice(0, 4), slice(1, 6), slice(3, 7))
    assert bounding_box(np.zeros((2, 2), bool)) is None
