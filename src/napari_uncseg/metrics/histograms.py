"""Histograms of maps: one binning for all metrics, and codes that tell which voxel set a voxel is in.

A voxel's value becomes one of 4096 bins, and what is known about it (in the brain, near the tumour, predicted, true)
a code of four bits. Both make one 16-bit number, and counting these numbers once gives the histogram of every voxel
set, split by error or by truth.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import Floats32, Floats64, Ints64, Mask
from napari_uncseg.metrics.voxel_sets import VoxelSet

BINS = 4096
"""Bins of every histogram of a map."""

BRAIN, TUMOUR, PREDICTED, TRUE = 1, 2, 4, 8
"""Bits of a voxel's code: in the brain, in the voxel set ``tumour``, in the region as predicted, and as it is."""

CODES = np.arange(16)
"""All codes; the others than 0 cover every voxel that is in any voxel set but ``all``."""

IS_TRUE = (CODES & TRUE) > 0
"""Codes of voxels that are in the region, bool (16,)."""

IS_ERROR = ((CODES & PREDICTED) > 0) != IS_TRUE
"""Codes of voxels where prediction and reference differ, bool (16,)."""

_SET_BITS = {
    VoxelSet.BRAIN: BRAIN,
    VoxelSet.TUMOUR: TUMOUR,
    VoxelSet.UNION: PREDICTED | TRUE,
    VoxelSet.REFERENCE: TRUE,
    VoxelSet.PREDICTION: PREDICTED,
}

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


def in_set(voxel_set: VoxelSet) -> Mask:
    """Which of the sixteen codes belong to a voxel set, bool (16,)."""
    return np.asarray((CODES & _SET_BITS[voxel_set]) > 0) if voxel_set in _SET_BITS else np.ones(len(CODES), dtype=bool)


def bin_edges(upper: float = 1.0) -> Floats64:
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


def bin_indices(values: Floats32, upper: float = 1.0) -> npt.NDArray[np.uint16]:
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


def distinct_levels(values: Floats32, upper: float) -> Ints64:
    """Distinct values in each bin beyond the first, which tell ties from values that differ.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
        Many values are read from a fixed sample of them.
    upper : float
        Largest value of the map.

    Returns
    -------
    ndarray of int64, shape (4096,)
        As far as 13 leading bits of the mantissa tell; 0 in a bin whose voxels are all tied.
    """
    values = values[:: 1 + values.size // _LEVEL_SAMPLE]
    seen = np.zeros((int(np.float32(upper).view(np.uint32)) >> _LEVEL_BITS) + 1, dtype=bool)
    sizes = np.minimum(np.abs(values), np.float32(upper))  # formulas give −0 and, by rounding, more than the bound
    seen[sizes.view(np.uint32) >> _LEVEL_BITS] = True
    occupied = np.flatnonzero(seen).astype(np.uint32) << _LEVEL_BITS
    levels = np.bincount(bin_indices(occupied.view(np.float32), upper), minlength=BINS)
    return np.maximum(levels - 1, 0).astype(np.int64)


@lru_cache(maxsize=8)
def _tables(upper: float) -> tuple[npt.NDArray[np.uint16], Floats32]:
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
