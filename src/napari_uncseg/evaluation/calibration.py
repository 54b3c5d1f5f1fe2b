"""Does a probability mean what it says? Expected calibration errors, Brier score and reliability bins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import Case, upper_bound
from napari_uncseg.evaluation.histograms import (
    DIVISIONS,
    PROBABILITY,
    bin_edges,
    histogram,
    in_set,
    is_error,
    is_true,
    moments,
)
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import Region

Numbers = npt.NDArray[np.float64]

MINIMUM_COUNT = 100
"""Bins with fewer voxels do not count for the maximum calibration error."""

DEFAULT_BINS = 15

NO_VOXELS = "empty voxel set"


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

    edges: Numbers
    claimed: Numbers
    observed: Numbers
    counts: npt.NDArray[np.int64]

    @property
    def gaps(self) -> Numbers:
        """Distance of claim and observation in each bin, NaN where it is empty."""
        return np.abs(self.claimed - self.observed)

    @property
    def expected_error(self) -> float:
        """Mean distance of claim and observation, weighted by the counts; NaN without voxels."""
        total = self.counts.sum()
        return float(np.nansum(self.gaps * self.counts) / total) if total else math.nan


@dataclass(eq=False)
class Calibration(Metric):
    """Calibration of the probabilities of a region against the reference.

    Parameters
    ----------
    region : Region
    voxel_set : VoxelSet
        All metrics of calibration depend on it more than on the model: background is easy, and calibrated.
    bins : int
        Uniform bins in 0..1; a divisor of 3000 up to 60, such as 10, 15, 20, 25, 30, 50.

    Notes
    -----
    ``ece_classwise``: distance between mean p and share true of a bin, mean over voxels (Naeini 2015; class-wise as in
    Kull 2019, arXiv 1910.12656); ``ece_top_label``: the same of max(p, 1 − p) against being right at a threshold of
    0.5 (Guo 2017, arXiv 1706.04599); ``ace_uniform``: unweighted mean over non-empty bins, which others call ACE;
    ``aece_equal_mass``: as the class-wise one, in bins of equally many voxels (Nixon 2019, arXiv 1904.01685);
    ``mce``: the largest distance in a bin of at least 100 voxels; ``brier``: mean (p − y)² (Brier 1950).
    """

    name: ClassVar[str] = "calibration"
    additive: ClassVar[bool] = True

    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN
    bins: int = DEFAULT_BINS

    def __post_init__(self) -> None:
        self.region, self.voxel_set = Region(self.region), VoxelSet(self.voxel_set)
        _check_bins(self.bins)

    def measure(self, case: Case) -> Statistic:
        """Voxels, voxels of the region and sum of probabilities by fine bin, and the sum of squared differences."""
        return _measure(case, PROBABILITY, self.region, self.voxel_set, is_true())

    def read(self, statistic: Statistic) -> list[Value]:
        """Calibration errors and Brier score, each defined when there is a voxel."""
        numbers = _numbers(statistic, self.bins)
        numbers["ece_top_label"] = top_label_reliability(statistic, self.bins).expected_error
        return _values(numbers, statistic, self.region, None, self.voxel_set, self.bins)


@dataclass(eq=False)
class ErrorCalibration(Metric):
    """Calibration of a map that claims to be the probability of an error, against the errors.

    Parameters
    ----------
    map : str
        Name of a map that spans 0 to 1, such as ``unc_output``.
    region : Region
    voxel_set : VoxelSet
    bins : int
        As for :class:`Calibration`.

    Notes
    -----
    ``error_ece``, ``error_ace_uniform``, ``error_aece_equal_mass``, ``error_mce`` and ``error_brier`` are those of
    :class:`Calibration` with the map for p and failure for y.
    """

    name: ClassVar[str] = "error_calibration"
    additive: ClassVar[bool] = True

    map: str = "unc_output"
    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN
    bins: int = DEFAULT_BINS

    def __post_init__(self) -> None:
        self.region, self.voxel_set = Region(self.region), VoxelSet(self.voxel_set)
        _check_bins(self.bins)
        if upper_bound(self.map) != 1.0:
            raise EvaluationError(
                f"The map {self.map!r} ends at {upper_bound(self.map):.4g} and is no probability of an error; "
                "calibration is measured of unc_output and the like."
            )

    def measure(self, case: Case) -> Statistic:
        """Voxels, errors and sum of the map by fine bin, and the sum of squared differences."""
        return _measure(case, self.map, self.region, self.voxel_set, is_error())

    def read(self, statistic: Statistic) -> list[Value]:
        """Calibration errors and Brier score, each defined when there is a voxel."""
        numbers = {
            "error_" + name.removesuffix("_classwise"): number
            for name, number in _numbers(statistic, self.bins).items()
        }
        return _values(numbers, statistic, self.region, self.map, self.voxel_set, self.bins)


def reliability(statistic: Statistic, bins: int = DEFAULT_BINS) -> Reliability:
    """Reliability diagram of probabilities (or of a map that claims to be one) in uniform bins.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Calibration` or :class:`ErrorCalibration`.
    bins : int
        As for :class:`Calibration`.

    Returns
    -------
    Reliability
    """
    _check_bins(bins)
    middle = (_edges()[:-1] + _edges()[1:]) / 2
    return _grouped(middle, statistic["sum"], statistic["true"], statistic["count"], bins)


def top_label_reliability(statistic: Statistic, bins: int = DEFAULT_BINS) -> Reliability:
    """Reliability of the more probable of region and not region, in uniform bins of 0..1 (those below 0.5 are empty).

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Calibration`.
    bins : int
        As for :class:`Calibration`.

    Returns
    -------
    Reliability
    """
    _check_bins(bins)
    count, true, total = statistic["count"], statistic["true"], statistic["sum"]
    middle = (_edges()[:-1] + _edges()[1:]) / 2
    positive = middle > 0.5
    claimed = np.where(positive, total, count - total)
    right = np.where(positive, true, count - true)
    return _grouped(np.maximum(middle, 1 - middle), claimed, right, count, bins)


def error_rate_bound(dice: float) -> float:
    """Largest share of wrong voxels on region, prediction or their union that a Dice score allows.

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
        e + (1 − e) / 2 with e = :func:`error_rate_bound`: a wrong voxel is off by at most 1, a right one by 0.5. It is
        concave in the Dice score, so the mean over cases cannot exceed it either; more means that something was mixed
        up.
    """
    wrong = error_rate_bound(dice)
    return wrong + (1 - wrong) / 2


def _check_bins(bins: int) -> None:
    if not 1 <= bins <= 60 or DIVISIONS % bins:
        raise EvaluationError(f"{bins} bins do not divide 0..1 in this version; choose 10, 15, 20, 25, 30 or 50.")


def _edges() -> Numbers:
    return bin_edges()


def _measure(case: Case, name: str, region: Region, voxel_set: VoxelSet, true: npt.NDArray[np.bool_]) -> Statistic:
    everywhere = voxel_set is VoxelSet.ALL
    counts = histogram(case, name, region, outside=everywhere).counts
    sums, squares = moments(case, name, region, outside=everywhere)
    chosen = in_set(voxel_set)
    positive = counts[chosen & true].sum(axis=0)
    squared = squares[chosen].sum() - 2 * sums[chosen & true].sum() + positive.sum()
    return {
        "count": counts[chosen].sum(axis=0),
        "true": positive,
        "sum": sums[chosen].sum(axis=0),
        "squared": np.array([squared], dtype=np.float64),
    }


def _numbers(statistic: Statistic, bins: int) -> dict[str, float]:
    uniform = reliability(statistic, bins)
    total = int(uniform.counts.sum())
    enough = uniform.counts >= MINIMUM_COUNT
    return {
        "ece_classwise": uniform.expected_error,
        "ace_uniform": float(np.nanmean(uniform.gaps)) if total else math.nan,
        "aece_equal_mass": _equal_mass_error(statistic, bins) if total else math.nan,
        "mce": float(uniform.gaps[enough].max()) if enough.any() else math.nan,
        "brier": float(max(statistic["squared"][0], 0.0)) / total if total else math.nan,
    }


def _equal_mass_error(statistic: Statistic, bins: int) -> float:
    """Mean distance of claim and observation in bins of equal mass; a fine bin on a border is shared between both."""
    cumulated = np.concatenate([[0], np.cumsum(statistic["count"])]).astype(np.float64)
    borders = np.linspace(0, cumulated[-1], bins + 1)
    claimed, observed = (
        np.diff(np.interp(borders, cumulated, np.concatenate([[0.0], np.cumsum(statistic[key])])))
        for key in ("sum", "true")
    )
    return float(np.abs(claimed - observed).sum() / cumulated[-1])


def _grouped(middle: Numbers, claimed: Numbers, true: Numbers, counts: npt.NDArray[np.int64], bins: int) -> Reliability:
    """Sums of fine bins in the uniform bins that their middles lie in."""
    edges = np.linspace(0, 1, bins + 1)
    group = np.minimum((middle * bins).astype(np.intp), bins - 1)
    number = np.zeros(bins, dtype=np.int64)
    np.add.at(number, group, counts)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(group, weights=weights, minlength=bins) / number for weights in (claimed, true)]
    return Reliability(edges, means[0], means[1], number)


def _values(
    numbers: dict[str, float],
    statistic: Statistic,
    region: Region,
    name: str | None,
    voxel_set: VoxelSet,
    bins: int,
) -> list[Value]:
    total = int(statistic["count"].sum())
    return [
        Value(
            metric=metric,
            value=number,
            region=region,
            map=name,
            voxel_set=voxel_set,
            bins=None if metric.endswith("brier") else bins,
            count=total,
            undefined="" if not math.isnan(number) else _too_few(total),
        )
        for metric, number in numbers.items()
    ]


def _too_few(total: int) -> str:
    return NO_VOXELS if not total else f"no bin of {MINIMUM_COUNT} voxels"
