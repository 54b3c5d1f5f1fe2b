"""Smooth surfaces of masks."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array

from napari_uncseg.arrays import Floats32, Ints32, Mask
from napari_uncseg.metrics.morphology import bounding_box

SHRINK, SWELL = 0.5, -0.53
"""Factors of Taubin's two steps."""

ROUNDS = 12
"""Pairs of steps: enough to take the steps of the voxels away."""


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
