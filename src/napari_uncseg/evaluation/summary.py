"""What a cohort comes down to: estimates with intervals, rankings, strata, and the studies to review first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from napari_uncseg.evaluation.cohort import Cohort
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR, Ranking, Stratification, rankings, scores_of, stratify
from napari_uncseg.evaluation.sanity_checks import CheckResult, Evidence, run_checks
from napari_uncseg.evaluation.table import KEYS, select, to_records
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.statistics import CONFIDENCE, bootstrap_bca

SCHEMA = 1

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, eq=False)
class Summary:
    """A cohort with everything that its report tells.

    Parameters
    ----------
    cohort : Cohort
        The test studies.
    calibration : Cohort, optional
        Studies that fix thresholds and are counted in nothing else.
    estimates : pandas.DataFrame
        See :func:`estimates`.
    rankings : tuple of Ranking
    strata : tuple of Stratification
    order : pandas.Series
        Triage score of the studies by id, the studies to review first at the top.
    checks : tuple of CheckResult
        Of the sanity checks, errors first.
    triage_map : str, optional
        Map of the triage score; None without maps.
    """

    cohort: Cohort
    calibration: Cohort | None
    estimates: pd.DataFrame
    rankings: tuple[Ranking, ...]
    strata: tuple[Stratification, ...]
    order: pd.Series
    checks: tuple[CheckResult, ...]
    triage_map: str | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions that something was measured for."""
        seen = set(self.estimates["region"])
        return tuple(region for region in REGIONS if region in seen)

    def estimate(self, metric: str, region: Region, **criteria: Any) -> Any:
        """The row of the estimates that meets the criteria (map, voxel_set), by attribute; None if not exactly one."""
        found = select(self.estimates, metric=metric, region=region, **criteria)
        return next(found.itertuples()) if len(found) == 1 else None


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
    table = cohort.table
    ranked = rankings(table)
    maps = select(table, metric=TRIAGE_AGGREGATOR, region=Region.WT)["map"].unique().tolist()
    triage_map = "entropy" if "entropy" in maps else next(iter(maps), None)
    scores = scores_of(table, triage_map, Region.WT) if triage_map else pd.Series(dtype=float)
    triage = [each for each in ranked if each.map == triage_map]
    known = None
    if calibration is not None:
        known = {record.study: record.inputs.get("reference", "") for record in calibration.records}
    return Summary(
        cohort,
        calibration,
        estimates(table),
        tuple(ranked),
        tuple(stratify(table, None if calibration is None else calibration.table, resamples=RESAMPLES)),
        scores.sort_index().sort_values(ascending=False, kind="stable"),
        tuple(run_checks(Evidence(table, cohort.records, known, cohort.unpredicted, triage))),
        triage_map,
    )


def estimates(table: pd.DataFrame) -> pd.DataFrame:
    """Means with intervals of all numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, as :attr:`Cohort.table` gives it.

    Returns
    -------
    pandas.DataFrame
        A row per number: :data:`~napari_uncseg.evaluation.table.KEYS`, ``mean`` and ``median`` over the ``count``
        studies where it is defined (``undefined`` counts the others), ``low`` and ``high`` of the 95 % interval of the
        mean by resampling patients and its ``method``, ``pooled`` of the voxels of all studies together and their
        ``pooled_count``.
    """
    mean, median, pooled = (select(table, aggregation=name) for name in ("mean", "median", "pooled"))
    found = mean[[*KEYS, "value", "count", "undefined"]].rename(columns={"value": "mean"})
    found["median"] = median["value"].to_numpy()
    # Groups come in the order of the means.
    cases = select(table, aggregation="case").groupby(KEYS, sort=False, dropna=False)["value"]
    intervals = [bootstrap_bca(numbers.to_numpy(), np.mean, RESAMPLES, SEED) for _, numbers in cases]
    for name in ("low", "high", "method"):
        found[name] = [getattr(interval, name) for interval in intervals]
    pooled = pooled[[*KEYS, "value", "count"]].rename(columns={"value": "pooled", "count": "pooled_count"})
    return found.merge(pooled, on=KEYS, how="left")


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
        "bootstrap": {"unit": "patient", "resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
        "studies": _told(cohort, "inputs", "brain", "notes"),
        "calibration": None if summary.calibration is None else _told(summary.calibration, "inputs"),
        "failed": {failure.study: str(failure.error) for failure in cohort.failures},
        "references_without_prediction": cohort.unpredicted,
        "triage": {
            "score": f"{TRIAGE_AGGREGATOR} of {summary.triage_map}, WT",
            "order": [
                {"study": study, "score": "infinite: nothing was predicted" if math.isinf(score) else score}
                for study, score in summary.order.items()
            ],
        },
        "estimates": _estimates_json(summary.estimates),
        "rankings": [_ranking_json(each) for each in summary.rankings],
        "strata": [_strata_json(each) for each in summary.strata],
        "sanity_checks": [vars(each) for each in summary.checks],
    }
    result: dict[str, Any] = plain(content)
    return result


def _told(cohort: Cohort, *fields: str) -> dict[str, Any]:
    return {record.study: record.model_dump(include=set(fields)) for record in cohort.records}


def _estimates_json(estimates: pd.DataFrame) -> list[dict[str, Any]]:
    intervals = estimates[["low", "high"]].to_numpy().tolist()
    records = to_records(estimates.drop(columns=["low", "high"]))
    return [record | {"interval": interval} for record, interval in zip(records, intervals, strict=True)]


def _ranking_json(each: Ranking) -> dict[str, Any]:
    names = ("aggregator", "map", "region", "left_out", "aurc", "e_aurc", "augrc", "spearman_dice", "spearman_volume")
    triage = [
        {"dice_below": one.threshold, "auroc": one.auroc, "positives": one.positives, "undefined": one.undefined}
        for one in each.triage
    ]
    return {name: getattr(each, name) for name in names} | {
        "count": len(each.studies),
        "partial_spearman_dice_given_volume": each.partial,
        "triage_auroc": triage,
    }


def _strata_json(each: Stratification) -> dict[str, Any]:
    shift = each.test.hodges_lehmann
    names = ("map", "region", "threshold", "in_sample", "p_holm")
    return {name: getattr(each, name) for name in names} | {
        "aggregator": TRIAGE_AGGREGATOR,
        "counts": each.test.counts,
        "median_dice": each.test.medians,
        "mann_whitney_u": each.test.u,
        "p_value": each.test.p_value,
        "cliffs_delta": each.test.cliffs_delta,
        "hodges_lehmann": shift.estimate,
        "hodges_lehmann_interval": [shift.low, shift.high],
    }
