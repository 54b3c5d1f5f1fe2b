"""Statistics over studies: intervals, differences, two groups, many tests, and correlation given the volume.

The unit is always the patient: voxels of one study are not independent, and neither are the folds of an ensemble.
Studies without a value (``nan``) are left out and their number is what ``count`` lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from napari_uncseg.errors import EvaluationError
from napari_uncseg.metrics.bootstrap import Floats, Interval, Numbers, bootstrap_bca, defined

_BISECTIONS = 40
"""Halvings of the range of differences: 1e-12 of it is left."""


@dataclass(frozen=True)
class PairedDifference:
    """How one number of the same patients differs from another, the first minus the second.

    Parameters
    ----------
    mean, median : Interval
        Of the differences.
    p_value : float
        Wilcoxon signed-rank test, two-sided; 1 when no pair differs.
    count : int
        Number of patients with both values.
    undefined : str
        Why numbers are ``nan``; empty otherwise.
    """

    mean: Interval
    median: Interval
    p_value: float
    count: int
    undefined: str = ""


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient with its test.

    Parameters
    ----------
    value : float
        In −1..1.
    p_value : float
        Two-sided.
    count : int
        Number of studies with all values.
    undefined : str
        Why numbers are ``nan``; empty otherwise.
    """

    value: float
    p_value: float
    count: int
    undefined: str = ""


@dataclass(frozen=True)
class TwoGroups:
    """Comparison of two independent groups of studies, the first against the second.

    Parameters
    ----------
    u : float
        Mann–Whitney U of the first group: pairs in which it is larger, ties counting half.
    p_value : float
        Two-sided.
    cliffs_delta : float
        In −1..1: share of pairs in which the first is larger minus share in which it is smaller.
    hodges_lehmann : Interval
        Median difference of all pairs, with a percentile interval from resampling both groups.
    medians : tuple of float
        Of the first and the second group.
    counts : tuple of int
        Studies with a value in each group.
    undefined : str
        Why numbers are ``nan``; empty otherwise.
    """

    u: float
    p_value: float
    cliffs_delta: float
    hodges_lehmann: Interval
    medians: tuple[float, float]
    counts: tuple[int, int]
    undefined: str = ""


def paired_difference(first: Numbers, second: Numbers, n: int = 2000, seed: int = 0) -> PairedDifference:
    """Compare two numbers of the same patients.

    Parameters
    ----------
    first, second : sequence of float, one length
        In the same order of patients; a patient without one of the two is left out.
    n : int
        Number of bootstrap resamples of patients.
    seed : int

    Returns
    -------
    PairedDifference
        Of ``first - second``.

    Raises
    ------
    EvaluationError
        When the lengths differ.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945), 80–83.
    """
    a, b = _aligned(first, second)
    difference = a - b
    mean, median = (bootstrap_bca(difference, summary, n, seed) for summary in (np.mean, np.median))
    if difference.size < 2:
        return PairedDifference(mean, median, math.nan, difference.size, "fewer than two studies")
    p_value = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    return PairedDifference(mean, median, p_value, difference.size)


def mann_whitney(first: Numbers, second: Numbers, n: int = 2000, seed: int = 0, confidence: float = 0.95) -> TwoGroups:
    """Compare two independent groups of studies by their ranks.

    Parameters
    ----------
    first, second : sequence of float
        One value per study; ``nan`` is left out.
    n : int
        Number of resamples for the interval of the Hodges–Lehmann shift.
    seed : int
    confidence : float

    Returns
    -------
    TwoGroups

    References
    ----------
    Mann and Whitney, Annals of Mathematical Statistics 18 (1947), 50–60; Cliff, Psychological Bulletin 114 (1993),
    494–509; Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963), 598–611.
    """
    a, b = defined(first), defined(second)
    medians = tuple(float(np.median(group)) if group.size else math.nan for group in (a, b))
    counts = (a.size, b.size)
    if not a.size or not b.size:
        reason = "a group without studies"
        shift = Interval(math.nan, math.nan, math.nan, confidence, a.size + b.size, "none", reason)
        return TwoGroups(math.nan, math.nan, math.nan, shift, (medians[0], medians[1]), counts, reason)
    found = stats.mannwhitneyu(a, b, alternative="two-sided")
    u = float(found.statistic)
    return TwoGroups(
        u,
        float(found.pvalue),
        2 * u / (a.size * b.size) - 1,
        _hodges_lehmann_interval(a, b, n, seed, confidence),
        (medians[0], medians[1]),
        counts,
    )


