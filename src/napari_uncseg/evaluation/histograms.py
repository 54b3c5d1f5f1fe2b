"""Histograms of a case: a map is binned once, and every metric reads its voxel set out of the same integer counts.

A voxel's value becomes one of 4096 bins, and what is known about it (in the brain, near the tumour, predicted, true)
a code of four bits. Both make one 16-bit number, and counting these numbers once gives the histogram of every voxel
set, split by error or by truth. Counts are int64 and sums float64: float32 sums saturate at 2**24, two volumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case, Map, upper_bound
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS, Region

Counts = npt.NDArray[np.int64]

BINS = 4096
"""Bins of every histogram of a map."""

PROBABILITY = "probability"
"""Stands for the probability of the region where the name of a map is asked for."""

BRAIN, TUMOUR, PREDICTED, TRUE = 1, 2, 4, 8
"""Bits of a voxel's code: in the brain, in the voxel set ``tumour``, in the region as predicted, and as it is."""

CODES = np.arange(16)
"""All codes; the others than 0 cover every voxel that is in any voxel set but ``all``."""

DIVISIONS = 3000
"""Whole multiples of 1/3000 of the range are edges of bins, from 1/62.5 on both sides of it inwards."""

_MARGIN = 48  # multiples of 1/3000 at both ends that are cut finer
_SMALLEST = 2.0**-56  # of the range: below, all but 0 is one bin
_NEAR_ONE = 2.0**-24  # closer to its bound a float32 cannot come
_LOW, _HIGH = 902, 289  # finer bins at the lower and upper end
_DROPPED_BITS = 12
_LEVEL_BITS = 10  # dropped where ties are told from values that differ
_LEVEL_SAMPLE = 1 << 18  # voxels that are enough to tell
_CHUNK = 1 << 14
_SIGN = 1 << (31 - _DROPPED_BITS)


def bin_edges(upper: float = 1.0) -> npt.NDArray[np.float64]:
    """Edges of the bins; each bin holds its upper edge, the first one 0 alone.

    Maps pile up near 0, probabilities near 0 and 1. Bins are therefore 1/3000 of the range wide in the middle and
    shrink geometrically to both ends. Whole multiples of 1/40 (the thresholds of QU-BraTS) and 1/15 are edges.

    Parameters
    ----------
    upper : float
        Largest value of the map.

    Returns
    -------
    ndarray of float64, shape (4097,)
        From 0, twice, to ``upper``.
    """
    margin = _MARGIN / DIVISIONS
    low = np.geomspace(_SMALLEST, margin, _LOW)
    middle = np.arange(_MARGIN + 1, DIVISIONS - _MARGIN + 1) / DIVISIONS
    high = 1.0 - np.geomspace(margin, _NEAR_ONE, _HIGH)[1:]
    return np.asarray(np.concatenate([[0.0, 0.0], low, middle, high, [1.0]]) * upper)


def bin_indices(values: Map, upper: float = 1.0) -> npt.NDArray[np.uint16]:
    """Bin of every value: exactly the one whose edges enclose it.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
        In 0..``upper``.
    upper : float
        Largest value of the map.

    Returns
    -------
    ndarray of uint16, shape (n,)

    Notes
    -----
    The leading 20 bits of a float32 grow with its value, so a table tells the bin of the smallest float that shares
    them; as bins are wider than what the dropped bits can say, one comparison with that bin's edge settles the rest.
    Above the middle of the range it is the distance to the upper bound, which is exact, that is looked up.
    """
    table, edges = _tables(upper)
    bound, middle = np.float32(upper), np.float32(upper / 2)
    bins = np.empty(values.size, dtype=np.uint16)
    for start in range(0, values.size, _CHUNK):  # in pieces that stay in the processor's cache
        piece = slice(start, start + _CHUNK)
        some = values[piece]
        folded = np.copysign(np.minimum(some, bound - some), middle - some)
        looked_up = table.take(folded.view(np.uint32) >> _DROPPED_BITS, mode="clip")
        np.add(looked_up, some > edges.take(looked_up), out=bins[piece])
    return bins


@lru_cache(maxsize=8)
def _tables(upper: float) -> tuple[npt.NDArray[np.uint16], Map]:
    """Bin by leading bits, and the upper edge of each bin rounded down to float32 (the last one is open)."""
    exact = bin_edges(upper)[1:]
    edges = exact.astype(np.float32)
    edges = np.where(edges > exact, np.nextafter(edges, np.float32(-1)), edges).astype(np.float32)
    edges[-1] = np.inf
    bound = np.float32(upper)
    keys = np.arange((int((bound / 2).view(np.uint32)) >> _DROPPED_BITS) + 2, dtype=np.uint32) << _DROPPED_BITS
    below = keys.view(np.float32)
    above = bound - (keys | ((1 << _DROPPED_BITS) - 1)).view(np.float32)
    table = np.full(_SIGN + len(keys), BINS - 1, dtype=np.uint16)
    table[: len(keys)] = np.searchsorted(edges, below)
    table[_SIGN:] = np.searchsorted(edges, above)
    return table, edges


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
    return (
        case.once(("histogram outside", name, region), lambda: _whole(case, name, region, inner)) if outside else inner
    )


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


