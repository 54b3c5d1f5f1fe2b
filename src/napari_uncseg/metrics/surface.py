"""Surfaces of masks, the distances between them, the shells of voxels around them, and smooth meshes to be looked at.

Two surfaces are in use, because two communities print two numbers under one name: the voxels of a mask that touch its
outside (MONAI, scipy), and the surface elements between voxels, weighted by their area (the BraTS challenges).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from napari_uncseg.arrays import Floats32, Floats64, Ints32, Labels, Mask
from napari_uncseg.metrics.morphology import bounding_box

SHELL_EDGES_MM: tuple[float, ...] = (1.0, 3.0, 6.0)
"""Upper ends of the shells of :func:`boundary_shells`; the last shell is everything beyond."""

SHRINK, SWELL = 0.5, -0.53
"""Factors of Taubin's two steps of smoothing."""

ROUNDS = 12
"""Pairs of steps: enough to take the steps of the voxels away."""

_ROUNDING = 1e-6
_CORNERS = tuple(product((0, 1), repeat=3))


def surface_voxels(mask: Mask, spacing: Sequence[float]) -> Floats64:
    """Centres of the voxels of a mask that share a face with its outside.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        What lies beyond the array is outside.
    spacing : sequence of float
        Voxel size along each axis, mm.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Positions in mm from the array's first voxel; n is 0 for an empty mask.
    """
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3))
    inside = np.pad(mask[box], 1)
    core = inside[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            core &= inside[tuple(side if other == axis else slice(1, -1) for other in range(3))]
    points = np.argwhere(mask[box] & ~core) + [one.start for one in box]
    return np.asarray(points * np.asarray(spacing, dtype=np.float64))


def surfels(mask: Mask, spacing: Sequence[float]) -> tuple[Floats64, Floats64]:
    """Surface elements of a mask: one for each cube of eight voxels that holds voxels of both kinds.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        What lies beyond the array is outside.
    spacing : sequence of float
        Voxel size along each axis, mm.

    Returns
    -------
    points : ndarray of float64, shape (n, 3)
        Centres of the cubes, in mm from the array's first voxel.
    areas : ndarray of float64, shape (n,)
        Area of the surface within each cube, mm².

    References
    ----------
    Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23 (2021),
    e26151, who weight surface distances by area; Lorensen and Cline, "Marching cubes", SIGGRAPH (1987).
    """
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3)), np.empty(0)
    inside = np.pad(mask[box], 1).view(np.uint8)
    codes = np.zeros(tuple(size - 1 for size in inside.shape), dtype=np.uint8)
    for bit, corner in enumerate(_CORNERS):
        codes |= inside[tuple(slice(at, at + size) for at, size in zip(corner, codes.shape, strict=True))] << bit
    mixed = (codes != 0) & (codes != 255)
    # The first cube lies half a voxel before the box's first voxel.
    points = (np.argwhere(mixed) + [one.start - 0.5 for one in box]) * np.asarray(spacing, dtype=np.float64)
    x, y, z = (float(size) for size in spacing)
    return points, surfel_areas((x, y, z))[codes[mixed]]


def hd95(prediction: Mask, reference: Mask, spacing: Sequence[float], empty: float = 374.0) -> float:
    """95th percentile Hausdorff distance between the surface voxels of two masks, as MONAI defines it.

    Parameters
    ----------
    prediction, reference : ndarray of bool, shape (x, y, z)
    spacing : sequence of float
        Voxel size along each axis, mm.
    empty : float
        Value when exactly one mask is empty; BraTS 2023 has 374 mm, the diagonal of its volumes.

    Returns
    -------
    float
        mm: the larger of the two directed 95th percentiles (linear between samples); 0 when both masks are empty.
        Percentiles over both directions thrown together, as some tools have it, are another number.
    """
    here, there = surface_voxels(prediction, spacing), surface_voxels(reference, spacing)
    if not len(here) or not len(there):
        return 0.0 if len(here) == len(there) else empty
    return max(float(np.percentile(distances, 95)) for distances in surface_distances(here, there))


def surfel_hd95(prediction: Mask, reference: Mask, spacing: Sequence[float], empty: float = 374.0) -> float:
    """95th percentile Hausdorff distance in which every part of a surface counts by its area.

    Parameters
    ----------
    prediction, reference : ndarray of bool, shape (x, y, z)
    spacing : sequence of float
        Voxel size along each axis, mm.
    empty : float
        Value when exactly one mask is empty.

    Returns
    -------
    float
        mm: the larger of the two distances within which 95 % of one surface's area lie from the other; 0 when both
        masks are empty.

    References
    ----------
    Nikolov et al., JMIR 23 (2021), e26151: the robust Hausdorff distance the BraTS challenges print.
    """
    (here, here_areas), (there, there_areas) = surfels(prediction, spacing), surfels(reference, spacing)
    if not len(here) or not len(there):
        return 0.0 if len(here) == len(there) else empty
    forth, back = surface_distances(here, there)
    return max(_weighted_quantile(forth, here_areas, 0.95), _weighted_quantile(back, there_areas, 0.95))


def surface_distances(here: Floats64, there: Floats64) -> tuple[Floats64, Floats64]:
    """Distance of every point of a surface to the nearest of another, both ways.

    Parameters
    ----------
    here, there : ndarray of float64, shapes (n, 3) and (m, 3)
        Positions in mm; neither empty.

    Returns
    -------
    tuple of ndarray of float64, shapes (n,) and (m,)
        mm.

    Notes
    -----
    A k-d tree over the surfaces visits some ten thousand points where a distance transform fills millions of voxels.
    """
    trees = [cKDTree(points, leafsize=32, balanced_tree=False) for points in (here, there)]
    return trees[1].query(here)[0], trees[0].query(there)[0]


