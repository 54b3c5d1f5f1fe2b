"""How often a training fails at each voxel of each of its cases: the target of the uncertainty channel.

A map belongs to a case, by its name, and lies on the case's own grid. Keyed by the place in the batch, or cut and
resized to the patch of the day, it would mix patients and places; see :class:`ErrorMaps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import AnyInts, Array, Floats32, Floats64, Mask
from napari_uncseg.uncertainty.measures import Failure
from uncseg_training.data.case_maps import Box, CaseMaps, Maps

FloatT = TypeVar("FloatT", bound=np.floating)

DECAY = 0.9
"""Of the moving averages per visit of a voxel: about the last ten visits count."""

LARGEST_DECAY = 0.995
"""Beyond it, a visit's weight still changes after the last visit that is counted (``0.995 ** 2048 < 2 ** -11``)."""

SMALLEST_ERROR = 2.0**-14
"""Smallest normal number of half precision; below it a decay would stall, so that a voxel that failed once would never
be 0 again and take space for ever."""


def visit_weight(visits: Array, decay: float = DECAY) -> Floats64:
    """Weight ``(1 - b) / (1 - b**n)`` of the ``n``-th visit in a moving average of decay ``b``.

    Parameters
    ----------
    visits : ndarray of int
        At least 1, this visit included.
    decay : float
        In 0..1, 1 excluded.

    Returns
    -------
    ndarray of float64
        1 at the first visit, then falling to ``1 - b``. An average with these weights equals one that begins at 0 and
        is divided by ``1 - b**n``, so that no correction is left to be made.

    Raises
    ------
    ValueError
        When the decay is out of bounds.

    References
    ----------
    The corrected average: Kingma and Ba, "Adam", ICLR 2015, section 3.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"A decay of {decay} is no moving average; take one of at least 0 and below 1.")
    return np.asarray((1 - decay) / (1 - np.power(float(decay), np.asarray(visits, np.float64))))


def compute_prediction_error_probability(
    failure: Array, error: npt.NDArray[FloatT], visits: AnyInts, decay: float = DECAY
) -> tuple[npt.NDArray[FloatT], AnyInts]:
    """One visit more: moving average of the failure at each voxel, ``E <- E + a_n (F - E)``.

    Parameters
    ----------
    failure : ndarray of bool or float, shape (..., x, y, z)
        :func:`~napari_uncseg.uncertainty.measures.compute_prediction_failure` of this visit.
    error : ndarray of float, shape (..., x, y, z)
        Average so far; what it holds where no visit was is ignored.
    visits : ndarray of int, shape (x, y, z)
        Visits so far, voxel by voxel.
    decay : float
        Of the average per visit; see :func:`visit_weight`.

    Returns
    -------
    error : ndarray of float, shape (..., x, y, z)
        Of the type of ``error``, in 0..1.
    visits : ndarray of int, shape (x, y, z)
    """
    visits = visits + 1
    target = np.asarray(failure, error.dtype)
    before = np.where(visits > 1, error, target)
    weight = visit_weight(visits, decay).astype(error.dtype)
    return before + weight * (target - before), visits


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """Error probability of a case.

    Parameters
    ----------
    error : ndarray of float32, shape (channels, x, y, z)
        In 0..1, NaN where no visit was; one channel, or WT, TC and ET for failures per region.
    visits : ndarray of uint16, shape (x, y, z)
        How often each voxel was visited.
    """

    error: Floats32
    visits: npt.NDArray[np.uint16]


class ErrorPatch(NamedTuple):
    """Target of a training patch, or a batch of them with one axis more.

    Parameters
    ----------
    error : ndarray of float32, shape (channels, x, y, z)
        In 0..1, 0 where no visit was: a weight of 0 would not silence a NaN.
    visited : ndarray of bool, shape (1, x, y, z)
        Where there is a target.
    """

    error: Floats32
    visited: Mask


class ErrorMaps:
    """Error maps of all cases of a training, on disk; made by :meth:`create` or :meth:`open`.

    Parameters
    ----------
    store : CaseMaps
        Their files.
    decay : float
        Of the moving average.
    failure : {"wt", "any_region", "per_region"}
        Which failure is averaged.
    """

    def __init__(self, store: CaseMaps, decay: float, failure: Failure) -> None:
        self.store, self.decay, self.failure = store, decay, failure

    @classmethod
    def create(
        cls,
        folder: Path,
        shapes: Mapping[str, Sequence[int]],
        preprocessing: str,
        *,
        decay: float = DECAY,
        failure: Failure = "wt",
        settings: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> ErrorMaps:
        """Begin the maps of a training.

        Parameters
        ----------
        folder : Path
            Made when absent.
        shapes : mapping of str to (int, int, int)
            Every case and the shape of its preprocessed volume.
        preprocessing : str
            :func:`~uncseg_training.data.case_manifest.preprocessing_hash` of what made those volumes.
        decay : float
            At most :data:`LARGEST_DECAY`.
        failure : {"wt", "any_region", "per_region"}
            Which failure is averaged.
        settings : mapping, optional
            More that must be the same when the training goes on: fold, split.
        notes : mapping, optional
            For the reader; not compared.

        Raises
        ------
        ValueError
            When the folder already holds maps, the decay is out of bounds, or a name cannot be the name of a file.
        """
        fields, common = _describe(preprocessing, decay, failure, settings)
        return cls(CaseMaps.create(folder, shapes, fields, common, notes), decay, failure)

    @classmethod
    def open(
        cls,
        folder: Path,
        preprocessing: str,
        *,
        decay: float = DECAY,
        failure: Failure = "wt",
        settings: Mapping[str, Any] | None = None,
    ) -> ErrorMaps:
        """Go on with the maps of a training; parameters as for :meth:`create`.

        Raises
        ------
        ValueError
            When there are none, one is damaged, or they were made with another preprocessing or other settings.
        """
        fields, common = _describe(preprocessing, decay, failure, settings)
        return cls(CaseMaps.open(folder, fields, common), decay, failure)

    def update(self, case: str, failure: Mask, epoch: int, box: Box | None = None) -> None:
        """One visit of a case, or of a box of it, by an un-augmented prediction.

        Parameters
        ----------
        case : str
            Name of the case, never its place in a batch.
        failure : ndarray of bool, shape (x, y, z), or (3, x, y, z) for failures per region
            Of the volume, or of the box.
        epoch : int
            Number of the epoch or sweep.
        box : sequence of (int, int), optional
            Where ``failure`` lies in the volume, in exactly its voxels.

        Raises
        ------
        ValueError
            When case, shape or box do not fit.
        """
        before = self.store.read(case, box)
        current = failure if self.failure == "per_region" else failure[None]
        if current.shape != before.values.shape:
            raise ValueError(f"A failure of shape {failure.shape} does not fit {case} of {before.values.shape}.")
        error, visits = compute_prediction_error_probability(current, before.values, before.visits, self.decay)
        error = np.where(error < SMALLEST_ERROR, np.float32(0), error)
        self.store.write(case, Maps(error, visits.astype(np.uint16)), epoch, box)

    def read(self, case: str) -> ErrorMap:
        """The whole map of a case."""
        maps = self.store.read(case)
        return ErrorMap(np.where(maps.visits > 0, maps.values, np.float32(np.nan)), maps.visits)

    def patch(self, case: str, box: Box) -> ErrorPatch:
        """Target of the training patch that was cut out of a case at ``box``.

        The patch has the size of the box, also where that reaches beyond the volume, so that patches can be stacked.
        """
        maps = self.store.read(case, box)
        return ErrorPatch(maps.values, maps.visits[None] > 0)

    def batch(self, patches: Sequence[tuple[str, Box]]) -> ErrorPatch:
        """Targets of a batch, stacked: ``(batch, channels, x, y, z)`` and ``(batch, 1, x, y, z)``."""
        each = [self.patch(case, box) for case, box in patches]
        return ErrorPatch(np.stack([patch.error for patch in each]), np.stack([patch.visited for patch in each]))


def _describe(
    preprocessing: str, decay: float, failure: Failure, settings: Mapping[str, Any] | None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    fields = ("error_wt", "error_tc", "error_et") if failure == "per_region" else ("error",)
    return fields, {**store_settings("error", preprocessing, decay, settings), "failure": failure}


def store_settings(what: str, preprocessing: str, decay: float, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """What must be the same when a training goes on with its maps; a ValueError when the decay cannot be stored."""
    if not 0 <= decay <= LARGEST_DECAY:
        raise ValueError(f"A decay of {decay} cannot be stored; take one of at least 0 and at most {LARGEST_DECAY}.")
    return {**(settings or {}), "map": what, "preprocessing": preprocessing, "decay": decay}
