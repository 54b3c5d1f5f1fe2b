"""A map as a watershed: its peaks, their basins and the predicted contour; all that no threshold changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_uncseg.arrays import Floats32, Ints32, Mask
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.morphology import bounding_box, dilate_mm, distance_within
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.review.location import Frame, frame_of
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values

STEPS = 200
"""Thresholds a map can be cut at, evenly spaced from 0 to its upper bound."""

PARTIAL_VOLUME_VOXELS = 2.0
"""How far from the predicted contour, on either side, a mixture of tissues within voxels explains uncertainty."""

NEAR_MM = 10.0
"""Distances from the contour are measured up to this one; beyond, a voxel is far from the region."""

SMOOTHING_MM = 2.0
"""Standard deviation of the Gaussian that the map is smoothed with before its peaks are looked for."""

PEAK_DISTANCE_MM = 6.0
"""Peaks are the largest values of a box that reaches so far to all sides."""

BASINS_FROM = 0.025
"""Fraction of the range below which voxels belong to no basin: nobody cuts a map so low."""

REVIEW_SETS: tuple[VoxelSet, ...] = (VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.PREDICTION)
"""Voxel sets of a review, which knows the prediction alone: ``tumour`` is the predicted one and 5 mm around it."""

TUMOUR_MARGIN_MM = 5.0

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Watershed:
    """A map of a region, cut to the box in which it is not negligible.

    Parameters
    ----------
    prediction : Prediction
    key : MapName
    upper : float
        Largest possible value of the map.
    box : tuple of slice
        Where the arrays below lie in it.
    values : ndarray of float32, shape of the box
    basins : ndarray of int32, shape of the box
        Number of the peak that a voxel leads up to; 0 for voxels that belong to none.
    edge_mm : ndarray of float32, shape of the box
        Distance from the contour of the predicted region, at most :data:`NEAR_MM`: positive outside, negative inside.
    near : ndarray of bool, shape of the box
        Voxels at most :data:`PARTIAL_VOLUME_VOXELS` voxels from the contour.
    predicted : bool
        Whether the region was predicted anywhere.
    frame : Frame
        The patient's axes through the predicted tumour.
    """

    prediction: Prediction
    key: MapName
    upper: float
    box: Box
    values: Floats32
    basins: Ints32
    edge_mm: Floats32
    near: Mask
    predicted: bool
    frame: Frame

    @property
    def floor(self) -> float:
        """Smallest threshold: below it, everything is uncertain."""
        return self.upper / STEPS

    def slice_number(self, voxel: tuple[int, int, int]) -> int:
        """Axial slice of a voxel, counted from below, the lowest being 1."""
        upwards = self.frame.steps_mm[2]
        axis = int(np.argmax(np.abs(upwards)))
        return voxel[axis] + 1 if upwards[axis] > 0 else self.prediction.shape[axis] - voxel[axis]


def build_watershed(prediction: Prediction, key: MapName, brain: Mask | None = None) -> Watershed:
    """Do for a map what all thresholds share: smooth it, find its peaks and basins, measure the predicted contour.

    Parameters
    ----------
    prediction : Prediction
    key : MapName
        One of :func:`napari_uncseg.uncertainty.prediction_maps.maps_of`.
    brain : ndarray of bool, shape (x, y, z), optional
        The brain, as the study knows it; it locates the middle of the head.

    Returns
    -------
    Watershed

    Raises
    ------
    EvaluationError
        When the prediction has no such map.

    Notes
    -----
    Basins are those of the watershed of the smoothed map turned upside down (Beucher and Lantuéjoul 1979; flooding of
    Meyer 1994 as scikit-image has it). A peak and its basin do not move with the threshold, so a finding keeps its
    identity while the slider is dragged.
    """
    from skimage.segmentation import watershed  # half a second to import

    whole = map_values(prediction, key)
    upper = map_upper(prediction, key)
    spacing = prediction.spacing
    region = _region_mask(prediction, key.region)
    box: Box = bounding_box(whole >= np.float32(upper / STEPS), margin=(1, 1, 1)) or (slice(0, 0),) * 3
    values = np.ascontiguousarray(whole[box])
    smooth = ndimage.gaussian_filter(values, [SMOOTHING_MM / size for size in spacing], truncate=3.0)
    high = values >= np.float32(BASINS_FROM * upper)
    reach = [2 * round(PEAK_DISTANCE_MM / size) + 1 for size in spacing]
    peaks = high & (smooth == ndimage.maximum_filter(smooth, reach)) if values.size else high
    markers, _ = ndimage.label(peaks, structure=np.ones((3, 3, 3)))
    basins = watershed(-smooth, markers, mask=high) if markers.any() else markers
    basins = basins.astype(np.int32, copy=False)
    frame = frame_of(prediction.affine, prediction.segmentation > 0, brain)
    contour = (*_contour(region, box, spacing), bool(region.any()))
    return Watershed(prediction, key, upper, box, values, basins, *contour, frame)


def review_voxels(
    prediction: Prediction, voxel_set: VoxelSet, region: Region, brain: Mask | None = None
) -> Mask | None:
    """Voxels that a review looks at.

    Parameters
    ----------
    prediction : Prediction
    voxel_set : VoxelSet
        One of :data:`REVIEW_SETS`.
    region : Region
        Matters for ``prediction``.
    brain : ndarray of bool, shape (x, y, z), optional
        The brain, as the study knows it; without it ``brain`` is the whole volume.

    Returns
    -------
    ndarray of bool, shape (x, y, z), or None
        None stands for the whole volume.
    """
    if voxel_set not in REVIEW_SETS:
        raise ValueError(f"{voxel_set} needs a reference.")
    if voxel_set is VoxelSet.TUMOUR:
        return dilate_mm(prediction.segmentation > 0, prediction.spacing, TUMOUR_MARGIN_MM)
    if voxel_set is VoxelSet.PREDICTION:
        return _region_mask(prediction, region)
    return brain if voxel_set is VoxelSet.BRAIN else None


def _region_mask(prediction: Prediction, region: Region) -> Mask:
    if region is Region.WT:
        return np.asarray(prediction.segmentation > 0)
    mask: Mask = region_masks(prediction.segmentation)[REGIONS.index(region)]
    return mask


def _contour(region: Mask, box: Box, spacing: tuple[float, float, float]) -> tuple[Floats32, Mask]:
    """Signed distance from the contour of a region, and what lies within two voxels of it, in a box."""
    size = tuple(part.stop - part.start for part in box)
    if not region.any() or 0 in size:
        return np.full(size, NEAR_MM, dtype=np.float32), np.zeros(size, dtype=bool)
    margins = [max(math.ceil(NEAR_MM / voxel), math.ceil(PARTIAL_VOLUME_VOXELS) + 1) for voxel in spacing]
    outer = tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, whole))
        for part, margin, whole in zip(box, margins, region.shape, strict=True)
    )
    inner = tuple(slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(box, outer, strict=True))
    inside = region[outer]
    ones = (1.0, 1.0, 1.0)
    near = dilate_mm(inside, ones, PARTIAL_VOLUME_VOXELS) & dilate_mm(~inside, ones, PARTIAL_VOLUME_VOXELS)
    outside_mm = distance_within(~inside, spacing, NEAR_MM)
    inside_mm = distance_within(inside, spacing, NEAR_MM)
    return (outside_mm - inside_mm)[inner].copy(), near[inner].copy()
