"""Evaluate cases in memory: the usual metrics for what a case has, and the values they give."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.aggregation import Aggregates
from napari_uncseg.evaluation.alignment import Alignment
from napari_uncseg.evaluation.cache import metric_key
from napari_uncseg.evaluation.calibration import Calibration, ErrorCalibration
from napari_uncseg.evaluation.case import NO_BRAIN, Case
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.evaluation.lesionwise import Lesionwise2023
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.qubrats import QUBraTS
from napari_uncseg.evaluation.spatial import ShellCalibration, Spatial
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import REGIONS, Region

CSV_COLUMNS = (
    "case",
    "metric",
    "region",
    "map",
    "voxel_set",
    "aggregation",
    "bins",
    "count",
    "value",
    "unit",
    "undefined",
)

ERROR_FORECASTS = ("unc_output", "unc_output_unmasked")
"""Maps that claim to be a probability of error, and so can be right or wrong about it."""

DERIVED = ("entropy", "variance")
"""Maps that every region has; all others speak of the whole tumour."""

_RATED = ("entropy", "unc_output")
"""Maps that the costlier metrics are computed for, too; variance of one pass ranks voxels as entropy does."""

ANY: Any = object()
"""Stands for every value of a criterion of :func:`select`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out of an evaluation.

    Parameters
    ----------
    metrics : tuple of Metric
        Fed with the cases.
    """

    metrics: tuple[Metric, ...]

    @cached_property
    def values(self) -> list[Value]:
        """Values of every case, their means and medians and, where voxels add up, the pooled ones."""
        return [value for metric in self.metrics for value in metric.values()]

    def table(self, **criteria: Any) -> list[Value]:
        """Values that meet all criteria; see :func:`select`."""
        return select(self.values, **criteria)

    def value(self, metric: str, **criteria: Any) -> Value:
        """The one value that meets all criteria.

        Raises
        ------
        EvaluationError
            When there is none, or more than one.
        """
        found = self.table(metric=metric, **criteria)
        if len(found) != 1:
            told = ", ".join(f"{name}={value}" for name, value in {"metric": metric, **criteria}.items())
            raise EvaluationError(f"{len(found)} values meet {told}; name region, map, voxel set and aggregation.")
        return found[0]

    def to_csv(self, path: str | Path) -> None:
        """Write all values as a long table, one a line.

        Raises
        ------
        SaveError
            When the file cannot be written.
        """
        write_files({Path(path): csv_text(self.values).encode()})


def evaluate(cases: Case | Iterable[Case], *, metrics: Sequence[Metric] | None = None) -> Evaluation:
    """Evaluate cases.

    Parameters
    ----------
    cases : Case or iterable of Case
        Looked at one after the other, so that a generator keeps one in memory.
    metrics : sequence of Metric, optional
        What to measure; by default :func:`default_metrics` as far as a case has what they need. The metrics given are
        copied, not changed.

    Returns
    -------
    Evaluation

    Raises
    ------
    EvaluationError
        When there is no case, two share an id, or a case lacks what a metric given needs.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_uncseg.evaluation import Overlap, Region, case_from_arrays, evaluate
    >>> reference = np.zeros((8, 8, 8), dtype=np.uint8)
    >>> reference[2:6, 2:6, 2:6] = 2
    >>> case = case_from_arrays(np.roll(reference, 1, axis=0), reference, id="shifted")
    >>> found = evaluate(case, metrics=[Overlap(Region.WT)])
    >>> found.value("dice_any_size", case="shifted").value
    0.75
    """
    fed: dict[str, Metric] = {metric_key(metric): copy.deepcopy(metric) for metric in metrics or ()}
    seen = False
    for case in [cases] if isinstance(cases, Case) else cases:
        seen = True
        if metrics is None:
            for metric in metrics_for(case):
                fed.setdefault(metric_key(metric), metric).add(case)
        else:
            for metric in fed.values():
                metric.add(case)
    if not seen:
        raise EvaluationError("There is no case to evaluate; give at least one.")
    return Evaluation(tuple(fed.values()))


def default_metrics(maps: Sequence[str]) -> list[Metric]:
    """Metrics that are measured when nobody chooses.

    Parameters
    ----------
    maps : sequence of str
        Names of uncertainty maps of the whole tumour. ``entropy`` and ``variance`` are measured on all regions.

    Returns
    -------
    list of Metric
        New ones, fed with nothing.
    """
    derived = tuple(name for name in maps if name in DERIVED)
    return [metric for region in REGIONS for metric in _metrics_of(region, maps if region is Region.WT else derived)]


def metrics_for(case: Case) -> list[Metric]:
    """The default metrics as far as a case has what they need.

    Parameters
    ----------
    case : Case
        Without probabilities there is no calibration, without maps no discrimination, and without a brain mask nothing
        is measured over the brain.

    Returns
    -------
    list of Metric
    """
    return [
        metric
        for region in REGIONS
        for metric in _metrics_of(region, case.uncertainties(region))
        if _suits(metric, case)
    ]


def metric_of_key(key: str) -> Metric:
    """A new metric from the line that :func:`~napari_uncseg.evaluation.cache.metric_key` made of another.

    Raises
    ------
    EvaluationError
        When it is none of this version.
    """
    try:
        settings = json.loads(key)
        return _KINDS[settings.pop("metric")](**settings)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(f"{key} names no metric of this version; evaluate the study again.") from error


def select(
    values: Iterable[Value],
    *,
    metric: str = ANY,
    region: Region | None = ANY,
    map: str | None = ANY,  # noqa: A002 - the name of the field
    voxel_set: VoxelSet | None = ANY,
    aggregation: str = ANY,
    case: str | None = ANY,
) -> list[Value]:
    """Values that meet all criteria.

    Parameters
    ----------
    values : iterable of Value
    metric, region, map, voxel_set, aggregation, case : optional
        What a field of the value must equal; left out, it may be anything.

    Returns
    -------
    list of Value
        In the order given.
    """
    criteria = {
        "metric": metric,
        "region": region,
        "map": map,
        "voxel_set": voxel_set,
        "aggregation": aggregation,
        "case": case,
    }
    asked = {name: wanted for name, wanted in criteria.items() if wanted is not ANY}
    return [value for value in values if all(getattr(value, name) == wanted for name, wanted in asked.items())]


def csv_text(values: Iterable[Value]) -> str:
    """Values as a long table: one a line, undefined ones as ``nan`` with the reason.

    Parameters
    ----------
    values : iterable of Value

    Returns
    -------
    str
        Lines end in a newline; the first names the columns, :data:`CSV_COLUMNS`.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for value in values:
        number = "nan" if math.isnan(value.value) else f"{value.value:.10g}"
        row = {name: getattr(value, name) for name in CSV_COLUMNS} | {"value": number}
        writer.writerow("" if row[name] is None else row[name] for name in CSV_COLUMNS)
    return buffer.getvalue()


