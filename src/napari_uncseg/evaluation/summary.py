"""What a cohort comes down to: estimates with intervals, how well studies are ordered, and whom to review first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from napari_uncseg.evaluation.expected_dice import (
    EXPECTED_DICE,
    POOR_WT,
    Forecast,
    Review,
    bound_of,
    forecasts,
    rankings,
    review,
)
from napari_uncseg.evaluation.runner import Cohort
from napari_uncseg.evaluation.sanity_checks import CheckResult, CohortEvidence, run_checks
from napari_uncseg.evaluation.table import KEYS, by_case, select, to_records
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import Measure
from napari_uncseg.metrics.statistics import CONFIDENCE, bootstrap_bca
from napari_uncseg.uncertainty.expected_dice import COVERAGE

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
        Studies that fix the bound of *needs review* and are counted in nothing else.
    estimates : pandas.DataFrame
        See :func:`estimates`.
    rankings : pandas.DataFrame
        See :func:`~napari_uncseg.evaluation.expected_dice.rankings`.
    forecasts : tuple of Forecast
        How good expected Dice is; of regions whose results tell it.
    review : Review, optional
        Whom *needs review* marks; None where no result tells its expected Dice.
    order : pandas.Series
        Expected Dice of the whole tumour by id, the studies to review first at the top; empty where none tells it.
    checks : tuple of CheckResult
        Of the sanity checks, errors first.
    leading_map : str, optional
        Map that the report leads with; None without maps.
    """

    cohort: Cohort
    calibration: Cohort | None
    estimates: pd.DataFrame
    rankings: pd.DataFrame
    forecasts: tuple[Forecast, ...]
    review: Review | None
    order: pd.Series
    checks: tuple[CheckResult, ...]
    leading_map: str | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions that something was measured for."""
        seen = set(self.estimates["region"])
        return tuple(region for region in REGIONS if region in seen)

    def estimate(self, metric: str, region: Region, **criteria: Any) -> Any:
        """The row of the estimates that meets the criteria (map, voxel_set), by attribute; None if not exactly one."""
        found = select(self.estimates, metric=metric, region=region, **criteria)
        return next(found.itertuples()) if len(found) == 1 else None


def summarise(cohort: Cohort, calibration: Cohort | None = None, bound: float | None = None) -> Summary:
    """Bring a cohort down to what a reader asks for.

    Parameters
    ----------
    cohort : Cohort
        The test studies.
    calibration : Cohort, optional
        Studies that fix the bound of *needs review*, so that it marks a quarter of them.
    bound : float, optional
        Expected Dice of the whole tumour below which a study needs review, whatever else says.

    Returns
    -------
    Summary
    """
    table = cohort.table
    ranked = rankings(table)
    maps = select(table, metric="auroc", region=Region.WT)["map"].unique().tolist()
    leading = (Measure.ERROR_RISK, Measure.ENTROPY, *maps)
    told = {record.study: record.checks.get("needs_review") or () for record in cohort.records}
    reasons = {study: [str(reason["code"]) for reason in each] for study, each in told.items()}
    known = None
    if calibration is not None:
        known = {record.study: record.inputs.get("reference", "") for record in calibration.records}
        bound = bound_of(calibration.table) if bound is None else bound
    return Summary(
        cohort,
        calibration,
        estimates(table),
        ranked,
        tuple(forecasts(table, RESAMPLES)),
        review(table, reasons, bound, RESAMPLES),
        by_case(table, metric=EXPECTED_DICE[0], region=Region.WT).sort_index().sort_values(kind="stable"),
        tuple(run_checks(CohortEvidence(table, cohort.records, known, cohort.unpredicted, ranked))),
        next((str(name) for name in leading if name in maps), None),
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
        "order": [{"study": study, "expected_dice": value} for study, value in summary.order.items()],
        "expected_dice": {"coverage": COVERAGE, "regions": [asdict(each) for each in summary.forecasts]},
        "review": None if summary.review is None else _review_json(summary.review),
        "estimates": _estimates_json(summary.estimates),
        "rankings": [{**row, "triage": [vars(one) for one in row["triage"]]} for row in to_records(summary.rankings)],
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


def _review_json(found: Review) -> dict[str, Any]:
    content = {name: asdict(getattr(found, name)) for name in ("share", "sensitivity", "groups")}
    studies = found.studies.rename_axis("study").reset_index().to_dict("records")
    slipped = found.slipped_through.index.tolist()
    return {"bound": found.bound, "poor_below": POOR_WT, **content, "slipped_through": slipped, "studies": studies}
