"""Predictions against references: metrics, statistics and reports, from one study to a cohort.

What is named here is loaded when it is first asked for; nothing loads torch, napari or, before a figure is drawn,
matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_uncseg.errors import EvaluationError
    from napari_uncseg.evaluation.aggregation import Aggregates
    from napari_uncseg.evaluation.alignment import Alignment
    from napari_uncseg.evaluation.calibration import Calibration, ErrorCalibration, ece_bound, reliability
    from napari_uncseg.evaluation.case import Case, case_from_arrays, case_from_prediction
    from napari_uncseg.evaluation.discrimination import (
        Discrimination,
        errors_caught_curve,
        precision_recall_curve,
        roc_curve,
    )
    from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, evaluate, select
    from napari_uncseg.evaluation.lesionwise import Lesionwise2023
    from napari_uncseg.evaluation.matching import Pair, find_pairs
    from napari_uncseg.evaluation.metric import Metric
    from napari_uncseg.evaluation.metric_result import Value
    from napari_uncseg.evaluation.overlap import Overlap
    from napari_uncseg.evaluation.qubrats import QUBraTS
    from napari_uncseg.evaluation.spatial import ShellCalibration, Spatial
    from napari_uncseg.evaluation.voxel_sets import VoxelSet
    from napari_uncseg.labels import Region

_HOMES = {
    "napari_uncseg.errors": ("EvaluationError",),
    "napari_uncseg.evaluation.alignment": ("Alignment",),
    "napari_uncseg.evaluation.calibration": ("Calibration", "ErrorCalibration", "ece_bound", "reliability"),
    "napari_uncseg.evaluation.case": ("Case", "case_from_arrays", "case_from_prediction"),
    "napari_uncseg.evaluation.discrimination": (
        "Discrimination",
        "errors_caught_curve",
        "precision_recall_curve",
        "roc_curve",
    ),
    "napari_uncseg.evaluation.evaluation": ("Evaluation", "default_metrics", "evaluate", "select"),
    "napari_uncseg.evaluation.lesionwise": ("Lesionwise2023",),
    "napari_uncseg.evaluation.metric": ("Metric",),
    "napari_uncseg.evaluation.overlap": ("Overlap",),
    "napari_uncseg.evaluation.matching": ("Pair", "find_pairs"),
    "napari_uncseg.evaluation.qubrats": ("QUBraTS",),
    "napari_uncseg.evaluation.aggregation": ("Aggregates",),
    "napari_uncseg.evaluation.spatial": ("ShellCalibration", "Spatial"),
    "napari_uncseg.evaluation.metric_result": ("Value",),
    "napari_uncseg.evaluation.voxel_sets": ("VoxelSet",),
    "napari_uncseg.labels": ("Region",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

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
    "Overlap",
    "Pair",
    "QUBraTS",
    "Region",
    "ShellCalibration",
    "Spatial",
    "Value",
    "VoxelSet",
    "case_from_arrays",
    "case_from_prediction",
    "default_metrics",
    "ece_bound",
    "errors_caught_curve",
    "evaluate",
    "find_pairs",
    "precision_recall_curve",
    "reliability",
    "roc_curve",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
