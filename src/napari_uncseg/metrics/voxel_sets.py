"""Names of the voxels that a number is computed on; most of what makes two papers' numbers differ."""

from __future__ import annotations

from enum import StrEnum


class VoxelSet(StrEnum):
    """Named sets of voxels of a study.

    ``all``: the whole volume; ``brain``: the brain mask; ``tumour``: whole tumour in prediction or reference, grown by
    5 mm; ``union``: the region in prediction or reference; ``reference`` and ``prediction``: the region in either.
    """

    ALL = "all"
    BRAIN = "brain"
    TUMOUR = "tumour"
    UNION = "union"
    REFERENCE = "reference"
    PREDICTION = "prediction"


class FitSet(StrEnum):
    """Sets to fit a calibration on: in the others the reference decides which voxels there are, and it learns that."""

    BRAIN = VoxelSet.BRAIN
    TUMOUR = VoxelSet.TUMOUR
    ALL = VoxelSet.ALL
    PREDICTION = VoxelSet.PREDICTION


VOXEL_SET_TITLES: dict[VoxelSet, str] = {
    VoxelSet.ALL: "whole volume",
    VoxelSet.BRAIN: "brain",
    VoxelSet.TUMOUR: "tumour and 5 mm around it",
    VoxelSet.UNION: "region, predicted or true",
    VoxelSet.REFERENCE: "region, true",
    VoxelSet.PREDICTION: "region, predicted",
}
