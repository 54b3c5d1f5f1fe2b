"""From a summary to the data of its figures: which curves are drawn, over which voxels, and what the captions say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_uncseg.evaluation.aggregation import risk_coverage
from napari_uncseg.evaluation.calibration import Calibration, reliability
from napari_uncseg.evaluation.discrimination import Discrimination, errors_caught_curve
from napari_uncseg.evaluation.metric import Statistic
from napari_uncseg.evaluation.qubrats import FilterCurves, QUBraTS, filter_curves
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR
from napari_uncseg.evaluation.summary import Summary, unit_of
from napari_uncseg.evaluation.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.reporting.plots import (
    Line,
    ReliabilityCurve,
    Strata,
    errors_caught_figure,
    qubrats_figure,
    reliability_figure,
    risk_coverage_figure,
    stratified_figure,
    triage_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARES = np.linspace(0, 1, 201)
"""Shares of voxels reviewed at which the curves of single studies are read."""

_NONE = np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class Illustration:
    """A figure with its words.

    Parameters
    ----------
    name : str
        File name without an ending.
    figure : matplotlib.figure.Figure
    alt : str
        What it shows, for those who do not see it.
    caption : str
        How to read it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


def illustrate(summary: Summary) -> list[Illustration]:
    """All figures that there is data for.

    Parameters
    ----------
    summary : Summary

    Returns
    -------
    list of Illustration
    """
    makers: tuple[Callable[[Summary], Illustration | None], ...] = (
        _reliability,
        _errors_caught,
        _qubrats,
        _risk_coverage,
        _stratified,
        _triage,
    )
    return [drawn for drawn in (make(summary) for make in makers) if drawn is not None]


def _reliability(summary: Summary) -> Illustration | None:
    voxels = VoxelSet.TUMOUR
    curves = {}
    for metric in summary.cohort.metrics:
        if isinstance(metric, Calibration) and metric.voxel_set is voxels:
            pooled = reliability(metric.total(), metric.bins)
            cases = [reliability(statistic, metric.bins).observed for statistic in metric.cases.values()]
            estimate = summary.estimate("ece_classwise", metric.region, voxel_set=voxels)
            ece = estimate.mean.value if estimate is not None else float("nan")
            curves[metric.region] = ReliabilityCurve(
                pooled.claimed, pooled.observed, pooled.counts, np.array(cases), ece
            )
    if not curves:
        return None
    count = len(summary.cohort.records)
    return Illustration(
        "reliability",
        reliability_figure(curves, f"Reliability of the probabilities: {VOXEL_SET_TITLES[voxels]}, 15 bins"),
        "Reliability diagrams of the three regions over the number of voxels per bin",
        "Of the voxels said to be in the region with a probability of 30 %, 30 % should be. Thick: voxels of all "
        f"{count} studies pooled; thin and shaded: single studies. Below the diagonal the region is claimed too "
        "often, above it too seldom. Bins of few voxels (lower row, log axis) weigh little. ECE: class-wise, mean "
        "over studies, same voxels.",
    )


def _errors_caught(summary: Summary) -> Illustration | None:
    voxels = VoxelSet.TUMOUR
    curves: dict[Region, dict[str, Line]] = {region: {} for region in REGIONS}
    prevalence: dict[Region, float] = {}
    for metric in summary.cohort.metrics:
        if isinstance(metric, Discrimination) and metric.voxel_set is voxels and _drawn(metric.map):
            total = metric.total()
            failures, all_voxels = int(total["failure"].sum()), int((total["failure"] + total["correct"]).sum())
            if failures:
                cases = [_caught(statistic) for statistic in metric.cases.values()]
                curves[metric.region][metric.map] = Line(_SHARES, _caught(total), np.array(cases))
                prevalence[metric.region] = failures / all_voxels
    if not any(curves.values()):
        return None
    return Illustration(
        "errors-caught",
        errors_caught_figure(
            curves, prevalence, f"Errors found by reviewing the most uncertain voxels first: {VOXEL_SET_TITLES[voxels]}"
        ),
        "Share of errors found against share of voxels reviewed, one line per map",
        "Lines: voxels of all studies pooled, so that a large tumour counts more than a small one; shaded: the middle "
        "80 % of studies, for the first map. A map that knows nothing finds 10 % of the errors in 10 % of the voxels. "
        "All maps are those of the region; unc_output speaks of the whole tumour alone.",
    )


