"""The voxels a number is computed on; most of what makes two papers' numbers differ."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case
from napari_uncseg.labels import REGIONS, Region


class VoxelSet(StrEnum):
    """Named sets of voxels of a case.

    ``all``: the whole volume; ``brain``: the brain mask; ``tumour``: whole tumour in prediction or reference, grown by
    5 mm; ``union``: the region in prediction or reference; ``reference`` and ``prediction``: the region in either.
    """

    ALL = "all"
    BRAIN = "brain"
    TUMOUR = "tumour"
    UNION = "union"
    REFERENCE = "reference"
    PREDICTION = "prediction"


VOXEL_SET_TITLES: dict[VoxelSet, str] = {
    VoxelSet.ALL: "whole volume",
    VoxelSet.BRAIN: "brain",
    VoxelSet.TUMOUR: "tumour and 5 mm around it",
    VoxelSet.UNION: "region, predicted or true",
    VoxelSet.REFERENCE: "region, true",
    VoxelSet.PREDICTION: "region, predicted",
}


def voxels(case: Case, voxel_set: VoxelSet, region: Region) -> npt.NDArray[np.bool_]:
    """Voxels of a set.

    Parameters
    ----------
    case : Case
    voxel_set : VoxelSet
    region : Region
        Matters for ``union``, ``reference`` and ``prediction``.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Shared with the case: not to be written to.
    """
    prediction: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    prediction, reference = (masks[REGIONS.index(region)] for masks in (case.prediction, case.reference))
    match voxel_set:
        case VoxelSet.ALL:
            return case.once("all", lambda: np.ones(case.shape, dtype=bool))
        case VoxelSet.BRAIN:
            return case.brain
        case VoxelSet.TUMOUR:
            return case.tumour
        case VoxelSet.UNION:
            return case.once(("union", region), lambda: prediction | reference)
        case VoxelSet.REFERENCE:
            return reference
        case VoxelSet.PREDICTION:
            return prediction
