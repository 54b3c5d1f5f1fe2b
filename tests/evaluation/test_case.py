import dataclasses

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import case_from_arrays, case_from_prediction, upper_bound
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy


def test_case_of_a_prediction_has_its_arrays(tiny_prediction, tiny_study):
    case = case_from_prediction(tiny_prediction, tiny_study.reference, brain=tiny_study.brain)
    assert case.id == tiny_study.id
    assert case.spacing == pytest.approx(tiny_study.spacing)
    assert case.voxel_ml == pytest.approx(tiny_study.voxel_ml)
    assert case.brain_known
    assert "error" not in case.maps
    np.testing.assert_array_equal(case.reference, region_masks(tiny_study.reference))
    np.testing.assert_array_equal(case.prediction, region_masks(tiny_prediction.segmentation))
    np.testing.assert_array_equal(case.failure(Region.WT), tiny_prediction.maps["error"] > 0)
    np.testing.assert_array_equal(case.tumour, dilate_mm(case.prediction[0] | case.reference[0], case.spacing, 5.0))


def test_derived_things_are_made_once(case):
    assert case.failure(Region.TC) is case.failure(Region.TC)
    assert case.tumour is case.tumour
    calls = []
    assert case.once("thing", lambda: calls.append(1) or 7) == case.once("thing", lambda: calls.append(1) or 8) == 7
    assert len(calls) == 1


def test_stored_maps_are_of_the_whole_tumour_and_others_are_computed(case):
    assert case.uncertainties(Region.WT) == ("unc_output", "entropy", "variance")
    assert case.uncertainties(Region.ET) == ("entropy", "variance")
    assert np.shares_memory(case.uncertainty("entropy", Region.WT), case.maps["entropy"])
    np.testing.assert_array_equal(case.uncertainty("entropy", Region.TC), entropy(case.probabilities[1]))
    np.testing.assert_array_equal(case.uncertainty("variance", Region.WT), bernoulli_variance(case.probabilities[0]))
    some = np.array([5, 9000, 17000])
    for name, region in (("entropy", Region.WT), ("variance", Region.ET)):
        np.testing.assert_array_equal(
            case.uncertainty_at(name, region, some), case.uncertainty(name, region).ravel()[some]
        )
    with pytest.raises(EvaluationError, match=r"unc_output.*TC"):
        case.uncertainty("unc_output", Region.TC)
    with pytest.raises(EvaluationError, match="entropy, variance"):
        case.uncertainty_at("mine", Region.ET, some)


def test_map_with_the_name_of_a_region_is_that_regions(case):
    own = np.full(case.shape, 0.125, dtype=np.float32)
    with_own = dataclasses.replace(case, maps={**case.maps, "entropy-et": own, "mine-tc": own})
    assert np.shares_memory(with_own.uncertainty("entropy", Region.ET), own)
    assert with_own.uncertainties(Region.TC) == ("mine", "entropy", "variance")
    assert with_own.uncertainties(Region.WT) == case.uncertainties(Region.WT)


def test_variance_between_members_is_not_made_up(case):
    several = dataclasses.replace(case, member_count=8)
    assert several.uncertainties(Region.TC) == ("entropy",)
    with pytest.raises(EvaluationError, match="variance"):
        several.uncertainty("variance", Region.TC)


def test_case_without_probabilities_says_so(case):
    bare = dataclasses.replace(case, probabilities=None)
    assert bare.uncertainties(Region.WT) == ("unc_output", "entropy")
    for ask in (lambda: bare.probability(Region.WT), lambda: bare.uncertainty("entropy", Region.ET)):
        with pytest.raises(EvaluationError):
            ask()


def test_unknown_brain_is_the_whole_volume_and_is_told():
    labels = np.zeros((4, 5, 6), dtype=np.uint8)
    case = case_from_arrays(labels, labels)
    assert case.brain.all()
    assert not case.brain_known


def test_arrays_of_any_order_and_kind_are_taken():
    labels = np.asfortranarray(np.random.default_rng(0).integers(0, 4, (5, 6, 7)))
    case = case_from_arrays(labels.astype(np.float64), labels.tolist(), maps={"entropy": np.full((5, 6, 7), np.log(2))})
    assert case.prediction.flags.c_contiguous
    np.testing.assert_array_equal(case.prediction, case.reference)
    assert case.maps["entropy"].dtype == np.float32
    assert upper_bound("entropy-et") == pytest.approx(np.log(2))
    assert upper_bound("mine") == 1.0


GOOD = np.zeros((4, 5, 6), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arguments", "array"),
    [
        ({"reference": GOOD[0]}, "reference"),
        ({"segmentation": GOOD[:3]}, "segmentation"),
        ({"segmentation": GOOD + 4}, "segmentation"),
        ({"reference": GOOD.astype(int) - 1}, "reference"),
        ({"reference": GOOD + 0.5}, "reference"),
        ({"reference": np.full(GOOD.shape, np.nan)}, "reference"),
        ({"probabilities": np.zeros(GOOD.shape)}, "array of probabilities"),
        ({"probabilities": np.full((3, *GOOD.shape), 1.1)}, "array of probabilities"),
        ({"maps": {"mine": np.full(GOOD.shape, np.nan)}}, "map 'mine'"),
        ({"maps": {"variance": np.full(GOOD.shape, 0.5)}}, "map 'variance'"),
        ({"maps": {"mine": np.full(GOOD.shape, -0.5)}}, "map 'mine'"),
        ({"brain": GOOD[:2]}, "brain mask"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, 1.0)}, "spacing"),
    ],
)
def test_bad_arrays_are_refused_by_name(arguments, array):
    with pytest.raises(EvaluationError, match=f"^Case P7: the {array} "):
        case_from_arrays(**{"segmentation": GOOD, "reference": GOOD, "id": "P7", **arguments})


def test_voxel_sets(case):
    wt, et = region_index(Region.WT), region_index(Region.ET)
    assert case.voxels(VoxelSet.ALL, Region.ET).all()
    assert case.voxels(VoxelSet.BRAIN, Region.ET) is case.brain
    assert case.voxels(VoxelSet.TUMOUR, Region.ET) is case.tumour
    np.testing.assert_array_equal(case.voxels(VoxelSet.UNION, Region.ET), case.prediction[et] | case.reference[et])
    np.testing.assert_array_equal(case.voxels(VoxelSet.REFERENCE, Region.ET), case.reference[et])
    np.testing.assert_array_equal(case.voxels(VoxelSet.PREDICTION, Region.WT), case.prediction[wt])
    assert set(VOXEL_SET_TITLES) == set(VoxelSet)


def region_index(region):
    return REGIONS.index(region)
