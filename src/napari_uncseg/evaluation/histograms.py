"""Histograms of a case: a map is binned once, and every metric reads its voxel set out of the same integer counts.

Counts are int64 and sums float64: float32 sums saturate at 2**24, two volumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case, Map, upper_bound
from napari_uncseg.labels import Region
from napari_uncseg.metrics.histograms import BINS, CODES, Counts, bin_indices, distinct_levels

PROBABILITY = "probability"
"""Stands for the probability of the region where the name of a map is asked for."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a map of one region.

    Parameters
    ----------
    counts : ndarray of int64, shape (16, 4096)
        Voxels by code and bin.
    levels : ndarray of int64, shape (4096,)
        Distinct values found in each bin beyond the first, as far as 13 leading bits of the mantissa tell them: 0 in a
        bin whose voxels are all tied.
    """

    counts: Counts
    levels: Counts


def histogram(case: Case, name: str, region: Region, *, outside: bool = False) -> Histogram:
    """Histogram of a map, counted when it is first asked for.

    Parameters
    ----------
    case : Case
    name : str
        A map of the region, or :data:`PROBABILITY`.
    region : Region
    outside : bool
        Count also the voxels beyond brain, tumour and masks, which only the voxel set ``all`` holds (code 0).

    Returns
    -------
    Histogram

    Raises
    ------
    EvaluationError
        When the case has no such map.
    """
    inner = case.once(("histogram", name, region), lambda: _inner(case, name, region))
    if not outside:
        return inner
    return case.once(("histogram outside", name, region), lambda: _whole(case, name, region, inner))


def moments(case: Case, name: str, region: Region, *, outside: bool = False) -> npt.NDArray[np.float64]:
    """Sums of a map's values and of their squares.

    Parameters
    ----------
    case, name, region, outside
        As for :func:`histogram`.

    Returns
    -------
    ndarray of float64, shape (2, 16, 4096)
        Sum and sum of squares by code and bin.
    """
    inner = case.once(("moments", name, region), lambda: _inner_moments(case, name, region))
    if not outside:
        return inner
    return case.once(("moments outside", name, region), lambda: inner + _outer_moments(case, name, region))


def inside(case: Case) -> npt.NDArray[np.intp]:
    """Flat indices (C order) of the voxels in the brain, near the tumour or in any mask."""

    def find() -> npt.NDArray[np.intp]:
        union = case.brain | case.tumour
        for mask in (*case.prediction, *case.reference):
            union |= mask
        return np.flatnonzero(union)

    return case.once("inside", find)


def codes(case: Case, region: Region) -> npt.NDArray[np.uint8]:
    """Code of every voxel of :func:`inside`, uint8 (n,)."""

    def encode() -> npt.NDArray[np.uint8]:
        masks = (case.brain, case.tumour, case.predicted(region), case.true(region))
        bits = [mask.ravel()[inside(case)].view(np.uint8) for mask in masks]
        return np.asarray(bits[0] | bits[1] << 1 | bits[2] << 2 | bits[3] << 3)

    return case.once(("codes", region), encode)


def values_at(case: Case, name: str, region: Region, at: npt.NDArray[np.intp]) -> Map:
    """Values of a map, or the probability, at some voxels (flat indices in C order), float32 (n,)."""
    if name != PROBABILITY:
        return case.uncertainty_at(name, region, at)
    values: Map = case.probability(region).ravel()[at]
    return values


def _inner(case: Case, name: str, region: Region) -> Histogram:
    values = values_at(case, name, region, inside(case))
    counts = np.bincount(_joint(case, name, region), minlength=len(CODES) * BINS).reshape(len(CODES), BINS)
    return Histogram(counts.astype(np.int64, copy=False), distinct_levels(values, _bound(name)))


def _joint(case: Case, name: str, region: Region) -> npt.NDArray[np.uint16]:
    """Code and bin of every voxel inside, in one number."""

    def join() -> npt.NDArray[np.uint16]:
        bins = bin_indices(values_at(case, name, region, inside(case)), _bound(name))
        return np.asarray(bins | codes(case, region).astype(np.uint16) << 12)

    return case.once(("joint", name, region), join)


def _inner_moments(case: Case, name: str, region: Region) -> npt.NDArray[np.float64]:
    joint = _joint(case, name, region)
    values = values_at(case, name, region, inside(case)).astype(np.float64)
    sums = [np.bincount(joint, weights=weights, minlength=len(CODES) * BINS) for weights in (values, values * values)]
    return np.asarray(np.stack(sums).reshape(2, len(CODES), BINS))


def _whole(case: Case, name: str, region: Region, inner: Histogram) -> Histogram:
    """The histogram with the voxels outside, which are nearly always 0 and then need only be counted."""
    counts, levels = inner.counts.copy(), inner.levels
    nonzero, zeros = _nonzero_outside(case, name, region)
    counts[0, 0] += zeros
    if nonzero.size:
        counts[0] += np.bincount(bin_indices(nonzero, _bound(name)), minlength=BINS)
        levels = levels + distinct_levels(nonzero, _bound(name))
    return Histogram(counts, levels)


def _outer_moments(case: Case, name: str, region: Region) -> npt.NDArray[np.float64]:
    nonzero, _ = _nonzero_outside(case, name, region)
    outer = np.zeros((2, len(CODES), BINS))
    if nonzero.size:
        bins, weights = bin_indices(nonzero, _bound(name)), nonzero.astype(np.float64)
        outer[:, 0] = [np.bincount(bins, weights=power, minlength=BINS) for power in (weights, weights * weights)]
    return outer


def _nonzero_outside(case: Case, name: str, region: Region) -> tuple[Map, int]:
    """Values beyond the voxels inside, without those that are 0, and the number of these."""

    def find() -> npt.NDArray[np.intp]:
        elsewhere = np.ones(case.brain.size, dtype=bool)
        elsewhere[inside(case)] = False
        return np.flatnonzero(elsewhere)

    values = values_at(case, name, region, case.once("outside", find))
    nonzero = values[values > 0]
    return nonzero, values.size - nonzero.size


def _bound(name: str) -> float:
    return 1.0 if name == PROBABILITY else upper_bound(name)
