"""Distance and correlation of two samples from sums that add up over studies."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

Numbers: TypeAlias = npt.NDArray[Any]

SMALLEST_VARIANCE = 1e-12
"""A map that varies less has no correlation."""


def moments(u: Numbers, v: Numbers) -> npt.NDArray[np.float64]:
    """Sums of ``u``, ``v``, ``u²``, ``v²`` and ``u v``.

    Parameters
    ----------
    u, v : ndarray of float or bool, shape (n,)

    Returns
    -------
    ndarray of float64, shape (5,)
    """
    a, b = u.astype(np.float64), v.astype(np.float64)
    return np.array([a.sum(), b.sum(), a @ a, b @ b, a @ b])


def rank_sums(u: Numbers, v: Numbers) -> npt.NDArray[np.float64]:
    """Sums of squares and products of the centred ranks of two samples, ties sharing their mean rank.

    Parameters
    ----------
    u, v : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float64, shape (3,)
        ``uu``, ``vv`` and ``uv``.

    References
    ----------
    Spearman, American Journal of Psychology 15 (1904), 72–101; mean ranks for ties as in Kendall, "Rank correlation
    methods" (1948).
    """
    a, b = (stats.rankdata(sample) - (sample.size + 1) / 2 for sample in (u, v))
    return np.array([a @ a, b @ b, a @ b])


def rank_sums_of_failure(u: Numbers, failure: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Compute what :func:`rank_sums` does when the second sample is true or false, without ranking every voxel.

    Parameters
    ----------
    u : ndarray of float, shape (n,)
    failure : ndarray of bool, shape (n,)

    Returns
    -------
    ndarray of float64, shape (3,)
        ``uu``, ``vv`` and ``uv``.
    """
    n = u.size
    if n == 0:
        return np.zeros(3)
    ordered = np.sort(u)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, n)).astype(np.float64)
    centred = starts + (lengths + 1) / 2 - (n + 1) / 2
    failing = centred[np.searchsorted(ordered[starts], u[failure])]
    share = failing.size / n
    # The ranks of true and false lie n / 2 apart.
    return np.array([(lengths * centred**2).sum(), n**3 / 4 * share * (1 - share), n / 2 * failing.sum()])


def correlation(uu: float, vv: float, uv: float, smallest: float, against: str | None) -> tuple[float, str]:
    """Correlation of two variances and a covariance.

    Parameters
    ----------
    uu, vv, uv : float
        Variances of both sides and their covariance.
    smallest : float
        A side that varies no more has no correlation.
    against : str or None
        Name of the map on the second side; None for the failure.

    Returns
    -------
    float and str
        In −1..1, or ``nan`` and the reason.
    """
    if uu <= smallest:
        return math.nan, "the map is constant"
    if vv <= smallest:
        return math.nan, "failure is everywhere or nowhere" if against is None else f"the map {against} is constant"
    return min(max(uv / math.sqrt(uu * vv), -1.0), 1.0), ""
