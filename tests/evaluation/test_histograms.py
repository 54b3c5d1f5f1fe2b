import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import PROBABILITY, case_from_arrays, upper_bound
from napari_uncseg.evaluation.histograms import histogram, moments
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.histograms import BINS, CODES, IS_ERROR, IS_TRUE, bin_edges, bin_indices, in_set
from napari_uncseg.metrics.voxel_sets import VoxelSet

UPPERS = (1.0, float(np.log(2.0)), 0.25)


def expected_bins(values, upper):
    return np.searchsorted(np.append(bin_edges(upper)[1:-1], np.inf), np.asarray(values, dtype=np.float64))


@pytest.mark.parametrize("upper", UPPERS)
def test_edges_rise_and_hold_thresholds_and_uniform_bins(upper):
    edges = bin_edges(upper)
    assert edges.shape == (BINS + 1,)
    assert (np.diff(edges)[1:] > 0).all()
    assert edges[0] == edges[1] == 0
    assert edges[-1] == upper
    for divisions in (10, 15, 20, 40, 50):
        for multiple in np.arange(divisions + 1) / divisions * upper:
            assert np.isclose(edges, multiple, rtol=1e-15, atol=0).any() or multiple < upper / 62


@pytest.mark.parametrize("upper", UPPERS)
def test_every_value_is_in_the_bin_that_encloses_it(upper):
    generator = np.random.default_rng(1)
    values = np.concatenate(
        [
            generator.random(50_000),
            10.0 ** generator.uniform(-44, 0, 50_000),
            1 - 10.0 ** generator.uniform(-9, 0, 50_000),
            generator.integers(0, 32768, 20_000) / 32767,
            bin_edges(),
            [0.0, 1e-45, 0.5, 1.0],
        ]
    )
    values = np.clip((values * upper).astype(np.float32), 0, np.float32(upper))
    values = np.concatenate([values, np.nextafter(values, np.float32(0))])
    np.testing.assert_array_equal(bin_indices(values, upper), expected_bins(values, upper))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
@settings(max_examples=80, deadline=None)
def test_any_float_is_in_the_bin_that_encloses_it(values):
    array = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(bin_indices(array), expected_bins(array, 1.0))


def values_of(case, name, region):
    return case.probability(region) if name == PROBABILITY else case.uncertainty(name, region)


@pytest.mark.parametrize("name", ["entropy", "variance", PROBABILITY])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("voxel_set", VoxelSet)
def test_histogram_is_that_of_the_voxel_set(case, name, region, voxel_set):
    """The fixture's probabilities are 0 beyond the brain, but for a voxel far off that is put there."""
    probabilities = case.probabilities.copy()
    probabilities[:, 0, 0, 0] = 0.3
    case = case_from_arrays(
        case.prediction.sum(axis=0) * 0 + np.choose(case.prediction[0], (0, 2)),
        np.choose(case.reference[0], (0, 2)) - 2 * case.reference[1] + 3 * case.reference[1],
        probabilities=probabilities,
        brain=case.brain,
        spacing=case.spacing,
    )
    assert not (case.brain | case.tumour)[0, 0, 0]
    everywhere = voxel_set is VoxelSet.ALL
    counted = histogram(case, name, region, outside=everywhere)
    sums = moments(case, name, region, outside=everywhere)
    upper = 1.0 if name == PROBABILITY else upper_bound(name)
    values = values_of(case, name, region).astype(np.float64)
    chosen = case.voxels(voxel_set, region)
    for codes, mask in ((IS_ERROR, case.failure(region)), (IS_TRUE, case.reference[REGIONS.index(region)])):
        for part, where in ((codes, mask), (~codes, ~mask)):
            some = values[chosen & where]
            bins = expected_bins(some, upper)
            both = in_set(voxel_set) & part
            np.testing.assert_array_equal(counted.counts[both].sum(axis=0), np.bincount(bins, minlength=BINS))
            for power in (1, 2):
                weights = np.bincount(bins, weights=some**power, minlength=BINS)
                np.testing.assert_allclose(sums[power - 1][both].sum(axis=0), weights, rtol=1e-12)
    assert counted.counts.dtype == counted.levels.dtype == np.int64


def test_levels_tell_ties_from_values_that_differ():
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    generator = np.random.default_rng(0)
    tied = generator.integers(0, 6, labels.shape) / 5
    case = case_from_arrays(labels, labels, maps={"tied": tied, "smooth": generator.random(labels.shape)})
    assert histogram(case, "tied", Region.WT).levels.sum() == 0
    smooth = histogram(case, "smooth", Region.WT)
    several = smooth.counts.sum(axis=0) >= 8
    assert (smooth.levels[several] > 0).mean() > 0.95


def test_a_map_is_binned_once(case):
    assert histogram(case, "entropy", Region.TC) is histogram(case, "entropy", Region.TC)
    assert histogram(case, "entropy", Region.TC).counts.shape == (len(CODES), BINS)
    whole = histogram(case, "entropy", Region.TC, outside=True)
    assert whole.counts.sum() == case.brain.size
    assert histogram(case, "entropy", Region.TC).counts.sum() == (case.brain | case.tumour).sum()


def test_unknown_map_is_named(case):
    with pytest.raises(EvaluationError, match=r"unc_output.*ET"):
        histogram(case, "unc_output", Region.ET)
