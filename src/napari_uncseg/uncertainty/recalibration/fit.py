"""Fits of monotone maps from counts of voxels, so that memory grows neither with voxels nor with studies.

Each fit makes the mean negative log-likelihood of the counted voxels smallest, among the maps of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, isotonic_regression, minimize
from scipy.special import expit, logit, xlog1py, xlogy

from napari_uncseg.arrays import Floats64, Ints64
from napari_uncseg.uncertainty.recalibration.models import (
    IDENTITY,
    SMALLEST,
    STEPS,
    Isotonic,
    Method,
    MonotoneMap,
    Platt,
    Temperature,
    step_probabilities,
)

COOLEST, HOTTEST = 0.05, 20.0
"""Temperatures that are looked for; at the ends of this range something else is wrong."""

_NEGLIGIBLE = 1e-9  # slope of the loss, nats per voxel


@dataclass(frozen=True, eq=False)
class Counts:
    """Voxels by probability.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        In 0..1, strictly rising.
    count : ndarray of int64, shape (n,)
        Voxels of each probability.
    true : ndarray of int64, shape (n,)
        Those of them that are in the region.
    """

    probability: Floats64
    count: Ints64
    true: Ints64

    @classmethod
    def of_steps(cls, count: Ints64, true: Ints64) -> Counts:
        """Voxels that :func:`count_steps` counted, all and those in the region; steps without a voxel are left out."""
        some = count > 0
        return cls(step_probabilities()[some], count[some], true[some])

    @property
    def voxels(self) -> int:
        """All voxels."""
        return int(self.count.sum())

    @property
    def positives(self) -> int:
        """Voxels in the region."""
        return int(self.true.sum())

    def clipped(self) -> Counts:
        """The same within what a file can tell, where no voxel costs infinitely much; empty bins are left out."""
        some = self.count > 0
        within, bins = np.unique(np.clip(self.probability[some], SMALLEST, 1 - SMALLEST), return_inverse=True)
        count, true = np.zeros(within.size, dtype=np.int64), np.zeros(within.size, dtype=np.int64)
        np.add.at(count, bins, self.count[some])
        np.add.at(true, bins, self.true[some])
        return Counts(within, count, true)


def count_steps(steps: npt.NDArray[np.uint16]) -> Ints64:
    """Voxels of each step of :func:`napari_uncseg.uncertainty.recalibration.models.steps_of`, from 0 to the last."""
    return np.bincount(steps, minlength=STEPS + 1).astype(np.int64, copy=False)


@dataclass(frozen=True)
class Fitted:
    """A map, and what has to be said of its making.

    Parameters
    ----------
    map : MonotoneMap
        The identity where nothing could be fitted.
    note : str
        Why, or what is suspicious, a clause without a full stop; empty when all went well.
    """

    map: MonotoneMap
    note: str = ""


def negative_log_likelihood(counts: Counts, probability: Floats64) -> float:
    """Mean of ``−ln q`` over voxels in the region and of ``−ln(1 − q)`` over the others.

    Parameters
    ----------
    counts : Counts
    probability : ndarray of float64, shape (n,)
        q, what each probability of the counts became.

    Returns
    -------
    float
        Nats per voxel; NaN without a voxel, infinite where a certain answer was wrong.
    """
    if not counts.voxels:
        return float("nan")
    total = xlogy(counts.true, probability) + xlog1py(counts.count - counts.true, -probability)
    return float(-total.sum() / counts.voxels)


def fit(method: Method, counts: Counts) -> Fitted:
    """Fit a map of one kind.

    Parameters
    ----------
    method : Method
    counts : Counts

    Returns
    -------
    Fitted
        The identity, with the reason, where the region is in no voxel or in all, or rises with falling probability.
    """
    counts = counts.clipped()
    if not counts.voxels:
        return Fitted(IDENTITY, "there is no voxel to fit it on; its probabilities stay as they are")
    if counts.positives in (0, counts.voxels):
        which = "no" if not counts.positives else "every"
        return Fitted(IDENTITY, f"it is in {which} voxel; its probabilities stay as they are")
    match method:
        case Method.TEMPERATURE:
            return _temperature(counts)
        case Method.PLATT:
            return _platt(counts)
        case Method.ISOTONIC:
            return Fitted(_isotonic(counts))


def smoothed_targets(counts: Counts) -> tuple[float, float]:
    """Targets that stand for "in the region" and "not": just short of 1 and 0, so that no map becomes certain.

    Returns
    -------
    tuple of float
        ``(N₊ + 1) / (N₊ + 2)`` and ``1 / (N₋ + 2)`` for N₊ voxels in the region and N₋ others.

    References
    ----------
    Platt (1999), section 2.2: the target of a uniform prior on the probability of each class.
    """
    positives, negatives = counts.positives, counts.voxels - counts.positives
    return (positives + 1) / (positives + 2), 1 / (negatives + 2)


def _temperature(counts: Counts) -> Fitted:
    """The likelihood is concave in 1/T, so its slope has one zero."""
    scores = logit(counts.probability)

    def slope(inverse: float) -> float:
        return float((scores * (counts.count * expit(inverse * scores) - counts.true)).sum()) / counts.voxels

    sharpest, softest = 1 / COOLEST, 1 / HOTTEST
    if slope(softest) >= 0:
        return Fitted(Temperature(HOTTEST), f"its temperature is at the largest that is looked for, {HOTTEST:g}")
    if slope(sharpest) <= 0:
        return Fitted(Temperature(COOLEST), f"its temperature is at the smallest that is looked for, {COOLEST:g}")
    return Fitted(Temperature(1 / brentq(slope, softest, sharpest, xtol=1e-12, rtol=1e-12)))


def _platt(counts: Counts) -> Fitted:
    """Newton's method with halved steps, as Lin, Lin and Weng (Machine Learning 68, 2007) do it."""
    above, below = smoothed_targets(counts)
    targets = counts.true * above + (counts.count - counts.true) * below
    rows = np.stack([logit(counts.probability), np.ones(len(counts.count))])

    def loss(parameters: Floats64) -> tuple[float, Floats64]:
        scores = parameters @ rows
        value = float((counts.count * np.logaddexp(0, scores) - targets * scores).sum()) / counts.voxels
        return value, rows @ (counts.count * expit(scores) - targets) / counts.voxels

    def curvature(parameters: Floats64) -> Floats64:
        q = expit(parameters @ rows)
        bend: Floats64 = (rows * (counts.count * q * (1 - q))) @ rows.T / counts.voxels
        return bend

    how = {"jac": True, "hess": curvature, "method": "trust-exact", "options": {"gtol": _NEGLIGIBLE}}
    parameters = minimize(loss, np.array([1.0, 0.0]), **how).x
    slope, intercept = (float(number) for number in parameters)
    if slope <= 0:
        return Fitted(IDENTITY, "it is rarer where its probability is higher; its probabilities stay as they are")
    return Fitted(Platt(slope, intercept))


def _isotonic(counts: Counts) -> Isotonic:
    """Pool-adjacent-violators on the smoothed targets; a block of equal values keeps both its ends as knots."""
    above, below = smoothed_targets(counts)
    share = counts.true / counts.count
    result = isotonic_regression(share * above + (1 - share) * below, weights=counts.count)
    ends = np.asarray(result.blocks)
    places = np.unique(np.concatenate([ends[:-1], ends[1:] - 1]))
    if len(places) == 1:
        level = float(result.x[0])
        return Isotonic(((SMALLEST, level), (1 - SMALLEST, level)))
    x, y = counts.probability[places], np.maximum.accumulate(result.x[places])
    return Isotonic(tuple((float(a), float(b)) for a, b in zip(x, y, strict=True)))
