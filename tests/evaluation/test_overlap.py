"""Dice, hd95 and volumes against MONAI, and surfaces and shells against loops over all voxels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.metrics.utils import get_code_to_measure_table
from scipy import ndimage

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.evaluation import Evaluation
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.table import result_of
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.metrics.surface import (
    boundary_shells,
    hd95,
    surface_voxels,
    surfel_areas,
    surfel_hd95,
    surfels,
)

# MONAI's own, about an argument it hands to itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

SPACING = (1.0, 1.5, 2.5)


def _blobs(seed, shape=(18, 16, 14), share=0.15):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 1 - share)


def _batch(mask):
    return torch.from_numpy(mask[None, None].astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_dice_and_hd95_are_monais(seed):
    # Also where masks reach the border of the array.
    prediction, reference = _blobs(seed), _blobs(seed + 100)
    expected = compute_dice(_batch(prediction), _batch(reference), include_background=True)
    assert dice(prediction, reference) == pytest.approx(expected.item(), abs=1e-6)
    expected = compute_hausdorff_distance(
        _batch(prediction), _batch(reference), include_background=True, percentile=95, spacing=SPACING
    )
    assert hd95(prediction, reference, SPACING) == pytest.approx(expected.item(), abs=1e-4)


def test_a_case_gives_what_monai_gives(case):
    for index, region in enumerate(REGIONS):
        metric = Overlap(region)
        metric.add(case)
        found = {value.metric: value for value in metric.per_case()}
        pair = [_batch(masks[index]) for masks in (case.prediction, case.reference)]
        distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=case.spacing)
        assert found["dice_any_size"].value == pytest.approx(
            compute_dice(*pair, include_background=True).item(), abs=1e-6
        )
        assert found["hd95_any_size"].value == pytest.approx(distance.item(), abs=1e-4)
        assert found["volume_reference"].value == pytest.approx(case.reference[index].sum() * 1.8e-3)
        assert found["volume_prediction"].unit == "mL"


def test_empty_masks():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert (dice(empty, empty), dice(empty, full), dice(full, empty), dice(full, full)) == (1, 0, 0, 1)
    assert hd95(empty, empty, SPACING) == surfel_hd95(empty, empty, SPACING) == 0
    assert hd95(full, empty, SPACING) == surfel_hd95(empty, full, SPACING) == 374
    assert hd95(empty, full, SPACING, empty=math.inf) == math.inf


def results_of(metric):
    """Of single cases and over them."""
    return [result_of(row) for row in Evaluation((metric,)).table.to_dict("records")]


@pytest.mark.parametrize(("side", "small"), [(9, True), (10, False)])
def test_a_small_reference_is_reported_apart(side, small):
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:side, :side, :side] = 3
    metric = Overlap(Region.ET)
    metric.add(case_from_arrays(np.roll(labels, 1, axis=0), labels, id="one"))
    metric.add(case_from_arrays(labels * 0, labels * 0, id="two"))
    found = {(value.metric, value.aggregation): value for value in results_of(metric) if value.case in ("one", None)}
    here, elsewhere = ("dice_small", "dice") if small else ("dice", "dice_small")
    assert found[here, "case"].value == pytest.approx(1 - 1 / side)
    assert math.isnan(found[elsewhere, "case"].value)
    assert ("not below 1 mL" in found[elsewhere, "case"].undefined) is not small
    # The empty reference of the second case counts among the small ones, and in the numbers over all sizes.
    assert found["dice_small", "mean"].count == (2 if small else 1)
    assert found["dice", "mean"].count == (0 if small else 1)
    assert found["dice_any_size", "mean"].value == pytest.approx((2 - 1 / side) / 2)
    assert found["hd95_any_size", "mean"].unit == "mm"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98))
def test_surface_voxels_have_a_neighbour_outside(seed, share):
    mask = np.random.default_rng(seed).random((5, 6, 4)) < share
    expected = mask & ~ndimage.binary_erosion(mask)
    points = np.rint(surface_voxels(mask, SPACING) / SPACING).astype(int)
    found = np.zeros_like(mask)
    found[tuple(points.T)] = True
    np.testing.assert_array_equal(found, expected)


def test_areas_of_surface_elements_are_those_of_the_challenge():
    table, weights = get_code_to_measure_table((1, 1, 1))
    corners = weights.numpy().reshape(8).astype(int)
    for code in range(256):
        theirs = sum(int(corners[bit]) for bit in range(8) if code >> bit & 1)
        assert surfel_areas((1.0, 1.0, 1.0))[code] == pytest.approx(float(table[theirs]), abs=1e-5)


def test_surface_elements_cover_a_box():
    mask = np.zeros((20, 20, 20), bool)
    mask[3:13, 5:15, 4:14] = True
    _, areas = surfels(mask, (1.0, 2.0, 3.0))
    # Edges and corners are cut off, so that the area stays a little below that of the box.
    assert 0.9 < areas.sum() / (2 * (10 * 20 + 10 * 30 + 20 * 30)) < 1


def test_a_shifted_box_lies_as_far_away_as_it_was_shifted():
    mask = np.zeros((24, 12, 12), bool)
    mask[2:10, 2:10, 2:10] = True
    shifted = np.roll(mask, 3, axis=0)
    assert surfel_hd95(mask, shifted, (2.0, 1.0, 1.0)) == hd95(mask, shifted, (2.0, 1.0, 1.0)) == 6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.999))
def test_shells_are_those_of_distances_to_the_other_side(seed, share):
    mask = np.random.default_rng(seed).random((9, 7, 8)) < share
    shells = boundary_shells(mask, SPACING, (1.0, 3.0, 6.0))
    if mask.all() or not mask.any():
        assert (shells == 3).all()
        return
    at = np.argwhere(np.ones_like(mask)) * SPACING
    sides = [at[mask.ravel()], at[~mask.ravel()]]
    distance = np.array(
        [
            np.sqrt(((sides[int(inside)] - point) ** 2).sum(1)).min()
            for point, inside in zip(at, mask.ravel(), strict=True)
        ]
    )
    np.testing.assert_array_equal(shells.ravel(), np.digitize(distance, [1 + 1e-6, 3 + 1e-6, 6 + 1e-6]))
