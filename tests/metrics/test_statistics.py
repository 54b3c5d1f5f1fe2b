"""Statistics against scipy, plain loops and hand-computed numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from napari_uncseg.errors import EvaluationError
from napari_uncseg.metrics.statistics import (
    bootstrap_bca,
    hodges_lehmann,
    mann_whitney,
    paired_difference,
    partial_spearman,
)


def test_bootstrap_is_scipys_bca_and_repeats_itself():
    values = np.random.default_rng(1).gamma(2, size=40)
    found = bootstrap_bca(values, n=999, seed=3)
    expected = stats.bootstrap((values,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(3))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval))
    assert (found.estimate, found.method, found.count) == (pytest.approx(values.mean()), "BCa", 40)
    assert bootstrap_bca(values, n=999, seed=3) == found
    assert bootstrap_bca([*values, math.nan], n=999, seed=3) == found


def test_bca_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(0)
    inside = [
        (found := bootstrap_bca(generator.exponential(size=40), n=400, seed=seed)).low <= 1 <= found.high
        for seed in range(200)
    ]
    assert 0.88 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_bootstrap_of_little(statistic):
    same = bootstrap_bca([0.5] * 6, statistic)
    assert (same.estimate, same.low, same.high) == (0.5, 0.5, 0.5)
    one, none = bootstrap_bca([0.5], statistic), bootstrap_bca([math.nan], statistic)
    assert (one.estimate, one.count, one.undefined) == (0.5, 1, "fewer than four studies")
    assert math.isnan(one.low)
    three, four = bootstrap_bca([0.1, 0.2, 0.6], statistic), bootstrap_bca([0.1, 0.2, 0.6, 0.7], statistic)
    assert math.isnan(three.low), "resamples of three reach their range too often"
    assert 0.1 <= four.low < four.estimate < four.high <= 0.7
    assert math.isnan(none.estimate)
    assert none.count == 0


def test_where_bca_does_not_exist_the_percentiles_answer():
    found = bootstrap_bca([0.0] * 30 + [1.0], np.median, n=200)
    assert (found.method, found.low, found.high) == ("percentile", 0, 0)


def test_paired_difference_leaves_out_unpaired_patients():
    generator = np.random.default_rng(2)
    first = generator.random(30)
    second = first - 0.1 + 0.02 * generator.normal(size=30)
    found = paired_difference([*first, 1.0, math.nan], [*second, math.nan, 1.0], n=500)
    assert found.count == found.mean.count == 30
    assert found.mean.low < 0.1 < found.mean.high
    assert found.mean.low > 0.08
    assert found.p_value == pytest.approx(stats.wilcoxon(first - second).pvalue)
    assert paired_difference(first, first).p_value == 1
    with pytest.raises(EvaluationError):
        paired_difference([1.0], [1.0, 2.0])


def test_mann_whitney_by_loop():
    generator = np.random.default_rng(3)
    a, b = generator.integers(0, 8, 15).astype(float), generator.integers(2, 10, 12).astype(float)
    found = mann_whitney([*a, math.nan], b, n=300)
    pairs = np.subtract.outer(a, b)
    assert found.u == (pairs > 0).sum() + 0.5 * (pairs == 0).sum()
    assert found.p_value == pytest.approx(stats.mannwhitneyu(a, b, alternative="two-sided").pvalue)
    assert found.cliffs_delta == pytest.approx(np.sign(pairs).mean())
    assert found.hodges_lehmann.estimate == hodges_lehmann(a, b) == np.median(pairs)
    assert found.medians == (np.median(a), np.median(b))
    assert found.counts == (15, 12)


@pytest.mark.parametrize(("size", "other"), [(5, 6), (5, 7), (1, 1), (30, 20)])
def test_the_interval_of_the_shift_is_that_of_plain_resampling(size, other):
    generator = np.random.default_rng(size)
    a, b = generator.normal(1, 1, size), generator.normal(0, 1, other)
    found = mann_whitney(a, b, n=200, seed=9).hodges_lehmann
    draws = np.random.default_rng(9)
    shifts = []
    for _ in range(200):
        one = a[draws.integers(size, size=size)]
        shifts.append(np.median(np.subtract.outer(one, b[draws.integers(other, size=other)])))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(shifts, [0.025, 0.975])))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_a_shift_shifts(seed, shift):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=8), generator.normal(size=9)
    assert hodges_lehmann(a + shift, b) == pytest.approx(hodges_lehmann(a, b) + shift)
    assert hodges_lehmann(a, b) == pytest.approx(-hodges_lehmann(b, a))
    there, back = mann_whitney(a, b, n=2), mann_whitney(b, a, n=2)
    assert there.cliffs_delta == pytest.approx(-back.cliffs_delta)
    assert there.p_value == pytest.approx(back.p_value)


def test_a_group_without_studies():
    found = mann_whitney([math.nan], [0.5, 0.6])
    assert math.isnan(found.p_value)
    assert found.undefined == "a group without studies"
    assert found.counts == (0, 2)
    assert math.isnan(hodges_lehmann([], [1.0]))


def test_partial_spearman_is_the_correlation_of_what_volume_leaves():
    generator = np.random.default_rng(4)
    volume = generator.lognormal(size=60)
    x = np.log(volume) + generator.normal(size=60)
    y = -np.log(volume) + 0.5 * x + generator.normal(size=60)
    found = partial_spearman(x, y, np.log(volume))
    ranks = [stats.rankdata(column) for column in (x, y, volume)]
    left = [column - np.polyval(np.polyfit(ranks[2], column, 1), ranks[2]) for column in ranks[:2]]
    r = np.corrcoef(*left)[0, 1]
    assert found.value == pytest.approx(r)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(r) * math.sqrt(57 / (1 - r**2)), 57))
    assert partial_spearman(x, y, volume) == found  # ranks do not see the logarithm
    assert found.count == 60


@pytest.mark.parametrize(
    ("x", "given", "reason"),
    [
        ([1, 2, 3], [1, 2, 3], "fewer than four studies"),
        ([1, 1, 1, 1, 1], [1, 2, 3, 5, 4], "the same in all studies"),
        ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50], "the ranks of the one held fixed"),
    ],
)
def test_partial_spearman_undefined(x, given, reason):
    found = partial_spearman(x, [2, 1, 4, 3, 5][: len(x)], given)
    assert math.isnan(found.value)
    assert reason in found.undefined


def test_a_perfect_partial_correlation():
    found = partial_spearman([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert (found.value, found.p_value) == (pytest.approx(1), pytest.approx(0))
