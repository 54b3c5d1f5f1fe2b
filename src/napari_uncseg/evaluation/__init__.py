"""Predictions against references: metrics, statistics and reports, from one study to a cohort.

Nothing here loads torch, napari or matplotlib.
"""

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.aggregation import Aggregates
from napari_uncseg.evaluation.calibration import Calibration, ErrorCalibration, ShellCalibration
from napari_uncseg.evaluation.case import Case, case_from_arrays, case_from_prediction
from napari_uncseg.evaluation.discrimination import Alignment, Discrimination, QUBraTS
from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, evaluate
from napari_uncseg.evaluation.matching import Pair, find_pairs
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.overlap import Lesionwise2023, Overlap
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

__all__ = [
    "Aggregates",
    "Alignment",
    "Calibration",
    "Case",
    "Discrimination",
    "ErrorCalibration",
    "Evaluation",
    "EvaluationError",
    "Lesionwise2023",
    "Metric",
    "MetricResult",
    "Overlap",
    "Pair",
    "QUBraTS",
    "Region",
    "ShellCalibration",
    "VoxelSet",
    "case_from_arrays",
    "case_from_prediction",
    "default_metrics",
    "evaluate",
    "find_pairs",
]
