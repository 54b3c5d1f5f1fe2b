"""Contours of a mask, and of the nested regions of a label map, in one slice: what every outline is drawn of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from napari_uncseg.labels import REGIONS, Region, region_masks

Polyline = npt.NDArray[np.float64]
"""Vertices of shape (n, 2): to the right and down, in voxels; the first voxel reaches from 0 to 1."""


def contour(mask: npt.NDArray[np.bool_]) -> list[Polyline]:
    """Closed lines half a voxel outside of the centres of a mask's outermost voxels (marching squares, skimage).

    Parameters
    ----------
    mask : ndarray of bool, shape (down, right)

    Returns
    -------
    list of ndarray of float, shape (n, 2)
        One for each border of each connected part; a line runs through a single voxel's four sides, too.
    """
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    top, left = rows[0], columns[0]
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.uint8)
    return [line[:, ::-1] + (left - 0.5, top - 0.5) for line in find_contours(inside, 0.5)]


def region_contours(labels: npt.NDArray[np.integer]) -> Iterator[tuple[Region, list[Polyline]]]:
    """Contours of the regions that a slice of labels holds, the outermost region first.

    Parameters
    ----------
    labels : ndarray of int, shape (down, right)
        Values of :class:`napari_uncseg.labels.Label`.

    Yields
    ------
    tuple of Region and list of ndarray
        Where regions meet, the inner one's line, drawn later, is the one that is seen.
    """
    for region, mask in zip(REGIONS, region_masks(labels), strict=True):
        if mask.any():
            yield region, contour(mask)
