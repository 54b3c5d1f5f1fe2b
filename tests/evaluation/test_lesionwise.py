"""The golden cases of the BraTS 2023 challenge's own script, and its rules one by one."""

import numpy as np
import pytest

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.overlap import Lesionwise2023
from napari_uncseg.evaluation.table import over_cases, to_frame
from napari_uncseg.labels import Region
from napari_uncseg.metrics.lesionwise import score_lesions

BIG = ((10, 10, 10), 10)


def _cubes(*cubes, size=60):
    mask = np.zeros((size,) * 3, bool)
    for corner, side in cubes:
        mask[tuple(slice(start, start + side) for start in corner)] = True
    return mask


def _values(prediction, reference, **settings):
    """Lesion-wise values of WT by short names."""
    metric = Lesionwise2023(Region.WT, **settings)
    metric.add(case_from_arrays(prediction.astype(np.uint8) * 2, reference.astype(np.uint8) * 2))
    return {value.metric.removeprefix("lesionwise_2023_"): value.value for value in metric.per_case()}


# Dice and hd95 as the challenge's script gives them for these cubes in a volume of 60 x 60 x 60 voxels.
GOLDEN = {
    "perfect": (_cubes(BIG), _cubes(BIG), 1.0, 0.0),
    "a false voxel far away": (_cubes(BIG, ((50,) * 3, 1)), _cubes(BIG), 0.5, 187.0),
    "a missed lesion of 27 voxels": (_cubes(BIG), _cubes(BIG, ((50,) * 3, 3)), 1.0, 0.0),
    "a missed lesion of 64 voxels": (_cubes(BIG), _cubes(BIG, ((50,) * 3, 4)), 0.5, 187.0),
    "empty reference": (_cubes(BIG), _cubes(), 0.0, 374.0),
    "both empty": (_cubes(), _cubes(), 1.0, 0.0),
    "two cubes 4 apart are one lesion": (_cubes(BIG), _cubes(BIG, ((24,) * 3, 4)), 0.969, 11.18),
    "an island 2 voxels away": (_cubes(BIG, ((22, 12, 12), 2)), _cubes(BIG), 0.996, 0.0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_cases(name):
    prediction, reference, dice, hd95 = GOLDEN[name]
    found = _values(prediction, reference)
    assert found["dice"] == pytest.approx(dice, abs=5e-4)
    assert found["hd95"] == pytest.approx(hd95, abs=5e-3)


def test_counts_of_the_golden_cases():
    counts = {
        name: tuple(_values(prediction, reference)[count] for count in ("tp", "fp", "fn", "dropped"))
        for name, (prediction, reference, _, _) in GOLDEN.items()
    }
    assert counts == {
        "perfect": (1, 0, 0, 0),
        "a false voxel far away": (1, 1, 0, 0),
        "a missed lesion of 27 voxels": (1, 0, 0, 1),
        "a missed lesion of 64 voxels": (1, 0, 1, 0),
        "empty reference": (0, 1, 0, 0),
        "both empty": (0, 0, 0, 0),
        "two cubes 4 apart are one lesion": (1, 0, 0, 0),
        "an island 2 voxels away": (1, 0, 0, 0),
    }


def test_dilations_decide_what_is_one_lesion():
    reference = _cubes(((5, 5, 5), 5), ((16, 5, 5), 5), size=30)
    # Six voxels lie between the cubes: three dilations from both sides touch, two do not.
    assert len(score_lesions(reference, reference, (1, 1, 1)).dice) == 1
    assert len(score_lesions(reference, reference, (1, 1, 1), dilations=2).dice) == 2


def test_one_component_may_serve_two_lesions_and_two_one():
    first, second = ((5, 10, 10), 5), ((20, 10, 10), 5)
    reference = _cubes(first, second, size=32)
    bridge = reference.copy()
    bridge[5:25, 12, 12] = True
    scores = score_lesions(bridge, reference, (1, 1, 1))
    assert (scores.tp, scores.fp, scores.fn) == (2, 0, 0)
    assert scores.dice == pytest.approx([2 * 125 / (125 + 260)] * 2)

    halves = reference.copy()
    halves[7] = False
    scores = score_lesions(halves, reference, (1, 1, 1))
    assert scores.dice == pytest.approx([200 / 225, 1])
    assert scores.fp == 0


@pytest.mark.parametrize(("spacing", "counts"), [((1.0, 1.0, 50 / 27), False), ((1.0, 1.0, 1.9), True)])
def test_a_lesion_must_be_larger_than_50_cubic_millimetres(spacing, counts):
    reference = _cubes(((5, 5, 5), 3), size=16)
    scores = score_lesions(reference, reference, spacing)
    assert (len(scores.dice), scores.dropped) == (int(counts), int(not counts))
    assert scores.fp == 0  # what lies on a lesion too small to count is not false either


def test_a_component_on_a_dropped_lesion_is_not_false_but_one_beyond_it_is():
    reference = _cubes(((5, 5, 5), 2), size=24)
    assert score_lesions(_cubes(((9, 5, 5), 1), size=24), reference, (1, 1, 1)).fp == 0
    assert score_lesions(_cubes(((10, 5, 5), 1), size=24), reference, (1, 1, 1)).fp == 1


def test_pooled_scores_are_those_of_all_lesions():
    reference = _cubes(((2, 2, 2), 5), ((16, 16, 16), 5), size=24)
    partly = _cubes(((2, 2, 2), 5), size=24)
    metric = Lesionwise2023(Region.WT)
    for number, prediction in enumerate((reference, partly)):
        labels = (mask.astype(np.uint8) for mask in (prediction, reference))
        metric.add(case_from_arrays(*labels, id=str(number)))
    pooled = {value.metric: value for value in metric.pooled()}
    assert pooled["lesionwise_2023_dice"].value == pytest.approx(3 / 4)
    assert pooled["lesionwise_2023_hd95"].value == pytest.approx(374 / 4)
    assert pooled["lesionwise_2023_dice"].count == 4
    means = over_cases(to_frame(metric.per_case())).query("aggregation == 'mean'").set_index("metric")["value"]
    assert means["lesionwise_2023_dice"] == pytest.approx((1 + 1 / 2) / 2)


def test_naive_matching_agrees_on_random_blobs():
    from scipy import ndimage

    full = np.ones((3, 3, 3), bool)
    cross = ndimage.generate_binary_structure(3, 2)
    for seed in range(6):
        generator = np.random.default_rng(seed)
        masks = [ndimage.gaussian_filter(generator.normal(size=(30, 28, 26)), 1.6) > 0.12 for _ in range(2)]
        prediction, reference = masks
        zones, _ = ndimage.label(ndimage.binary_dilation(reference, cross, iterations=1), full)
        components, number = ndimage.label(prediction, full)
        dice, matched = [], set()
        for zone in range(1, zones.max() + 1):
            lesion = reference & (zones == zone)
            touching = set(np.unique(components[zones == zone])) - {0}
            matched |= touching
            found = np.isin(components, list(touching))
            if lesion.sum() > 50:
                dice.append(2 * (found & lesion).sum() / (found.sum() + lesion.sum()))
        scores = score_lesions(prediction, reference, (1, 1, 1), dilations=1)
        np.testing.assert_allclose(scores.dice, dice)
        assert scores.fp == number - len(matched)