def hodges_lehmann(first: Numbers, second: Numbers) -> float:
    """Median of the differences of all pairs, the first minus the second; ``nan`` when a group is empty."""
    a, b = defined(first), defined(second)
    return float(np.median(np.subtract.outer(a, b))) if a.size and b.size else math.nan


def holm(p_values: Numbers) -> Floats:
    """Adjust p-values for many tests by Holm's step-down method.

    Parameters
    ----------
    p_values : sequence of float, length m
        ``nan`` for a test that could not be made; it stays ``nan`` and does not count as a test.

    Returns
    -------
    ndarray of float64, shape (m,)
        In 0..1, never below the p-values.

    Raises
    ------
    EvaluationError
        When a p-value is outside 0..1.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65–70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    made = np.flatnonzero(~np.isnan(p))
    if ((p[made] < 0) | (p[made] > 1)).any():
        raise EvaluationError("A p-value lies outside 0..1; give p-values as the tests return them.")
    order = made[np.argsort(p[made], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def partial_spearman(x: Numbers, y: Numbers, given: Numbers) -> Correlation:
    """Rank correlation of two numbers of the same studies with a third, such as the log volume, held fixed.

    Parameters
    ----------
    x, y, given : sequence of float, one length
        A study without one of the three is left out. Ranks do not change under the logarithm, so volume and log
        volume give the same number; ties get their mean rank.

    Returns
    -------
    Correlation
        With the p-value of a t test with n − 3 degrees of freedom.

    Raises
    ------
    EvaluationError
        When the lengths differ.

    References
    ----------
    Kendall, "Partial rank correlation", Biometrika 32 (1942), 277–283; Fisher, Metron 3 (1924), 329–332.
    """
    columns = _aligned(x, y, given)
    count = columns.shape[1]
    if count < 4:
        return Correlation(math.nan, math.nan, count, "fewer than four studies")
    if (np.ptp(columns, axis=1) == 0).any():
        return Correlation(math.nan, math.nan, count, "one of the numbers is the same in all studies")
    r = np.corrcoef(stats.rankdata(columns, axis=1))
    left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    if left < 1e-12:
        return Correlation(math.nan, math.nan, count, "one of the numbers has the ranks of the one held fixed")
    value = float(np.clip((r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt(left), -1.0, 1.0))
    spread = 1 - value**2
    t = math.copysign(math.inf, value) if spread < 1e-15 else value * math.sqrt((count - 3) / spread)
    return Correlation(value, float(2 * stats.t.sf(abs(t), count - 3)), count)


def _aligned(*columns: Numbers) -> Floats:
    """Values of the same studies, shape (columns, studies), without the studies that lack one."""
    arrays = [np.asarray(column, dtype=np.float64).ravel() for column in columns]
    if len({array.size for array in arrays}) != 1:
        sizes = " and ".join(str(array.size) for array in arrays)
        raise EvaluationError(f"Lists of {sizes} values cannot belong to the same studies; give one value per study.")
    table = np.stack(arrays)
    return table[:, ~np.isnan(table).any(axis=0)]


def _hodges_lehmann_interval(a: Floats, b: Floats, n: int, seed: int, confidence: float) -> Interval:
    generator = np.random.default_rng(seed)
    shifts = [
        _median_difference(*(np.sort(group[generator.integers(group.size, size=group.size)]) for group in (a, b)))
        for _ in range(n)
    ]
    low, high = np.quantile(shifts, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(hodges_lehmann(a, b), float(low), float(high), confidence, a.size + b.size, "percentile")


def _median_difference(a: Floats, b: Floats) -> float:
    """Median of all differences of two ascending groups, by bisection: their pairs are never listed."""
    pairs = a.size * b.size
    wanted = np.array([(pairs + 1) // 2, pairs // 2 + 1])
    low, high = np.full(2, a[0] - b[-1]), np.full(2, a[-1] - b[0])
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # A pair differs by no more than the middle when its second value is at least the first minus the middle.
        reached = pairs - b.searchsorted(a - middle[:, None]).sum(axis=1) >= wanted
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return float(high.mean())