def in_set(voxel_set: VoxelSet) -> npt.NDArray[np.bool_]:
    """Which of the sixteen codes belong to a voxel set, bool (16,)."""
    match voxel_set:
        case VoxelSet.ALL:
            return np.ones(len(CODES), dtype=bool)
        case VoxelSet.BRAIN:
            return (CODES & BRAIN) > 0
        case VoxelSet.TUMOUR:
            return (CODES & TUMOUR) > 0
        case VoxelSet.UNION:
            return (CODES & (PREDICTED | TRUE)) > 0
        case VoxelSet.REFERENCE:
            return (CODES & TRUE) > 0
        case VoxelSet.PREDICTION:
            return (CODES & PREDICTED) > 0


def is_true() -> npt.NDArray[np.bool_]:
    """Codes of voxels that are in the region, bool (16,)."""
    return (CODES & TRUE) > 0


def is_error() -> npt.NDArray[np.bool_]:
    """Codes of voxels where prediction and reference differ, bool (16,)."""
    return np.asarray(((CODES & PREDICTED) > 0) != is_true())


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
        index = REGIONS.index(region)
        masks = (case.brain, case.tumour, case.prediction[index], case.reference[index])
        bits = [mask.ravel()[inside(case)].view(np.uint8) for mask in masks]
        return np.asarray(bits[0] | bits[1] << 1 | bits[2] << 2 | bits[3] << 3)

    return case.once(("codes", region), encode)


def values_inside(case: Case, name: str, region: Region) -> Map:
    """Values of a map, or the probability, at the voxels of :func:`inside`, float32 (n,)."""
    if name == PROBABILITY:
        values: Map = case.probability(region).ravel()[inside(case)]
        return values
    return case.uncertainty_at(name, region, inside(case))


def _inner(case: Case, name: str, region: Region) -> Histogram:
    values = values_inside(case, name, region)
    counts = np.bincount(_joint(case, name, region), minlength=len(CODES) * BINS).reshape(len(CODES), BINS)
    return Histogram(counts.astype(np.int64, copy=False), _levels(values, _bound(name)))


def _joint(case: Case, name: str, region: Region) -> npt.NDArray[np.uint16]:
    """Code and bin of every voxel inside, in one number."""

    def join() -> npt.NDArray[np.uint16]:
        bins = bin_indices(values_inside(case, name, region), _bound(name))
        return np.asarray(bins | codes(case, region).astype(np.uint16) << 12)

    return case.once(("joint", name, region), join)


def _inner_moments(case: Case, name: str, region: Region) -> npt.NDArray[np.float64]:
    joint = _joint(case, name, region)
    values = values_inside(case, name, region).astype(np.float64)
    sums = [np.bincount(joint, weights=weights, minlength=len(CODES) * BINS) for weights in (values, values * values)]
    return np.asarray(np.stack(sums).reshape(2, len(CODES), BINS))


def _whole(case: Case, name: str, region: Region, inner: Histogram) -> Histogram:
    """The histogram with the voxels outside, which are nearly always 0 and then need only be counted."""
    counts, levels = inner.counts.copy(), inner.levels
    values = _values_outside(case, name, region)
    nonzero = values[values > 0]
    counts[0, 0] += values.size - nonzero.size
    if nonzero.size:
        counts[0] += np.bincount(bin_indices(nonzero, _bound(name)), minlength=BINS)
        levels = levels + _levels(nonzero, _bound(name))
    return Histogram(counts, levels)


def _outer_moments(case: Case, name: str, region: Region) -> npt.NDArray[np.float64]:
    values = _values_outside(case, name, region)
    nonzero = values[values > 0]
    outer = np.zeros((2, len(CODES), BINS))
    if nonzero.size:
        bins, weights = bin_indices(nonzero, _bound(name)), nonzero.astype(np.float64)
        outer[:, 0] = [np.bincount(bins, weights=power, minlength=BINS) for power in (weights, weights * weights)]
    return outer


def _values_outside(case: Case, name: str, region: Region) -> Map:
    def find() -> npt.NDArray[np.intp]:
        elsewhere = np.ones(case.brain.size, dtype=bool)
        elsewhere[inside(case)] = False
        return np.flatnonzero(elsewhere)

    voxels = case.once("outside", find)
    if name == PROBABILITY:
        values: Map = case.probability(region).ravel()[voxels]
        return values
    return case.uncertainty_at(name, region, voxels)


def _levels(values: Map, upper: float) -> Counts:
    """Distinct leading bits in each bin beyond the first, of a fixed sample of the voxels when they are many."""
    values = values[:: 1 + values.size // _LEVEL_SAMPLE]
    seen = np.zeros((int(np.float32(upper).view(np.uint32)) >> _LEVEL_BITS) + 1, dtype=bool)
    sizes = np.minimum(np.abs(values), np.float32(upper))  # formulas give −0 and, by rounding, more than the bound
    seen[sizes.view(np.uint32) >> _LEVEL_BITS] = True
    occupied = np.flatnonzero(seen).astype(np.uint32) << _LEVEL_BITS
    levels = np.bincount(bin_indices(occupied.view(np.float32), upper), minlength=BINS)
    return np.maximum(levels - 1, 0).astype(np.int64)


def _bound(name: str) -> float:
    return 1.0 if name == PROBABILITY else upper_bound(name)
