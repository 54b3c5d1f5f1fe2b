"""Conformal risk control of the false-negative rate: how low a threshold must be to miss no more than was agreed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import NonNegativeInt

from napari_uncseg.arrays import AnyInts, Floats64
from napari_uncseg.io.provenance import Fraction
from napari_uncseg.uncertainty.recalibration.models import STEPS

ALPHA = 0.1
"""Share of a region that a threshold may miss on average when nobody says another."""

GUARANTEE = (
    "For a new study that has the region, the expected share of its voxels missed by {p > threshold} is at most alpha."
)
"""What a threshold promises."""

ASSUMPTION = (
    "The new study and the calibration studies are exchangeable: other patients of the same kind, scanners, network "
    "and members. The promise holds on average over new studies and over draws of the calibration studies (where none "
    "of the thresholds will do, everything would have to be marked), for one region at a time; it is none for a single "
    "study."
)
"""When the promise holds, and how far it goes."""


@dataclass(frozen=True)
class RiskControl:
    """A threshold that keeps the expected false-negative rate of a region.

    Parameters
    ----------
    alpha : float
        Largest expected false-negative rate, in 0..1.
    studies : int
        Calibration studies that have the region.
    threshold : float, optional
        The controlled mask holds the voxels whose probability, before any recalibration, is above it. None when no
        threshold keeps the promise.
    false_negative_rate : float, optional
        Mean of the calibration studies at the threshold.
    reason : str
        Why there is no threshold, a sentence; else empty.
    """

    alpha: Fraction
    studies: NonNegativeInt
    threshold: Fraction | None
    false_negative_rate: Fraction | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.threshold is None and not self.reason:
            raise ValueError("it has neither a threshold nor a reason")

    def words(self) -> str:
        """What it promises, or why it promises nothing, a sentence without a capital letter."""
        if self.threshold is None:
            return self.reason
        above = f"above {self.threshold:.3g} (before recalibration)"
        return f"{above} at most {self.alpha:.3g} of the region is missed on average over studies like these."


def thresholds() -> Floats64:
    """Thresholds to choose from, float64 (32767,), rising: midway between the probabilities a file can hold.

    A mask above one of them is the same before a probability is written to a file and after.
    """
    return (np.arange(STEPS) + 0.5) / STEPS


def false_negative_rates(found: AnyInts) -> Floats64:
    """False-negative rate of a study at every threshold.

    Parameters
    ----------
    found : ndarray of int, shape (32768,)
        Voxels of the reference's region by the step of their probability.

    Returns
    -------
    ndarray of float64, shape (32767,)
        Share of these voxels that are not above each of :func:`thresholds`; never falls. NaN when there is no voxel.
    """
    total = int(found.sum())
    if not total:
        return np.full(len(found) - 1, math.nan)
    return np.asarray(np.cumsum(found[:-1], dtype=np.int64) / total)


def studies_needed(alpha: float) -> int:
    """Fewest calibration studies with which any threshold can promise ``alpha``: the least n with 1/(n + 1) ≤ α."""
    needed = max(math.floor(1 / alpha) - 1, 1)
    while 1 / (needed + 1) > alpha:
        needed += 1
    return needed


def control_risk(total: Floats64, studies: int, alpha: float, choices: Floats64) -> RiskControl:
    """Highest threshold that promises an expected loss of at most ``alpha`` on a new study.

    Parameters
    ----------
    total : ndarray of float64, shape (m,)
        Sum of the studies' losses at each threshold; a loss is in 0..1 and does not fall as the threshold rises.
    studies : int
        n, how many studies were summed.
    alpha : float
        In 0..1, both excluded.
    choices : ndarray of float64, shape (m,)
        Thresholds, rising, fixed before any study was seen.

    Returns
    -------
    RiskControl
        The largest threshold λ with ``(total(λ) + 1) / (n + 1) ≤ α``.

    Raises
    ------
    ValueError
        When alpha is not between 0 and 1, or the losses fall.

    References
    ----------
    Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal risk control", arXiv 2208.02814, equation 4 and theorem 1,
    with 1 as the largest loss.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}; it must lie between 0 and 1")
    if np.any(np.diff(total) < -1e-9 * max(studies, 1)):
        raise ValueError("the losses fall as the threshold rises")
    needed = studies_needed(alpha)
    if studies < needed:
        there = "is 1" if studies == 1 else f"are {studies}"
        reason = f"An alpha of {alpha:g} needs at least {needed} studies that have the region; there {there}."
        return RiskControl(alpha, studies, None, None, reason)
    kept = np.flatnonzero((total + 1) / (studies + 1) <= alpha)
    if not kept.size:
        missed, allowed = float(total[0] / studies), ((studies + 1) * alpha - 1) / studies
        reason = f"even the lowest one misses {missed:.3g} of the region on average, and {studies} studies allow"
        return RiskControl(alpha, studies, None, None, f"No threshold keeps {alpha:g}: {reason} {allowed:.3g}.")
    best = int(kept[-1])
    return RiskControl(alpha, studies, float(choices[best]), float(total[best] / studies))