def _qubrats(summary: Summary) -> Illustration | None:
    curves: dict[Region, dict[str, Line]] = {}
    parts: Mapping[str, Callable[[FilterCurves], np.ndarray]] = {
        "dice": lambda found: found.dice,
        "ftp": lambda found: found.filtered_true_positives,
        "ftn": lambda found: found.filtered_true_negatives,
    }
    name = summary.triage_map
    for metric in summary.cohort.metrics:
        if isinstance(metric, QUBraTS) and metric.map == name:
            found = [filter_curves(statistic) for statistic in metric.cases.values()]
            curves[metric.region] = {}
            for part, of in parts.items():
                cases = np.array([of(each) for each in found])
                curves[metric.region][part] = Line(found[0].thresholds, cases.mean(axis=0), cases)
    if not curves:
        return None
    return Illustration(
        "qubrats",
        qubrats_figure(curves, f"QU-BraTS curves of {name} (0 to 100 spans 0 to its largest possible value)"),
        "Dice of the voxels kept, and share of true voxels lost, against the uncertainty threshold",
        "From right to left more and more uncertain voxels are taken out. Good uncertainty lets the Dice of the rest "
        "rise (solid) and takes few voxels that were right (dashed, dotted). Dice and true positives are of the "
        "whole volume, true negatives of the brain. Mean over studies; shaded: the middle 80 % of their Dice.",
    )


def _risk_coverage(summary: Summary) -> Illustration | None:
    name = summary.triage_map
    curves: dict[Region, dict[str, Line]] = {}
    oracle, overall = {}, {}
    for ranking in summary.rankings:
        if ranking.map == name:
            line = Line(ranking.curve.coverage, ranking.curve.selective_risk, _NONE)
            curves.setdefault(ranking.region, {})[ranking.aggregator] = line
            risks = 1 - ranking.dice
            best = risk_coverage(risks, -risks)
            oracle[ranking.region] = Line(best.coverage, best.selective_risk, _NONE)
            overall[ranking.region] = float(risks.mean())
    if not curves:
        return None
    return Illustration(
        "risk-coverage",
        risk_coverage_figure(curves, oracle, overall, f"Risk–coverage of the studies, ranked by aggregates of {name}"),
        "Mean of 1 minus Dice of the studies kept, against the share of studies kept, one line per aggregate",
        "The least sure studies are taken out first, from right to left. A useful score lets the risk of the rest fall "
        "towards the best possible order; one that only follows the tumour's size may do so by accident: see the "
        "correlation with volume in the table of rankings.",
    )


def _stratified(summary: Summary) -> Illustration | None:
    name = summary.triage_map
    strata = {}
    in_sample = True
    for each in summary.strata:
        if each.map == name:
            in_sample = each.in_sample
            sure, unsure = each.test.medians
            sentence = each.test.undefined or (
                f"medians {sure:.3f} and {unsure:.3f}, Cliff's δ = {each.test.cliffs_delta:+.2f}\n"
                f"Mann–Whitney p = {each.p_holm:.2g} (Holm)"
            )
            strata[each.region] = Strata(each.below, each.above, sentence)
    if not strata:
        return None
    split = "the median of these very studies (in-sample)" if in_sample else "the median of the calibration studies"
    return Illustration(
        "stratified-dice",
        stratified_figure(strata, f"Dice of sure and unsure studies, split at {split}"),
        "Dice of the studies with a low and with a high triage score, per region",
        f"Score: mean {name} of the region in the predicted tumour and 5 mm around it. Boxes: quartiles; points: "
        "studies with at least 1 mL of the region in the reference."
        + (" Nobody could have split a new study this way: give calibration studies." if in_sample else ""),
    )


def _triage(summary: Summary) -> Illustration | None:
    name = summary.triage_map
    points = {}
    for ranking in summary.rankings:
        if ranking.map == name and ranking.aggregator == TRIAGE_AGGREGATOR:
            finite = np.isfinite(ranking.scores)
            points[ranking.region] = (ranking.scores[finite], ranking.dice[finite])
    if not points or name is None:
        return None
    unit = unit_of(name)
    return Illustration(
        "triage",
        triage_figure(points, "Dice against the triage score", f"mean {name} in the predicted tumour ({unit})"),
        "Scatter of Dice against the triage score, per region",
        "Every study a point; the score needs no reference. Studies in which nothing was predicted are not drawn.",
    )


def _caught(statistic: Statistic) -> np.ndarray:
    reviewed, caught = errors_caught_curve(statistic)
    if np.isnan(caught).any():
        return np.full(len(_SHARES), np.nan)
    return np.interp(_SHARES, reviewed, caught)


def _drawn(name: str) -> bool:
    """Whether a map has a line: the unmasked one would hide the masked one, from which it differs outside alone."""
    return name != "unc_output_unmasked"
