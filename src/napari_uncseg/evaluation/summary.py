"""What a cohort comes down to: estimates with intervals, rankings, strata, the order in which studies need eyes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_uncseg.evaluation.cohort import Cohort
from napari_uncseg.evaluation.evaluation import select
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR, Ranking, Stratification, rankings, scores_of, stratify
from napari_uncseg.evaluation.sanity_checks import Confounder, Evidence, Remark
from napari_uncseg.evaluation.sanity_checks_run import lint
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.statistics import Interval, bootstrap_bca

SCHEMA = 1

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """The mean of a number over studies, with its interval.

    Parameters
    ----------
    mean, median : Value
        Over the studies where it is defined; ``mean.undefined`` counts the others.
    interval : Interval
        Of the mean, 95 %, by resampling patients.
    pooled : Value, optional
        Of the voxels of all studies together.
    """

    mean: Value
    median: Value
    interval: Interval
    pooled: Value | None = None


@dataclass(frozen=True, eq=False)
class Summary:
    """A cohort with everything that its report tells.

    Parameters
    ----------
    cohort : Cohort
        The test studies.
    calibration : Cohort, optional
        Studies that fix thresholds and are counted in nothing else.
    estimates : tuple of Estimate
        One per number.
    rankings : tuple of Ranking
    strata : tuple of Stratification
    order : tuple of (str, float)
        Studies and their triage scores, first those that need eyes first.
    remarks : tuple of Remark
        The lint, errors first.
    triage_map : str, optional
        Map of the triage score; None without maps.
    """

    cohort: Cohort
    calibration: Cohort | None
    estimates: tuple[Estimate, ...]
    rankings: tuple[Ranking, ...]
    strata: tuple[Stratification, ...]
    order: tuple[tuple[str, float], ...]
    remarks: tuple[Remark, ...]
    triage_map: str | None = None
    _by_key: Mapping[Any, Estimate] = field(default_factory=dict, repr=False)

    def estimate(self, metric: str, region: Region, **criteria: Any) -> Estimate | None:
        """The estimate of a number, if there is exactly one that meets the criteria (map, voxel_set)."""
        means = select([each.mean for each in self._by_key.values()], metric=metric, region=region, **criteria)
        return self._by_key[means[0].key] if len(means) == 1 else None


def summarise(cohort: Cohort, calibration: Cohort | None = None) -> Summary:
    """Bring a cohort down to what a reader asks for.

    Parameters
    ----------
    cohort : Cohort
        The test studies.
    calibration : Cohort, optional
        Studies that fix thresholds.

    Returns
    -------
    Summary
    """
    if calibration is not None:
        cohort = cohort.at_thresholds_of(calibration)
    values = cohort.values
    found = estimates(values)
    ranked = rankings(values)
    maps = [value.map for value in values if value.metric == TRIAGE_AGGREGATOR and value.region is Region.WT]
    triage_map = "entropy" if "entropy" in maps else next(iter(dict.fromkeys(maps)), None)
    scores = {} if triage_map is None else scores_of(values, triage_map, Region.WT)
    order = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    confounders = [
        Confounder(
            each.aggregator,
            each.map,
            each.region,
            each.spearman_volume,
            each.spearman_dice,
            len(each.studies),
            ranks=each.aggregator == TRIAGE_AGGREGATOR and each.region is Region.WT,
        )
        for each in ranked
        if each.map == triage_map
    ]
    known = None
    if calibration is not None:
        known = {record.study: record.inputs.get("reference", "") for record in calibration.records}
    evidence = Evidence(values, cohort.records, known, cohort.unpredicted, confounders)
    return Summary(
        cohort,
        calibration,
        tuple(found),
        tuple(ranked),
        tuple(stratify(values, None if calibration is None else calibration.values, resamples=RESAMPLES)),
        tuple(order),
        tuple(lint(evidence)),
        triage_map,
        {each.mean.key: each for each in found},
    )


def estimates(values: Sequence[Value]) -> list[Estimate]:
    """Means with intervals of all numbers, from the values of single studies.

    Parameters
    ----------
    values : sequence of Value
        As :attr:`Cohort.values` gives them.

    Returns
    -------
    list of Estimate
        In the order of the values.
    """
    cases: dict[Any, list[float]] = {}
    others: dict[str, dict[Any, Value]] = {"mean": {}, "median": {}, "pooled": {}}
    for value in values:
        if value.aggregation == "case":
            cases.setdefault(value.key, []).append(value.value)
        else:
            others[value.aggregation][value.key] = value
    return [
        Estimate(
            others["mean"][key],
            others["median"][key],
            bootstrap_bca(numbers, np.mean, RESAMPLES, SEED),
            others["pooled"].get(key),
        )
        for key, numbers in cases.items()
    ]


def summary_json(summary: Summary, making: Mapping[str, Any]) -> dict[str, Any]:
    """Content of ``summary.json``: plain JSON values, undefined numbers null.

    Parameters
    ----------
    summary : Summary
    making : mapping
        Command, versions and settings of the run.

    Returns
    -------
    dict
    """
    cohort = summary.cohort
    content = {
        "schema": SCHEMA,
        "research_use_only": RESEARCH_USE_ONLY,
        **making,
        "bootstrap": {"unit": "patient", "resamples": RESAMPLES, "seed": SEED, "confidence": 0.95},
        "studies": {
            record.study: {"inputs": record.inputs, "brain": record.brain, "notes": record.notes}
            for record in cohort.records
        },
        "calibration": None
        if summary.calibration is None
        else {record.study: {"inputs": record.inputs} for record in summary.calibration.records},
        "failed": {failure.study: str(failure.error) for failure in cohort.failures},
        "references_without_prediction": cohort.unpredicted,
        "triage": {
            "score": f"{TRIAGE_AGGREGATOR} of {summary.triage_map}, WT",
            "order": [{"study": study, "score": _number(score)} for study, score in summary.order],
        },
        "estimates": [_estimate_json(each) for each in summary.estimates],
        "rankings": [_ranking_json(each) for each in summary.rankings],
        "strata": [_strata_json(each) for each in summary.strata],
        "lint": [
            {"rule": each.rule, "severity": each.severity, "sentence": each.sentence, "studies": each.studies}
            for each in summary.remarks
        ],
    }
    result: dict[str, Any] = plain(content)
    return result


def unit_of(name: str) -> str:
    """Unit of a named map's values."""
    return MapName.parse(name).unit


