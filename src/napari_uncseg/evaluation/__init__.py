"""Predictions against references: metrics, statistics and reports, from one study to a cohort.

Nothing here loads torch, napari or matplotlib.
"""

from napari_uncseg.evaluation.case import Case, case_from_arrays, case_from_prediction
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.evaluation.evaluation import evaluate
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

__all__ = [
    "Case",
    "Discrimination",
    "Overlap",
    "Region",
    "VoxelSet",
    "case_from_arrays",
    "case_from_prediction",
    "evaluate",
]
