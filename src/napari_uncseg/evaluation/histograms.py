"""Histograms of a case: a map is binned once, and every metric reads its voxel set out of the same integer counts.

Counts are int64 and sums float64: float32 sums saturate at 2**24, two volumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import Floats32, Floats64, Ints64, Places
from napari_uncseg.evaluation.case import Case, once_per_case, upper_bound
from napari_uncseg.labels import Region
from napari_uncseg.metrics.histograms import BINS, CODES, bin_indices, distinct_levels


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

    counts: Ints64
    levels: Ints64


@once_per_case
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
    upper = upper_bound(name)
    if outside:
        inner, (nonzero, zeros) = histogram(case, name, region), _outside(case, name, region)
        counts = inner.counts.copy()
        counts[0] += np.bincount(bin_indices(nonzero, upper), minlength=BINS)
        counts[0, 0] += zeros
        return Histogram(counts, inner.levels + distinct_levels(nonzero, upper))
    counts = np.bincount(_joint(case, name, region), minlength=len(CODES) * BINS).reshape(len(CODES), BINS)
    values = case.uncertainty_at(name, region, inside(case))
    return Histogram(counts.astype(np.int64, copy=False), distinct_levels(values, upper))


@once_per_case
def moments(case: Case, name: str, region: Region, *, outside: bool = False) -> Floats64:
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
    if outside:
        values, _ = _outside(case, name, region)
        places = bin_indices(values, upper_bound(name))
    else:
        values, places = case.uncertainty_at(name, region, inside(case)), _joint(case, name, region)
    weights = values.astype(np.float64)
    sums = [np.bincount(places, power, minlength=len(CODES) * BINS) for power in (weights, weights * weights)]
    added = np.array(sums, dtype=np.float64).reshape(2, len(CODES), BINS)
    return added + moments(case, name, region) if outside else added


@once_per_case
def inside(case: Case) -> Places:
    """Flat indices (C order) of the voxels in the brain, near the tumour or in any mask."""
    union = case.brain | case.tumour
    for mask in (*case.prediction, *case.reference):
        union |= mask
    return np.flatnonzero(union)


@once_per_case
def codes(case: Case, region: Region) -> npt.NDArray[np.uint8]:
    """Code of every voxel of :func:`inside`, uint8 (n,)."""
    masks = (case.brain, case.tumour, case.predicted(region), case.true(region))
    bits = [mask.ravel()[inside(case)].view(np.uint8) for mask in masks]
    return np.asarray(bits[0] | bits[1] << 1 | bits[2] << 2 | bits[3] << 3)


@once_per_case
def _joint(case: Case, name: str, region: Region) -> npt.NDArray[np.uint16]:
    """Code and bin of every voxel inside, in one number."""
    bins = bin_indices(case.uncertainty_at(name, region, inside(case)), upper_bound(name))
    return np.asarray(bins | codes(case, region).astype(np.uint16) << 12)


@once_per_case
def _elsewhere(case: Case) -> Places:
    outside = np.ones(case.brain.size, dtype=bool)
    outside[inside(case)] = False
    return np.flatnonzero(outside)


def _outside(case: Case, name: str, region: Region) -> tuple[Floats32, int]:
    """Values beyond the voxels inside that are not 0, which nearly all are, and the number of those that are."""
    values = case.uncertainty_at(name, region, _elsewhere(case))
    nonzero = values[values > 0]
    return nonzero, values.size - nonzero.size