def boundary_shells(mask: Mask, spacing: Sequence[float], edges: Sequence[float] = SHELL_EDGES_MM) -> Labels:
    """Number the shells around the boundary of a mask that voxels lie in.

    The distance of a voxel to the boundary is that to the nearest voxel on its other side: the two layers of voxels
    that face each other across the boundary are both one voxel away from it, so shells treat inside and outside alike.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        Neither side may be empty; without a boundary every voxel is in the last shell.
    spacing : sequence of float
        Voxel size along each axis, mm.
    edges : sequence of float
        Upper ends of the shells in mm, ascending; a voxel exactly on an end belongs to the shell below.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        Number of the shell, 0 nearest the boundary, ``len(edges)`` for voxels beyond the last end.
    """
    shells = np.full(mask.shape, len(edges), dtype=np.uint8)
    # Beyond this box every voxel is farther than the last end; within it the nearest voxels of both sides are there.
    box = bounding_box(mask, margin=[int(edges[-1] / size * (1 + _ROUNDING)) + 1 for size in spacing])
    if box is None or mask[box].all():
        return shells
    ends = np.asarray(edges, dtype=np.float64) * (1 + _ROUNDING)
    # Each side's transform is 0 on the other side, so that their sum is the distance on both.
    inner = bounding_box(mask[box], margin=(1, 1, 1))
    distance = distance_transform_edt(~mask[box], sampling=spacing).astype(np.float32)
    if inner is not None:
        distance[inner] += distance_transform_edt(mask[box][inner], sampling=spacing).astype(np.float32)
    shells[box] = np.searchsorted(ends.astype(np.float32), distance, side="left")
    return shells


def smooth_surface(mask: Mask) -> tuple[Floats32, Ints32] | None:
    """Surface of a mask as a triangle mesh without the steps of its voxels.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)

    Returns
    -------
    vertices : ndarray of float32, shape (n, 3)
        In voxels of the mask.
    faces : ndarray of int32, shape (m, 3)
        Indices of vertices. None instead of both when the mask is empty.

    Notes
    -----
    Marching cubes (Lewiner et al., Journal of Graphics Tools 8 (2003), 1-15), then smoothing that does not shrink:
    each vertex is moved towards the mean of its neighbours, then a little farther away from it (Taubin, SIGGRAPH 1995,
    351-358).
    """
    from skimage.measure import marching_cubes  # half a second to import

    box = bounding_box(mask)
    if box is None:
        return None
    vertices, faces, _, _ = marching_cubes(np.pad(mask[box], 1).astype(np.float32), 0.5)
    edges = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    neighbours = coo_array((np.ones(len(edges), np.float32), edges.T), shape=(len(vertices),) * 2).tocsr()
    count = np.asarray(neighbours.sum(axis=1))[:, None]
    for _ in range(ROUNDS):
        for factor in (SHRINK, SWELL):
            vertices = vertices + factor * (neighbours @ vertices / count - vertices)
    corner = [part.start - 1 for part in box]
    return (vertices + corner).astype(np.float32), faces.astype(np.int32)


@lru_cache(maxsize=16)
def surfel_areas(spacing: tuple[float, float, float]) -> Floats64:
    """Area of the surface that cuts a cube of eight voxels, for each of the 256 ways they can be in and out.

    Parameters
    ----------
    spacing : tuple of float
        Edges of the cube, mm.

    Returns
    -------
    ndarray of float64, shape (256,)
        mm². Bit ``i`` of the index tells whether corner ``i`` (z running fastest) is inside.

    Notes
    -----
    The surface goes through the middle of every edge between in and out and separates the fewer corners from the
    rest, each group of them that hangs together along edges for itself. A polygon that is not flat is cut into
    triangles from the corner that gives the largest area. For cubic voxels these are the areas of Nikolov et al.
    """
    areas = np.zeros(256)
    for code in range(1, 255):
        within = np.array([code >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)
        groups, count = ndimage.label(within if within.sum() <= 4 else 1 - within)
        areas[code] = sum(_largest_fan(_cut_polygon(groups == group + 1) * spacing) for group in range(count))
    areas.flags.writeable = False
    return areas


def _weighted_quantile(values: Floats64, weights: Floats64, fraction: float) -> float:
    """Smallest value up to which at least a fraction of the weight lies."""
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    at = np.searchsorted(summed / summed[-1], fraction)
    return float(values[order][min(int(at), len(values) - 1)])


def _cut_polygon(group: Mask) -> Floats64:
    """Middles of the edges that leave a group of corners of a cube, in their order around it, shape (n, 3)."""
    ends = [(one, other) for one in np.argwhere(group) for other in one ^ np.eye(3, dtype=int) if not group[(*other,)]]
    middles = [(one + other) / 2 for one, other in ends]
    polygon = [middles.pop(0)]
    while middles:
        # Neighbours along the polygon lie on one face of the cube; two middles are 0 or 1 along a face's normal.
        last = polygon[-1]
        at = next(i for i, middle in enumerate(middles) if ((middle == last) & (middle % 1 == 0)).any())
        polygon.append(middles.pop(at))
    return np.array(polygon)


def _largest_fan(polygon: Floats64) -> float:
    """Largest area of a polygon cut into triangles that share one of its corners."""
    spokes = [np.roll(polygon, -first, axis=0)[1:] - polygon[first] for first in range(len(polygon))]
    return max(float(np.linalg.norm(np.cross(each[:-1], each[1:]), axis=1).sum()) / 2 for each in spokes)
