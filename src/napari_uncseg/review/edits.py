"""What a click changes in a segmentation: a finding into a region or out of it, growth by intensity, between slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy import ndimage

from napari_uncseg.arrays import AnyFloats, AnyInts, Floats64, Labels, Mask
from napari_uncseg.labels import REGION_LABELS, REGIONS, REGIONS_CLASS_ORDER, Label, Region
from napari_uncseg.metrics.morphology import bounding_box

Box = tuple[slice, ...]

LABEL_IN: Mapping[Region, Label] = dict(zip(REGIONS, REGIONS_CLASS_ORDER, strict=True))
"""What a voxel becomes that joins a region: oedema in WT, non-enhancing core in TC, enhancing tumour in ET."""

LABEL_OUT: Mapping[Region, int] = dict(zip(REGIONS, (0, *REGIONS_CLASS_ORDER), strict=False))
"""What a voxel becomes that leaves a region: what the next larger region has there."""

REGION_OF: Mapping[int, Region | None] = {0: None, **{int(label): region for region, label in LABEL_IN.items()}}
"""The region that painting a label adds to; painting 0 takes away."""

MARGIN = 6
"""Voxels around what was painted within which shapes between slices are told."""

MOST_GAP_MM = 25.0
"""Slices farther apart than this are not interpolated: they belong to two places."""


def in_region(labels: AnyInts, region: Region | None) -> Mask:
    """Voxels of a region; with None those of no tumour."""
    return np.isin(labels, REGION_LABELS[region]) if region is not None else labels == 0


def add_to(labels: Labels, mask: Mask, region: Region | None) -> Labels:
    """Labels after the voxels of a mask joined a region; those that are in it keep their label. None takes all away."""
    joined = LABEL_IN[region] if region is not None else 0
    return np.where(mask & ~in_region(labels, region), np.uint8(joined), labels)


def remove_from(labels: Labels, mask: Mask, region: Region) -> Labels:
    """Labels after the voxels of a mask left a region, and with it the smaller ones inside of it."""
    return np.where(mask & in_region(labels, region), np.uint8(LABEL_OUT[region]), labels)


def grow(
    image: AnyFloats, seed: Sequence[int], spacing: Sequence[float], tolerance: float, reach_mm: float
) -> tuple[Box, Mask]:
    """Grow a place over the voxels around it that look like it.

    Parameters
    ----------
    image : ndarray of float, shape (i, j, k)
    seed : sequence of int
        Voxel to begin with.
    spacing : sequence of float
        Voxel size along each axis, mm.
    tolerance : float
        Largest difference from the intensity at the seed.
    reach_mm : float
        Radius of the ball around the seed that is not left.

    Returns
    -------
    box : tuple of slice
        Of that ball in the image.
    mask : ndarray of bool, shape of the box
        Voxels that are connected to the seed by faces, after a median over 3 x 3 x 3 voxels, against the noise.
    """
    reach = [max(int(reach_mm / size), 1) for size in spacing]
    box = tuple(
        slice(max(at - most, 0), min(at + most + 1, count))
        for at, most, count in zip(seed, reach, image.shape, strict=True)
    )
    inner = tuple(at - part.start for at, part in zip(seed, box, strict=True))
    smooth = ndimage.median_filter(np.asarray(image[box], dtype=np.float32), size=3)
    axes = np.ogrid[tuple(slice(0, count) for count in smooth.shape)]
    away = sum(((axis - at) * size) ** 2 for axis, at, size in zip(axes, inner, spacing, strict=True))
    alike = (np.abs(smooth - smooth[inner]) <= tolerance) & (away <= reach_mm**2)
    alike[inner] = True
    pieces, _ = ndimage.label(alike)
    return box, np.asarray(pieces == pieces[inner])


def between_slices(
    before: Labels, now: Labels, region: Region | None, axis: int, spacing: Sequence[float]
) -> tuple[Box, Mask] | None:
    """Voxels between painted slices that the shapes in these slices enclose.

    Parameters
    ----------
    before, now : ndarray of uint8, shape (i, j, k)
        Labels before and after slices were painted.
    region : Region, optional
        What was added to; None for what was taken away.
    axis : int
        Across the slices.
    spacing : sequence of float
        Voxel size along each axis, mm.

    Returns
    -------
    box : tuple of slice
    mask : ndarray of bool, shape of the box
        What is still to join the region; None instead of both when no two painted slices have a gap between them.

    Notes
    -----
    Shape-based interpolation (Raya and Udupa, IEEE Transactions on Medical Imaging 9 (1990), 32-42): between two slices
    the signed distances from the contours in them, positive inside, are interpolated linearly; what is positive is
    inside. The shapes are those of the whole region round what was painted, so that what was added to its rim follows
    it.
    """
    margin = [0 if other == axis else MARGIN for other in range(3)]
    box = bounding_box(now != before, margin)
    if box is None:
        return None
    inside = np.moveaxis(in_region(now[box], region), axis, 0)
    painted = inside & ~np.moveaxis(in_region(before[box], region), axis, 0)
    found = np.zeros_like(inside)
    plane = [size for other, size in enumerate(spacing) if other != axis]
    for low, high in pairwise(np.flatnonzero(painted.any(axis=(1, 2))).tolist()):
        if high - low < 2 or (high - low) * spacing[axis] > MOST_GAP_MM or not _meet(painted[low], painted[high]):
            continue
        first, last = (_signed_distance(inside[end], plane) for end in (low, high))
        for at in range(low + 1, high):
            share = (at - low) / (high - low)
            found[at] = (1 - share) * first + share * last > 0
    found &= ~inside
    return (box, np.moveaxis(found, 0, axis)) if found.any() else None


def _meet(one: Mask, other: Mask) -> bool:
    """Whether the rectangles round two shapes overlap."""
    first, second = bounding_box(one), bounding_box(other)
    assert first is not None
    assert second is not None
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(first, second, strict=True))


def _signed_distance(shape: Mask, spacing: Sequence[float]) -> Floats64:
    """Distance from the contour, positive inside; what lies beyond the array is outside."""
    padded = np.pad(shape, 1)
    inside, outside = (ndimage.distance_transform_edt(each, sampling=spacing) for each in (padded, ~padded))
    distance: Floats64 = (inside - outside)[1:-1, 1:-1]
    return distance
