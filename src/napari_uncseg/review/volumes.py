"""Volumes and diameters of the regions, and how far the probabilities let the volumes be off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_uncseg.arrays import AnyInts
from napari_uncseg.io.geometry import OnGrid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.metrics.diameters import Diameters, axial_diameters

LEVEL = 0.8
"""How much of the distribution of a volume its interval holds."""

HOW = (
    "The 80 % interval spans the volumes where p > 0.9 and where p > 0.1. It is the interval of a contour that moves "
    "as one, so that all voxels err together; errors that do not would cancel and leave it narrower. It holds as far "
    "as the probabilities are calibrated."
)


DIAMETERS_HOW = (
    "Longest diameter in an axial slice and the longest one across it in that slice, as RANO has it, in millimetres; "
    "of several lesions the longest counts."
)


@dataclass(frozen=True)
class VolumeInterval:
    """Volume of a region.

    Parameters
    ----------
    region : Region
    segmented_ml : float
        Of the segmentation.
    expected_ml : float
        Sum of the probabilities times the volume of a voxel.
    low_ml, high_ml : float
        Ends of the 80 % interval.
    """

    region: Region
    segmented_ml: float
    expected_ml: float
    low_ml: float
    high_ml: float


@dataclass(frozen=True)
class RegionSize:
    """How large a region is.

    Parameters
    ----------
    ml : float
    diameters : Diameters, optional
        In the axial plane; None of an empty region.
    """

    ml: float
    diameters: Diameters | None

    @property
    def across(self) -> str:
        """The diameters for a reader, in millimetres."""
        return "–" if self.diameters is None else str(self.diameters)


def region_sizes(labels: AnyInts, grid: OnGrid) -> dict[Region, RegionSize]:
    """Volume and axial diameters of WT, TC and ET.

    Parameters
    ----------
    labels : ndarray of int, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`.
    grid : Study or Prediction
        On whose grid they lie.
    """
    return {
        region: RegionSize(float(np.count_nonzero(mask)) * grid.voxel_ml, axial_diameters(mask, grid.affine))
        for region, mask in zip(REGIONS, region_masks(labels), strict=True)
    }


def volume_intervals(prediction: Prediction) -> list[VolumeInterval]:
    """Volumes of WT, TC and ET with their intervals.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    list of VolumeInterval

    Notes
    -----
    Let voxel *i* be in the region with probability ``p_i``. Were the voxels independent, the interval of their sum
    would be a few voxels wide and wrong: they err together. The other extreme, one uniform variable U for all of them
    with voxel *i* in the region when ``U < p_i``, has the volume ``#{p_i > U}``, whose quantiles at 0.1 and 0.9 are the
    volumes at the probabilities 0.9 and 0.1. Of all ways to join the voxels this one has the largest variance (the
    comonotone coupling; Dhaene et al. 2002, Insurance: Mathematics and Economics 31, 3-33). Both ends enclose the
    volume at 0.5, and the expected volume, the sum of ``p_i``, is the same for every coupling.
    """
    voxel_ml = prediction.voxel_ml
    tail = (1 - LEVEL) / 2
    found = []
    for region, mask, probability in zip(
        REGIONS, region_masks(prediction.segmentation), prediction.probabilities, strict=True
    ):
        numbers = (
            np.count_nonzero(mask),
            probability.sum(dtype=np.float64),
            np.count_nonzero(probability > 1 - tail),
            np.count_nonzero(probability > tail),
        )
        found.append(VolumeInterval(region, *(float(number) * voxel_ml for number in numbers)))
    return found
