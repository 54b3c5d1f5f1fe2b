"""Axes, places and the way back, for every orientation a file can have."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from napari_uncseg.viewer.orientation import display_affine, display_grid, from_display, oblique_warning, to_display

SHAPE = (5, 7, 9)
CODES = [codes for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


def affine_of(codes, spacing=(1.0, 2.0, 3.0)):
    """Affine of a volume whose axes point to `codes`, somewhere in space."""
    base = np.diag([*spacing, 1.0])
    base[:3, 3] = (-11.5, 4.25, 30.0)
    return base @ inv_ornt_aff(axcodes2ornt(codes), SHAPE)


@pytest.fixture
def array():
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.mark.parametrize("codes", CODES, ids="".join)
def test_every_voxel_lies_where_its_affine_says(codes, array):
    affine = affine_of(codes)
    shown = to_display(array, affine)
    grid = display_grid(SHAPE, affine)
    assert not grid.oblique
    for voxel in itertools.product((0, SHAPE[0] - 1), (0, SHAPE[1] - 1), (0, 2)):
        right, anterior, superior, _ = affine @ (*voxel, 1)
        index = (np.array([-superior, -anterior, -right]) - grid.translate) / grid.scale
        assert index == pytest.approx(np.rint(index))
        assert shown[tuple(np.rint(index).astype(int))] == array[voxel]


@pytest.mark.parametrize("codes", CODES, ids="".join)
def test_round_trip_is_exact_and_copies_nothing(codes, array):
    affine = affine_of(codes)
    shown = to_display(array, affine)
    assert np.shares_memory(shown, array)
    assert np.array_equal(from_display(shown, affine), array)


def test_display_affine_is_the_way_back_to_the_patient():
    affine = affine_of("LPS")
    grid = display_grid(SHAPE, affine)
    back = display_affine(grid.scale, grid.translate)
    assert nib.aff2axcodes(back) == ("I", "P", "L")
    # The first voxel as displayed is the left-most, uppermost, foremost one of the file or its mirror image.
    ras = apply_affine(affine, list(itertools.product(*[(0, size - 1) for size in SHAPE])))
    assert apply_affine(back, (0, 0, 0)) == pytest.approx((ras[:, 0].max(), ras[:, 1].max(), ras[:, 2].max()))


def test_an_oblique_grid_keeps_its_centre_and_spacing():
    affine = affine_of("RAS")
    tilt = np.radians(12)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    tilted = rotation @ affine
    grid = display_grid(SHAPE, tilted)
    assert grid.oblique
    assert grid.scale == pytest.approx((3.0, 2.0, 1.0))
    centre = apply_affine(tilted, (np.array(SHAPE) - 1) / 2)
    shown = np.array(grid.translate) + np.array(grid.scale) * (np.array(SHAPE[::-1]) - 1) / 2
    assert shown == pytest.approx(-centre[::-1])
    assert "12°" in oblique_warning(tilted)
