"""Evaluate cases in memory: the usual metrics for what a case has, and the table they give."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.calibration import ErrorCalibration, ProbabilityCalibration, ShellCalibration
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.discrimination import Alignment, Discrimination, MeanUncertainty, QUBraTS
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.overlap import DiceForecast, Lesionwise2023, Overlap
from napari_uncseg.evaluation.table import MetricResult, csv_text, over_cases, result_of, select, to_frame
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

_OF_REGIONS = (Overlap, Lesionwise2023, DiceForecast, ProbabilityCalibration, ShellCalibration)
_OF_MAPS = (ErrorCalibration, Discrimination, Alignment, QUBraTS, MeanUncertainty)

METRICS: Mapping[str, type[Metric]] = {kind.name: kind for kind in (*_OF_REGIONS, *_OF_MAPS)}
"""Kinds of metrics by name."""

MEANINGS: Mapping[str, str] = tomllib.loads(files(__package__).joinpath("glossary.toml").read_text(encoding="utf-8"))
"""Name of a number, or a pattern of names -> what it means. A name of its own comes before a pattern."""

ERROR_FORECASTS = ("error_risk", "unc_output", "unc_output_unmasked")
"""Maps that claim to be a probability of error, and so can be right or wrong about it."""

DERIVED = ("entropy", "variance")
"""Maps that the probabilities of every region give where a result does not hold them."""

_RATED = ("error_risk", "entropy", "unc_output")
"""Maps that the costlier metrics are computed for, too; variance of one pass ranks voxels as entropy does."""


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
    def table(self) -> pd.DataFrame:
        """Long table: results of every case, their means and medians and, where voxels add up, the pooled ones.

        Columns are :data:`napari_uncseg.evaluation.table.COLUMNS`.
        """
        cases = to_frame(result for metric in self.metrics for result in metric.per_case())
        pooled = (result for metric in self.metrics if metric.additive and metric.cases for result in metric.pooled())
        return pd.concat([cases, over_cases(cases), to_frame(pooled)], ignore_index=True)

    def select(self, **criteria: Any) -> pd.DataFrame:
        """Rows of the table whose columns equal what is given, such as ``metric="auroc", aggregation="mean"``."""
        return select(self.table, **criteria)

    def value(self, metric: str, **criteria: Any) -> MetricResult:
        """The one result that meets all criteria.

        Raises
        ------
        EvaluationError
            When there is none, or more than one.
        """
        found = self.select(metric=metric, **criteria).to_dict("records")
        if len(found) != 1:
            told = ", ".join(f"{name}={value}" for name, value in {"metric": metric, **criteria}.items())
            raise EvaluationError(f"{len(found)} values meet {told}; name region, map, voxel set and aggregation.")
        return result_of(found[0])

    def to_csv(self, path: str | Path) -> None:
        """Write the table, one number a line.

        Raises
        ------
        SaveError
            When the file cannot be written.
        """
        write_files({Path(path): csv_text(self.table).encode()})


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
        When there is no case, something is none, two share an id, or a case lacks what a metric given needs.

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
    fed: dict[str, Metric] = {metric.key: copy.deepcopy(metric) for metric in metrics or ()}
    seen = False
    given: Iterable[object] = cases if isinstance(cases, Iterable) else [cases]
    for case in given:
        if not isinstance(case, Case):
            what = f"A {type(case).__name__} is no case"
            raise EvaluationError(f"{what}; make one with case_from_prediction or case_from_arrays of {__package__}.")
        seen = True
        for metric in metrics_for(case) if metrics is None else tuple(fed.values()):
            fed.setdefault(metric.key, metric).add(case)
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
        Without probabilities there is no calibration, without maps no discrimination, without expected Dice nothing is
        said of it, and without a brain mask nothing is measured over the brain.

    Returns
    -------
    list of Metric
    """
    brain = case.brain_known and case.brain.any()

    def fits(metric: Metric) -> bool:
        if case.probabilities is None and isinstance(metric, (ProbabilityCalibration, ShellCalibration)):
            return False
        if isinstance(metric, DiceForecast) and metric.region not in case.expected_dice:
            return False
        over_brain = isinstance(metric, (QUBraTS, ShellCalibration)) or getattr(metric, "voxel_set", "") == "brain"
        return bool(brain) or not over_brain

    found = (metric for region in REGIONS for metric in _metrics_of(region, case.uncertainties(region)))
    return [metric for metric in found if fits(metric)]


def metric_of_key(key: str) -> Metric:
    """A new metric from the line that is the :attr:`~napari_uncseg.evaluation.metric.Metric.key` of another.

    Raises
    ------
    EvaluationError
        When it is none of this version.
    """
    try:
        settings = json.loads(key)
        return METRICS[settings.pop("metric")](**settings)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(f"{key} names no metric of this version; evaluate the study again.") from error


def entry_of(metric: str) -> str:
    """The key of :data:`MEANINGS` that speaks of a metric.

    Raises
    ------
    KeyError
        When there is none.
    """
    found = [metric] if metric in MEANINGS else [name for name in MEANINGS if fnmatchcase(metric, name)]
    if not found:
        raise KeyError(metric)
    return found[0]


def meanings_of(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Names and meanings that speak of some metrics, in the order of :data:`MEANINGS`."""
    told = {entry_of(metric) for metric in metrics}
    return [(name, meaning) for name, meaning in MEANINGS.items() if name in told]


def _metrics_of(region: Region, maps: Sequence[str]) -> list[Metric]:
    """Metrics of one region, with the maps that it has."""
    metrics: list[Metric] = [Overlap(region), Lesionwise2023(region), DiceForecast(region)]
    metrics += [ProbabilityCalibration(region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.UNION)]
    metrics.append(ShellCalibration(region))
    for name in maps:
        metrics += [Discrimination(name, region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR)]
        metrics += [Alignment(name, region, VoxelSet.TUMOUR), MeanUncertainty(name, region)]
        if name in _RATED or name not in (*DERIVED, *ERROR_FORECASTS):
            metrics.append(QUBraTS(name, region))
        if name in ERROR_FORECASTS:
            metrics += [ErrorCalibration(name, region, voxels) for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR)]
    return metrics
