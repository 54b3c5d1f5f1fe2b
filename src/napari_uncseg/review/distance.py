"""Distances in millimetres up to a limit: all that findings need of a distance transform, at a tenth of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.metrics.morphology import dilate_mm


def distance_within(mask: npt.NDArray[np.bool_], spacing: Sequence[float], limit: float) -> npt.NDArray[np.float32]:
    """Distance of every voxel of a mask from the nearest voxel outside it, as far as a limit.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        What lies beyond the array belongs to the mask.
    spacing : sequence of float
        Voxel size along each axis, mm.
    limit : float
        Larger distances are cut to it, mm.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Between centres of voxels; 0 outside the mask, ``limit`` where the nearest voxel outside is that far or farther.

    Notes
    -----
    Squared distances are separable: along each axis in turn, the least of (squared distance so far of a voxel + its
    squared offset) over the voxels within the limit is taken (Felzenszwalb and Huttenlocher, Theory of Computing 8
    (2012), 415-428, equation 2). Within a limit of a few voxels, trying all offsets is quicker than the lower envelope.
    """
    first, *others = spacing
    if all(size == first for size in others):
        # In voxels squared distances are whole numbers, and small ones are quicker than floats.
        most = int((limit / first) ** 2) + 1
        steps = _squared_distances(mask, (1.0,) * 3, most, np.uint16 if most < 30000 else np.int64)
        distance: npt.NDArray[np.float32] = np.sqrt(steps, dtype=np.float32)
        distance *= np.float32(first)
        return np.minimum(distance, np.float32(limit), out=distance)
    exact: npt.NDArray[np.float32] = np.sqrt(_squared_distances(mask, spacing, limit**2, np.float32))
    return exact


def _squared_distances(
    mask: npt.NDArray[np.bool_], spacing: Sequence[float], most: float, kind: type[np.generic]
) -> npt.NDArray[Any]:
    """Squared distance of every voxel of a mask from the nearest outside it, at most ``most``, as numbers of a kind."""
    squared = np.where(mask, kind(most), kind(0))
    away = np.empty_like(squared)
    for axis, size in enumerate(spacing):
        reach = min(int(most**0.5 / size), mask.shape[axis] - 1)
        least = squared.copy()
        for offset in range(1, reach + 1):
            farther = (offset * size) ** 2
            if farther >= least.max(initial=0):  # nothing from there on is nearer
                break
            np.add(squared, kind(farther), out=away)
            lower, upper = _cut(axis, slice(None, -offset)), _cut(axis, slice(offset, None))
            np.minimum(least[lower], away[upper], out=least[lower])
            np.minimum(least[upper], away[lower], out=least[upper])
        squared = least
    return squared


def open_ball(mask: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """Morphological opening by a ball: the voxels of a mask that some ball lying wholly within it covers.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        What lies beyond the array is outside.
    radius : float
        Of the ball, in voxels along every axis.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
    """
    padding = int(radius)
    padded = np.pad(mask, padding)
    core = ~dilate_mm(~padded, (1.0, 1.0, 1.0), radius)
    opened = dilate_mm(core, (1.0, 1.0, 1.0), radius)
    return opened[(slice(padding, -padding or None),) * 3]


def _cut(axis: int, part: slice) -> tuple[slice, ...]:
    cut = [slice(None)] * 3
    cut[axis] = part
    return tuple(cut)
