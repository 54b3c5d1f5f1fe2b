"""Does a map rise where the prediction fails? Distance and correlation of a map and the failure, or of two maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet, voxels
from napari_uncseg.labels import Region

Numbers: TypeAlias = npt.NDArray[Any]

SMALLEST_VARIANCE = 1e-12
"""A map that varies less has no correlation."""


@dataclass(eq=False)
class Alignment(Metric):
    """RMSD, Pearson and Spearman correlation of a map with the failure of a region, or with another map.

    ``rmsd`` is the root of the mean of ``(u - v)²`` over the voxel set; with ``v`` the failure it is the root of the
    Brier score of ``u`` as a probability of failure. ``pearson`` is undefined where one side hardly varies, never 0.
    ``spearman`` is the correlation of ranks within a study, ties sharing their mean rank; the pooled one adds the
    studies' rank sums, so that it asks about the order within studies and not between them. Against another map the
    names end in ``_to_`` and its name.

    Parameters
    ----------
    map : str
        Name of the map.
    region : Region
    voxel_set : VoxelSet
    against : str, optional
        Another map; the failure when left out.
    """

    name: ClassVar[str] = "alignment"
    additive: ClassVar[bool] = True

    map: str
    region: Region
    voxel_set: VoxelSet = VoxelSet.TUMOUR
    against: str | None = None

    def __post_init__(self) -> None:
        self.region, self.voxel_set = Region(self.region), VoxelSet(self.voxel_set)

    def measure(self, case: Case) -> Statistic:
        """Voxels, and sums of values and of centred ranks: ``[u, v, uu, vv, uv]`` and ``[uu, vv, uv]``."""
        at = case.once(
            ("voxels", self.voxel_set, self.region),
            lambda: np.flatnonzero(voxels(case, self.voxel_set, self.region)),
        )
        u = case.uncertainty_at(self.map, self.region, at)
        if self.against is None:
            v: Numbers = case.failure(self.region).ravel()[at]
        else:
            v = case.uncertainty_at(self.against, self.region, at)
        ranks = rank_sums_of_failure(u, v) if self.against is None else rank_sums(u, v)
        return {"count": np.array(u.size, dtype=np.int64), "moments": moments(u, v), "ranks": ranks}

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        count = int(statistic["count"])
        value = Value("", math.nan, region=self.region, map=self.map, voxel_set=self.voxel_set, count=count)
        suffix = "" if self.against is None else f"_to_{self.against}"
        if count == 0:
            return [
                replace(value, metric=name + suffix, undefined="no voxels") for name in ("rmsd", "pearson", "spearman")
            ]
        u, v, uu, vv, uv = (float(number) / count for number in statistic["moments"])
        rmsd = math.sqrt(max(uu + vv - 2 * uv, 0.0))
        pearson, why = correlation(uu - u * u, vv - v * v, uv - u * v, SMALLEST_VARIANCE, self.against)
        rank_u, rank_v, rank_uv = (float(number) for number in statistic["ranks"])
        spearman, why_ranks = correlation(rank_u, rank_v, rank_uv, 0.0, self.against)
        return [
            replace(value, metric=f"rmsd{suffix}", value=rmsd),
            replace(value, metric=f"pearson{suffix}", value=pearson, undefined=why),
            replace(value, metric=f"spearman{suffix}", value=spearman, undefined=why_ranks),
        ]


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
    """Correlation of two variances and a covariance, or nan and the reason."""
    if uu <= smallest:
        return math.nan, "the map is constant"
    if vv <= smallest:
        return math.nan, "failure is everywhere or nowhere" if against is None else f"the map {against} is constant"
    return min(max(uv / math.sqrt(uu * vv), -1.0), 1.0), ""
