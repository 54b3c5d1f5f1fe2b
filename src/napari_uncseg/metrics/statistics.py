"""Statistics over studies: intervals, differences, two groups, and correlation given the volume.

The unit is always the patient: voxels of one study are not independent, and neither are the folds of an ensemble.
Studies without a value (``nan``) are left out and their number is what ``count`` lacks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from napari_uncseg.arrays import Array, Floats64
from napari_uncseg.errors import EvaluationError

Numbers: TypeAlias = Sequence[float] | Array

FEWEST = 4
"""Fewer studies have no interval: of three, 1 resample in 27 draws the lowest alone, so that 95 % is their range."""

CONFIDENCE = 0.95
"""Coverage that every interval aims at."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Parameters
    ----------
    estimate, low, high : float
        ``nan`` where undefined.
    count : int
        Number of studies with a value.
    method : str
        ``"BCa"``, ``"percentile"``, or ``"none"``.
    undefined : str
        Why a number is ``nan``; empty otherwise.
    """

    estimate: float
    low: float
    high: float
    count: int
    method: str
    undefined: str = ""


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
        As for :class:`Interval`.
    """

    value: float = math.nan
    p_value: float = math.nan
    count: int = 0
    undefined: str = ""


@dataclass(frozen=True)
class TwoGroups:
    """Comparison of two independent groups of studies, the first against the second.

    Parameters
    ----------
    medians, counts : tuple of float and of int
        Medians of the first and the second group, and studies with a value in each.
    hodges_lehmann : Interval
        Median difference of all pairs, with a percentile interval from resampling both groups.
    u : float
        Mann–Whitney U of the first group: pairs in which it is larger, ties counting half.
    p_value : float
        Two-sided.
    cliffs_delta : float
        In −1..1: share of pairs in which the first is larger minus share in which it is smaller.
    undefined : str
        Why numbers are ``nan``; empty otherwise.
    """

    medians: tuple[float, float]
    counts: tuple[int, int]
    hodges_lehmann: Interval
    u: float = math.nan
    p_value: float = math.nan
    cliffs_delta: float = math.nan
    undefined: str = ""


def bootstrap_bca(values: Numbers, statistic: Callable[..., Any] = np.mean, n: int = 2000, seed: int = 0) -> Interval:
    """Bias-corrected and accelerated bootstrap interval over patients.

    Parameters
    ----------
    values : sequence of float, length m
        One value per patient; ``nan`` is left out.
    statistic : callable
        Takes an array and ``axis``, as ``np.mean`` and ``np.median`` do.
    n, seed : int
        Number of resamples, and how they are drawn.

    Returns
    -------
    Interval
        Of method ``"percentile"`` where BCa does not exist (no spread in the resamples beyond the estimate); a value
        that all patients share is its own interval. Of fewer than :data:`FEWEST` patients there is none.

    References
    ----------
    Efron, "Better bootstrap confidence intervals", JASA 82 (1987), 171–185.
    """
    sample = defined(values)
    estimate = float(statistic(sample, axis=-1)) if sample.size else math.nan
    if sample.size < FEWEST:
        return Interval(estimate, math.nan, math.nan, sample.size, "none", "fewer than four studies")
    for method in ("BCa", "percentile") if np.ptp(sample) else ():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # scipy warns that BCa is nan; the next method answers instead
            found = stats.bootstrap(
                (sample,),
                statistic,
                n_resamples=n,
                batch=max(1, 2_000_000 // sample.size),
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = (float(end) for end in found.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            return Interval(estimate, low, high, sample.size, method)
    return Interval(estimate, estimate, estimate, sample.size, "percentile")


def defined(values: Numbers) -> Floats64:
    """Values without the ``nan`` among them, shape (n,)."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]


def paired_difference(first: Numbers, second: Numbers, n: int = 2000, seed: int = 0) -> PairedDifference:
    """Compare two numbers of the same patients.

    Parameters
    ----------
    first, second : sequence of float, one length
        In the same order of patients; a patient without one of the two is left out.
    n, seed : int
        As for :func:`bootstrap_bca`.

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


def mann_whitney(first: Numbers, second: Numbers, n: int = 2000, seed: int = 0) -> TwoGroups:
    """Compare two independent groups of studies by their ranks.

    Parameters
    ----------
    first, second : sequence of float
        One value per study; ``nan`` is left out.
    n, seed : int
        As for :func:`bootstrap_bca`, for the interval of the Hodges–Lehmann shift.

    Returns
    -------
    TwoGroups

    References
    ----------
    Mann and Whitney, Annals of Mathematical Statistics 18 (1947), 50–60; Cliff, Psychological Bulletin 114 (1993),
    494–509; Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963), 598–611.
    """
    a, b = defined(first), defined(second)
    one, other = (float(np.median(group)) if group.size else math.nan for group in (a, b))
    counts, medians = (a.size, b.size), (one, other)
    if not a.size or not b.size:
        reason = "a group without studies"
        shift = Interval(math.nan, math.nan, math.nan, a.size + b.size, "none", reason)
        return TwoGroups(medians, counts, shift, undefined=reason)
    found, shift = stats.mannwhitneyu(a, b, alternative="two-sided"), _hodges_lehmann_interval(a, b, n, seed)
    u = float(found.statistic)
    return TwoGroups(medians, counts, shift, u, float(found.pvalue), 2 * u / (a.size * b.size) - 1)


def hodges_lehmann(first: Numbers, second: Numbers) -> float:
    """Median of the differences of all pairs, the first minus the second; ``nan`` when a group is empty."""
    a, b = defined(first), defined(second)
    return float(np.median(np.subtract.outer(a, b))) if a.size and b.size else math.nan


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
        return Correlation(count=count, undefined="fewer than four studies")
    if (np.ptp(columns, axis=1) == 0).any():
        return Correlation(count=count, undefined="one of the numbers is the same in all studies")
    r = np.corrcoef(stats.rankdata(columns, axis=1))
    left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    if left < 1e-12:
        return Correlation(count=count, undefined="one of the numbers has the ranks of the one held fixed")
    value = float(np.clip((r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt(left), -1.0, 1.0))
    spread = 1 - value**2
    t = math.copysign(math.inf, value) if spread < 1e-15 else value * math.sqrt((count - 3) / spread)
    return Correlation(value, float(2 * stats.t.sf(abs(t), count - 3)), count)


def _aligned(*columns: Numbers) -> Floats64:
    """Values of the same studies, shape (columns, studies), without the studies that lack one."""
    arrays = [np.asarray(column, dtype=np.float64).ravel() for column in columns]
    if len({array.size for array in arrays}) != 1:
        raise EvaluationError("Lists of different lengths cannot belong to the same studies; give one value per study.")
    table = np.stack(arrays)
    return table[:, ~np.isnan(table).any(axis=0)]


def _hodges_lehmann_interval(a: Floats64, b: Floats64, n: int, seed: int) -> Interval:
    generator = np.random.default_rng(seed)
    drawn = ((group[generator.integers(group.size, size=group.size)] for group in (a, b)) for _ in range(n))
    shifts = [hodges_lehmann(*groups) for groups in drawn]
    low, high = np.quantile(shifts, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(hodges_lehmann(a, b), float(low), float(high), a.size + b.size, "percentile")
