"""Masks in millimetres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_uncseg.arrays import Array, Floats32, Mask

_ROUNDING = 1e-6
"""Relative slack of a distance, so that five voxels of 1 mm are within 5 mm."""


def bounding_box(mask: Mask, margin: Sequence[int] | None = None) -> tuple[slice, ...] | None:
    """Smallest box that holds every True voxel.

    Parameters
    ----------
    mask : ndarray of bool, any number of axes
    margin : sequence of int, optional
        Voxels to add on both sides of each axis, cut at the array's borders.

    Returns
    -------
    tuple of slice, or None
        One slice per axis; None when no voxel is True.
    """
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if occupied.size == 0:
            return None
        extra = margin[axis] if margin is not None else 0
        box.append(slice(max(int(occupied[0]) - extra, 0), min(int(occupied[-1]) + 1 + extra, mask.shape[axis])))
    return tuple(box)


def box_within(outer: tuple[slice, ...], inner: tuple[slice, ...]) -> tuple[slice, ...]:
    """Where a box inside of another one lies in the whole."""
    return tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))


def dilate_mm(mask: Mask, spacing: Sequence[float], mm: float) -> Mask:
    """Dilate a mask by a distance in millimetres.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
    spacing : sequence of float
        Voxel size along each axis, mm.
    mm : float
        Voxels whose centre lies within this Euclidean distance of the centre of a True voxel join the mask.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        A new array; equal to ``mask`` when it is empty or ``mm`` is 0.

    Notes
    -----
    The ball is taken apart into columns along z: the mask is grown along z once per height of a column, and the grown
    masks are shifted in x and y. For a few voxels' radius this is exact and far quicker than a distance transform.
    """
    dilated = np.array(mask, dtype=bool)
    reach = [int(mm / size * (1 + _ROUNDING)) for size in spacing]
    box = bounding_box(dilated, margin=reach)
    if box is None:
        return dilated
    columns: dict[int, list[tuple[int, int]]] = {}
    for dx in range(-reach[0], reach[0] + 1):
        for dy in range(-reach[1], reach[1] + 1):
            left = (mm * (1 + _ROUNDING)) ** 2 - (dx * spacing[0]) ** 2 - (dy * spacing[1]) ** 2
            if left >= 0:
                columns.setdefault(int(left**0.5 / spacing[2]), []).append((dx, dy))
    seed, ball = dilated[box].copy(), dilated[box]
    grown = seed.copy()
    for height in range(max(columns) + 1):
        if height > 0:
            grown[:, :, height:] |= seed[:, :, :-height]
            grown[:, :, :-height] |= seed[:, :, height:]
        for dx, dy in columns.get(height, ()):
            (to_x, from_x), (to_y, from_y) = _shift(dx), _shift(dy)
            ball[to_x, to_y] |= grown[from_x, from_y]
    return dilated


def distance_within(mask: Mask, spacing: Sequence[float], limit: float) -> Floats32:
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
        distance: Floats32 = np.sqrt(steps, dtype=np.float32)
        distance *= np.float32(first)
        return np.minimum(distance, np.float32(limit), out=distance)
    exact: Floats32 = np.sqrt(_squared_distances(mask, spacing, limit**2, np.float32))
    return exact


def _squared_distances(mask: Mask, spacing: Sequence[float], most: float, kind: type[np.generic]) -> Array:
    """Squared distance of every voxel of a mask from the nearest outside it, at most ``most``, as numbers of a kind."""
    squared = np.where(mask, kind(most), kind(0))
    away = np.empty_like(squared)
    for axis, size in enumerate(spacing):
        reach = min(int(most**0.5 / size), mask.shape[axis] - 1)
        least = squared.copy()
        near, far = (np.moveaxis(array, axis, 0) for array in (least, away))
        for offset in range(1, reach + 1):
            farther = (offset * size) ** 2
            if farther >= least.max(initial=0):  # nothing from there on is nearer
                break
            np.add(squared, kind(farther), out=away)
            np.minimum(near[:-offset], far[offset:], out=near[:-offset])
            np.minimum(near[offset:], far[:-offset], out=near[offset:])
        squared = least
    return squared


def open_ball(mask: Mask, radius: float) -> Mask:
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
    padding, ones = int(radius), (1.0, 1.0, 1.0)
    core = ~dilate_mm(~np.pad(mask, padding), ones, radius)
    return dilate_mm(core, ones, radius)[(slice(padding, -padding or None),) * 3]


def _shift(by: int) -> tuple[slice, slice]:
    """Where voxels go to and come from when an axis is shifted."""
    return (slice(by, None), slice(None, -by or None)) if by >= 0 else (slice(None, by), slice(-by, None))
