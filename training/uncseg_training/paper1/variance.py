"""The variances the uncertainty channel is compared with: every reading of the paper's two, under a name of its own.

*Uncertainty-Aware nnU-Net* names ``variance_stable`` and ``var1shot`` and leaves their formulas open. By default
``variance_stable`` is :attr:`Reading.EWVAR`, the variance of the probability over the visits of a case, and
``var1shot`` is :attr:`Reading.BERNOULLI_1SHOT`, ``p (1 - p)`` of one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import AnyFloats, AnyInts
from napari_uncseg.uncertainty.measures import bernoulli_variance
from uncseg_training.data.case_maps import Box, CaseMaps, Maps
from uncseg_training.paper1.error_map import DECAY, store_settings, visit_weight


class Reading(StrEnum):
    """What "variance of the prediction" can mean."""

    BERNOULLI_1SHOT = "bernoulli_1shot"
    BERNOULLI_EMA = "bernoulli_ema"
    EWVAR = "ewvar"
    SQDEV_1SHOT = "sqdev_1shot"
    CHANNEL_VAR = "channel_var"


@dataclass(frozen=True, eq=False)
class History:
    """Moving averages over the visits of a case; arrays of shape (x, y, z).

    Parameters
    ----------
    mean : ndarray of float
        Of the probability, 0..1.
    variance : ndarray of float
        Of the probability, 0..0.25.
    bernoulli : ndarray of float
        Average of ``p (1 - p)``, 0..0.25.
    visits : ndarray of int
        How often each voxel was visited; where it was not, the rest is 0 and means nothing.
    """

    mean: AnyFloats
    variance: AnyFloats
    bernoulli: AnyFloats
    visits: AnyInts

    @classmethod
    def none(cls, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> History:
        """Before the first visit."""
        mean, variance, bernoulli = np.zeros((3, *shape), dtype)
        return cls(mean, variance, bernoulli, np.zeros(shape, np.uint16))

    def visited(self, probability: AnyFloats, decay: float = DECAY) -> History:
        """One visit more.

        Parameters
        ----------
        probability : ndarray of float, shape (x, y, z)
            Of the whole tumour, 0..1.
        decay : float
            Of the averages per visit; see :func:`~uncseg_training.paper1.error_map.visit_weight`.

        Notes
        -----
        ``d = p - m;  m <- m + a d;  S <- (1 - a) (S + a d**2)``, the form of Welford (Technometrics 4, 1962) for
        changing weights. In exact numbers it is ``E[p**2] - E[p]**2`` of the corrected averages; but that difference of
        nearly equal numbers is lost, and often negative, in the half precision the averages are stored in.
        """
        visits, dtype = self.visits + 1, self.mean.dtype
        weight, known = visit_weight(visits, decay).astype(dtype), visits > 1
        deviation = probability.astype(dtype) - np.where(known, self.mean, 0)
        spread = np.where(known, self.variance, 0) + weight * deviation**2
        now = bernoulli_variance(probability).astype(dtype)
        average = np.where(known, self.bernoulli, now)
        return History(
            np.where(known, self.mean, 0) + weight * deviation,
            (1 - weight) * spread,
            average + weight * (now - average),
            visits,
        )


def channel_var(probabilities: AnyFloats) -> AnyFloats:
    """Variance across the region channels, as public forks of the paper's functions compute it.

    Parameters
    ----------
    probabilities : ndarray of float, shape (3, x, y, z)
        WT, TC, ET. The sum of squares is divided by 3; that the forks' divisor may be 2 changes no correlation.

    Returns
    -------
    ndarray of float, shape (x, y, z)
        In 0..2/9. It says how far the regions differ, not how sure the network is.
    """
    return np.asarray(np.var(probabilities, axis=0))


def sqdev_1shot(probability: AnyFloats, history: History) -> AnyFloats:
    """Squared distance of a probability from the mean of the visits before it, ``(p_t - m_{t-1})**2``.

    Parameters
    ----------
    probability : ndarray of float, shape (x, y, z)
        Of this visit.
    history : History
        Without this visit.

    Returns
    -------
    ndarray of float, shape (x, y, z)
        In 0..1, NaN where there was no visit before.
    """
    return np.where(history.visits > 0, (probability - history.mean) ** 2, np.asarray(np.nan, probability.dtype))


@dataclass(frozen=True, eq=False)
class PredictionVariance:
    """The paper's two variances after a visit; arrays of shape (x, y, z).

    Parameters
    ----------
    variance_stable, var1shot : ndarray of float
        By the readings that were asked for.
    history : History
        This visit included: the state for the next one.
    """

    variance_stable: AnyFloats
    var1shot: AnyFloats
    history: History


def readings(probabilities: AnyFloats, history: History, decay: float = DECAY) -> dict[Reading, AnyFloats]:
    """Every reading of one visit.

    Parameters
    ----------
    probabilities : ndarray of float, shape (3, x, y, z)
        WT, TC, ET in 0..1; all readings but ``channel_var`` look at WT.
    history : History
        Without this visit.
    decay : float
        Of the averages per visit.

    Returns
    -------
    dict of Reading to ndarray of float, shape (x, y, z)
    """
    return _readings(probabilities, history, history.visited(probabilities[0], decay))


def _readings(probabilities: AnyFloats, before: History, after: History) -> dict[Reading, AnyFloats]:
    return {
        Reading.BERNOULLI_1SHOT: bernoulli_variance(probabilities[0]),
        Reading.BERNOULLI_EMA: after.bernoulli,
        Reading.EWVAR: after.variance,
        Reading.SQDEV_1SHOT: sqdev_1shot(probabilities[0], before),
        Reading.CHANNEL_VAR: channel_var(probabilities),
    }


def compute_prediction_variance(
    probabilities: AnyFloats,
    history: History,
    decay: float = DECAY,
    *,
    stable: Reading = Reading.EWVAR,
    one_shot: Reading = Reading.BERNOULLI_1SHOT,
) -> PredictionVariance:
    """``variance_stable`` and ``var1shot`` of one visit.

    Parameters
    ----------
    probabilities : ndarray of float, shape (3, x, y, z)
        WT, TC, ET in 0..1.
    history : History
        Without this visit; :meth:`History.none` before the first.
    decay : float
        Of the averages per visit.
    stable, one_shot : Reading
        Which reading each of the two is.
    """
    after = history.visited(probabilities[0], decay)
    each = _readings(probabilities, history, after)
    return PredictionVariance(each[stable], each[one_shot], after)


class VarianceMaps:
    """Histories of all cases of a training, on disk; made by :meth:`create` or :meth:`open`.

    They count visits of their own, so that a voxel is never counted twice where the error map is updated as well.

    Parameters
    ----------
    store : CaseMaps
        Their files.
    decay : float
        Of the moving averages.
    """

    FIELDS = ("mean", "variance", "bernoulli")

    def __init__(self, store: CaseMaps, decay: float) -> None:
        self.store, self.decay = store, decay

    @classmethod
    def create(
        cls,
        folder: Path,
        shapes: Mapping[str, Sequence[int]],
        preprocessing: str,
        *,
        decay: float = DECAY,
        settings: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> VarianceMaps:
        """Begin; parameters and errors as for :meth:`uncseg_training.paper1.error_map.ErrorMaps.create`."""
        common = store_settings("variance", preprocessing, decay, settings)
        return cls(CaseMaps.create(folder, shapes, cls.FIELDS, common, notes), decay)

    @classmethod
    def open(
        cls, folder: Path, preprocessing: str, *, decay: float = DECAY, settings: Mapping[str, Any] | None = None
    ) -> VarianceMaps:
        """Go on; parameters and errors as for :meth:`uncseg_training.paper1.error_map.ErrorMaps.open`."""
        common = store_settings("variance", preprocessing, decay, settings)
        return cls(CaseMaps.open(folder, cls.FIELDS, common), decay)

    def read(self, case: str, box: Box | None = None) -> History:
        """History of a case, or of a box of it; zeros where no visit was."""
        maps = self.store.read(case, box)
        mean, variance, bernoulli = maps.values
        return History(mean, variance, bernoulli, maps.visits)

    def update(self, case: str, probability: AnyFloats, epoch: int, box: Box | None = None) -> None:
        """One visit of a case, or of a box of it.

        Parameters
        ----------
        case : str
            Name of the case, never its place in a batch.
        probability : ndarray of float, shape (x, y, z)
            Of the whole tumour, 0..1, un-augmented.
        epoch : int
            Number of the epoch or sweep.
        box : sequence of (int, int), optional
            Where ``probability`` lies in the volume.

        Raises
        ------
        ValueError
            When case, shape or box do not fit.
        """
        before = self.read(case, box)
        if probability.shape != before.mean.shape:
            raise ValueError(f"A probability of shape {probability.shape} does not fit {case} of {before.mean.shape}.")
        after = before.visited(probability, self.decay)
        values = np.stack([after.mean, after.variance, after.bernoulli]).astype(np.float32)
        self.store.write(case, Maps(values, after.visits.astype(np.uint16)), epoch, box)