def present(cohort: Cohort) -> tuple[Region, ...]:
    """Regions that something was measured for."""
    seen = {value.region for value in cohort.values}
    return tuple(region for region in REGIONS if region in seen)


def _estimate_json(each: Estimate) -> dict[str, Any]:
    value = each.mean
    return {
        "metric": value.metric,
        "region": value.region,
        "map": value.map,
        "voxel_set": value.voxel_set,
        "bins": value.bins,
        "unit": value.unit,
        "mean": value.value,
        "interval": [each.interval.low, each.interval.high],
        "method": each.interval.method,
        "median": each.median.value,
        "count": value.count,
        "undefined": value.undefined,
        "pooled": None if each.pooled is None else each.pooled.value,
        "pooled_count": None if each.pooled is None else each.pooled.count,
    }


def _ranking_json(each: Ranking) -> dict[str, Any]:
    return {
        "aggregator": each.aggregator,
        "map": each.map,
        "region": each.region,
        "count": len(each.studies),
        "left_out": each.left_out,
        "aurc": each.aurc,
        "e_aurc": each.e_aurc,
        "augrc": each.augrc,
        "spearman_dice": each.spearman_dice,
        "spearman_volume": each.spearman_volume,
        "partial_spearman_dice_given_volume": each.partial,
        "triage_auroc": [
            {"dice_below": one.threshold, "auroc": one.auroc, "positives": one.positives, "undefined": one.undefined}
            for one in each.triage
        ],
    }


def _strata_json(each: Stratification) -> dict[str, Any]:
    shift = each.test.hodges_lehmann
    return {
        "map": each.map,
        "aggregator": TRIAGE_AGGREGATOR,
        "region": each.region,
        "threshold": each.threshold,
        "in_sample": each.in_sample,
        "counts": each.test.counts,
        "median_dice": each.test.medians,
        "mann_whitney_u": each.test.u,
        "p_value": each.test.p_value,
        "p_holm": each.p_holm,
        "cliffs_delta": each.test.cliffs_delta,
        "hodges_lehmann": shift.estimate,
        "hodges_lehmann_interval": [shift.low, shift.high],
    }


def _number(score: float) -> float | str:
    return "infinite: nothing was predicted" if math.isinf(score) else score
