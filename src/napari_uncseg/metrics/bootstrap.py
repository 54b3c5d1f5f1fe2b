"""Numbers over patients with their bootstrap intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = Sequence[float] | npt.NDArray[Any]
Summary: TypeAlias = Callable[..., Any]

FEWEST = 4
"""Fewer studies have no interval: of three, 1 resample in 27 draws the lowest alone, so that 95 % is their range."""

TOO_FEW = "fewer than four studies"


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Parameters
    ----------
    estimate, low, high : float
        ``nan`` where undefined.
    confidence : float
        Coverage that the interval aims at.
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
    confidence: float
    count: int
    method: str
    undefined: str = ""


def bootstrap_bca(
    values: Numbers,
    statistic: Summary = np.mean,
    n: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval over patients.

    Parameters
    ----------
    values : sequence of float, length m
        One value per patient; ``nan`` is left out.
    statistic : callable
        Takes an array and ``axis``, as ``np.mean`` and ``np.median`` do.
    n : int
        Number of resamples.
    seed : int
        The same seed gives the same interval.
    confidence : float
        In 0..1.

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
        return Interval(estimate, math.nan, math.nan, confidence, sample.size, "none", TOO_FEW)
    for method in ("BCa", "percentile"):
        if np.ptp(sample) == 0:
            break
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # scipy warns that BCa is nan; the next method answers instead
            found = stats.bootstrap(
                (sample,),
                statistic,
                n_resamples=n,
                batch=max(1, 2_000_000 // sample.size),
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = (float(end) for end in found.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            return Interval(estimate, low, high, confidence, sample.size, method)
    return Interval(estimate, estimate, estimate, confidence, sample.size, "percentile")


def defined(values: Numbers) -> Floats:
    """Values without the ``nan`` among them, shape (n,)."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]