_KINDS: Mapping[str, type[Metric]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Aggregates,
            Alignment,
            Calibration,
            Discrimination,
            ErrorCalibration,
            Lesionwise2023,
            Overlap,
            QUBraTS,
            ShellCalibration,
            Spatial,
        )
    }
)


def _metrics_of(region: Region, maps: Sequence[str]) -> list[Metric]:
    """Metrics of one region, with the maps that it has."""
    metrics: list[Metric] = [Overlap(region), Lesionwise2023(region)]
    metrics += [Calibration(region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.UNION)]
    metrics.append(ShellCalibration(region))
    for name in maps:
        metrics += [Discrimination(name, region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR)]
        metrics += [Alignment(name, region, VoxelSet.TUMOUR), Aggregates(name, region)]
        if name in _RATED or name not in (*DERIVED, *ERROR_FORECASTS):
            metrics += [QUBraTS(name, region), Spatial(name, region)]
        if name in ERROR_FORECASTS:
            metrics += [ErrorCalibration(name, region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR)]
    return metrics


def _suits(metric: Metric, case: Case) -> bool:
    region, name = getattr(metric, "region", None), getattr(metric, "map", None)
    if isinstance(metric, (Calibration, ShellCalibration)) and case.probabilities is None:
        return False
    if isinstance(region, Region) and name is not None and name not in case.uncertainties(region):
        return False
    over_brain = getattr(metric, "voxel_set", None) is VoxelSet.BRAIN
    over_brain |= isinstance(metric, (QUBraTS, ShellCalibration, Spatial))
    return not over_brain or (NO_BRAIN not in case.notes and bool(case.brain.any()))
