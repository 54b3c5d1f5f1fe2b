"""The longest diameter of a lesion in an axial slice, and the one across it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

from napari_uncseg.arrays import AnyFloats, Floats64, Mask
from napari_uncseg.metrics.morphology import bounding_box


@dataclass(frozen=True)
class Diameters:
    """Diameters of a lesion, millimetres.

    Parameters
    ----------
    longest_mm : float
        Longest line in an axial slice.
    perpendicular_mm : float
        Longest line across it in the same slice.
    slice : int
        The axial slice, counted from below, the lowest being 1.
    """

    longest_mm: float
    perpendicular_mm: float
    slice: int

    def __str__(self) -> str:
        return f"{self.longest_mm:.0f} × {self.perpendicular_mm:.0f}"


def axial_diameters(mask: Mask, affine: AnyFloats) -> Diameters | None:
    """Longest axial diameter of a mask and the longest one perpendicular to it, as RANO measures a lesion.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        A region; of several lesions the one with the longest diameter counts.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres; the axis nearest to superior runs across the axial slices.

    Returns
    -------
    Diameters or None
        None when the mask is empty.

    Notes
    -----
    Two perpendicular diameters in the axial slice with the largest one: Wen et al., Journal of Clinical Oncology 28
    (2010), 1963-1972 (RANO), and 41 (2023), 5187-5199 (RANO 2.0). Ends lie on the contour at half the height between
    voxels inside and outside, so that a row of *n* voxels measures *n* of them. Lesions that do not touch in a slice,
    not even by corners, are measured apart. Both lines are those of the convex hull: an indentation does not shorten
    them, and the one across need not cross the middle of the longest.
    """
    from scipy.spatial import ConvexHull
    from skimage.measure import find_contours  # half a second to import

    box = bounding_box(mask)
    if box is None:
        return None
    axes = io_orientation(affine)
    axial = int(np.flatnonzero(axes[:, 0] == 2)[0])
    sizes = np.delete(voxel_sizes(affine), axial)
    slices = np.pad(np.moveaxis(mask[box], axial, 0), ((0, 0), (1, 1), (1, 1)))
    best, at, hull = 0.0, 0, np.zeros((0, 2))
    boxes = [bounding_box(each) for each in slices]
    # No line is longer than the diagonal of the box: most slices need not be looked at.
    lengths = [[part.stop - part.start for part in one or ()] for one in boxes]
    spans = [float(np.hypot(*(sides * sizes))) if sides else 0.0 for sides in lengths]
    for index in np.argsort(spans)[::-1].tolist():
        if spans[index] <= best:
            break
        for contour in find_contours(slices[index].astype(np.float32), 0.5, fully_connected="high"):
            if np.hypot(*(np.ptp(contour, axis=0) * sizes)) <= best:
                continue
            points = contour * sizes
            corners = points[ConvexHull(points).vertices]
            length = float(np.sqrt(_squares(corners).max()))
            if length > best:
                best, at, hull = length, index, corners
    number = box[axial].start + at
    from_below = number + 1 if axes[axial, 1] > 0 else mask.shape[axial] - number
    return Diameters(best, _across(hull), from_below)


def _squares(points: Floats64) -> Floats64:
    """Squared distances between all points."""
    return np.asarray(((points[:, None] - points[None]) ** 2).sum(axis=-1))


def _across(hull: Floats64) -> float:
    """Longest chord of a convex polygon perpendicular to its longest diameter: one of those through a corner."""
    first, last = np.unravel_index(int(np.argmax(_squares(hull))), (len(hull),) * 2)
    along = (hull[last] - hull[first]) / np.linalg.norm(hull[last] - hull[first])
    ways, heights = (hull - hull[first]) @ along, (hull - hull[first]) @ np.array([-along[1], along[0]])
    chord = np.zeros(len(hull))
    for side in (1, -1):  # both chains between the ends of the diameter, as functions of the way along it
        chain = np.flatnonzero(side * heights >= -1e-9)
        chain = chain[np.argsort(ways[chain], kind="stable")]
        chord += side * np.interp(ways, ways[chain], heights[chain])
    return float(chord.max())
