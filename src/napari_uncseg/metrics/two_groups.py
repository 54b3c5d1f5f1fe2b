"""Two independent groups of studies against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from napari_uncseg.metrics.bootstrap import Floats, Interval, Numbers, defined

_BISECTIONS = 40
"""Halvings of the range of differences: 1e-12 of it is left."""


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
