"""Does a probability mean what it says? Reliability bins, expected calibration errors and Brier score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from napari_uncseg.arrays import Array, Floats64, Ints64
from napari_uncseg.errors import EvaluationError
from napari_uncseg.metrics.histograms import DIVISIONS, bin_edges

Sums: TypeAlias = Mapping[str, Array]
"""Of each of the 4096 fine bins: voxels (``count``), those where the claim came true (``true``), and the ``sum`` of the
probabilities claimed; all additive."""

MINIMUM_COUNT = 100
"""Bins with fewer voxels do not count for the maximum calibration error."""

DEFAULT_BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of a reliability diagram.

    Parameters
    ----------
    edges : ndarray of float64, shape (bins + 1,)
        Each bin holds its upper edge, the first one also 0.
    claimed : ndarray of float64, shape (bins,)
        Mean probability claimed; NaN in an empty bin.
    observed : ndarray of float64, shape (bins,)
        Share of voxels where it came true; NaN in an empty bin.
    counts : ndarray of int64, shape (bins,)
        Voxels.
    """

    edges: Floats64
    claimed: Floats64
    observed: Floats64
    counts: Ints64

    @property
    def gaps(self) -> Floats64:
        """Distance of claim and observation in each bin, NaN where it is empty."""
        return np.abs(self.claimed - self.observed)

    @property
    def expected_error(self) -> float:
        """Mean distance of claim and observation, weighted by the counts; NaN without voxels."""
        total = self.counts.sum()
        return float(np.nansum(self.gaps * self.counts) / total) if total else math.nan


def reliability(sums: Sums, bins: int = DEFAULT_BINS) -> Reliability:
    """Reliability diagram of probabilities (or of a map that claims to be one) in uniform bins.

    Parameters
    ----------
    sums : mapping of str to ndarray, shape (4096,)
        ``count``, ``true`` and ``sum``, see :data:`Sums`.
    bins : int
        Uniform bins in 0..1; a divisor of 3000 up to 60, such as 10, 15, 20, 25, 30, 50.

    Returns
    -------
    Reliability

    Raises
    ------
    EvaluationError
        When fine bins do not add up to so many.
    """
    return _grouped(_middles(), sums["sum"], sums["true"], sums["count"], bins)


def top_label_reliability(sums: Sums, bins: int = DEFAULT_BINS) -> Reliability:
    """Reliability of the more probable of region and not region, in uniform bins of 0..1 (those below 0.5 are empty).

    Parameters
    ----------
    sums, bins
        As for :func:`reliability`.

    Returns
    -------
    Reliability
    """
    count, middle = sums["count"], _middles()
    claimed, right = (np.where(middle > 0.5, sums[key], count - sums[key]) for key in ("sum", "true"))
    return _grouped(np.maximum(middle, 1 - middle), claimed, right, count, bins)


def calibration_errors(sums: Sums, bins: int = DEFAULT_BINS) -> dict[str, float]:
    """Calibration errors and Brier score.

    Parameters
    ----------
    sums : mapping of str to ndarray
        As for :func:`reliability`, and ``squared``, of shape (1,): the sum of squared differences.
    bins : int
        As for :func:`reliability`.

    Returns
    -------
    dict of str to float
        ``ece_classwise``: distance between mean p and share true of a bin, mean over voxels (Naeini 2015; class-wise as
        in Kull 2019, arXiv 1910.12656); ``ace_uniform``: unweighted mean over non-empty bins, which others call ACE;
        ``aece_equal_mass``: as the class-wise one, in bins of equally many voxels (Nixon 2019, arXiv 1904.01685);
        ``mce``: the largest distance in a bin of at least 100 voxels; ``brier``: mean (p − y)² (Brier 1950);
        ``ece_top_label``: as the class-wise one, of max(p, 1 − p) against being right at a threshold of 0.5 (Guo 2017,
        arXiv 1706.04599). NaN without voxels.
    """
    uniform = reliability(sums, bins)
    total = int(uniform.counts.sum())
    enough = uniform.counts >= MINIMUM_COUNT
    return {
        "ece_classwise": uniform.expected_error,
        "ace_uniform": float(np.nanmean(uniform.gaps)) if total else math.nan,
        "aece_equal_mass": _equal_mass_error(sums, bins) if total else math.nan,
        "mce": float(uniform.gaps[enough].max()) if enough.any() else math.nan,
        "brier": float(max(sums["squared"][0], 0.0)) / total if total else math.nan,
        "ece_top_label": top_label_reliability(sums, bins).expected_error,
    }


def error_rate_bound(dice: float) -> float:
    """Largest share of misclassified voxels on region, prediction or their union that a Dice score allows.

    Parameters
    ----------
    dice : float
        Dice score D of the region in the case.

    Returns
    -------
    float
        1 − D / (2 − D), as precision and recall are at least the Jaccard index.
    """
    return 1 - dice / (2 - dice)


def ece_bound(dice: float) -> float:
    """Largest calibration error (class-wise or top-label) on region, prediction or their union for a Dice score.

    Parameters
    ----------
    dice : float
        Dice score of the region in the case, at a threshold of 0.5.

    Returns
    -------
    float
        e + (1 − e) / 2 with e = :func:`error_rate_bound`: a misclassified voxel is off by at most 1, a correct one by
        0.5. It is concave in the Dice score, so the mean over cases cannot exceed it either; more means that something
        was mixed up.
    """
    wrong = error_rate_bound(dice)
    return wrong + (1 - wrong) / 2


def check_bins(bins: int) -> None:
    """Raise an :class:`EvaluationError` unless the fine bins add up to so many uniform ones."""
    if not 1 <= bins <= 60 or DIVISIONS % bins:
        raise EvaluationError(f"{bins} bins do not divide 0..1 in this version; choose 10, 15, 20, 25, 30 or 50.")


def _middles() -> Floats64:
    edges = bin_edges()
    return (edges[:-1] + edges[1:]) / 2


def _equal_mass_error(sums: Sums, bins: int) -> float:
    """Mean distance of claim and observation in bins of equal mass; a fine bin on a border is shared between both."""
    cumulated = np.concatenate([[0], np.cumsum(sums["count"])]).astype(np.float64)
    borders = np.linspace(0, cumulated[-1], bins + 1)
    claimed, observed = (
        np.diff(np.interp(borders, cumulated, np.concatenate([[0.0], np.cumsum(sums[key])]))) for key in ("sum", "true")
    )
    return float(np.abs(claimed - observed).sum() / cumulated[-1])


def _grouped(middle: Floats64, claimed: Floats64, true: Floats64, counts: Ints64, bins: int) -> Reliability:
    """Sums of fine bins in the uniform bins that their middles lie in."""
    check_bins(bins)
    group = np.minimum((middle * bins).astype(np.intp), bins - 1)
    number = np.zeros(bins, dtype=np.int64)
    np.add.at(number, group, counts)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(group, weights=weights, minlength=bins) / number for weights in (claimed, true)]
    return Reliability(np.linspace(0, 1, bins + 1), means[0], means[1], number)
