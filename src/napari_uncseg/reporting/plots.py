"""Figures of a cohort: which curves are drawn, over which voxels; no function touches a file.

matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.calibration import Calibration
from napari_uncseg.evaluation.discrimination import Discrimination, QUBraTS
from napari_uncseg.evaluation.metric import Statistic
from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR
from napari_uncseg.evaluation.summary import Summary
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.calibration import reliability
from napari_uncseg.metrics.discrimination import errors_caught_curve
from napari_uncseg.metrics.qubrats import THRESHOLDS, filter_curves
from napari_uncseg.metrics.selective import risk_coverage
from napari_uncseg.metrics.voxel_sets import VOXEL_SET_TITLES, VoxelSet
from napari_uncseg.reporting.plot_style import (
    GREY,
    REGION_COLOURS,
    REGION_MARKERS,
    look,
    new_figure,
    panel_title,
    region_panels,
    spread,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Settings = dict[str, Any]

_VOXELS = VoxelSet.TUMOUR
_SHARES = np.linspace(0, 1, 201)
"""Shares of voxels reviewed at which the curves of single studies are read."""

_FILTERED = {
    "dice": ("Dice of what is kept", "-"),
    "filtered_true_positives": ("true positives filtered away", "--"),
    "filtered_true_negatives": ("true negatives filtered away", ":"),
}


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """How often what was said with a probability came true.

    Parameters
    ----------
    mean_p, mean_y : ndarray of float, shape (bins,)
        Mean probability and share of the region in each bin, pooled over studies; nan where a bin is empty.
    count : ndarray of int, shape (bins,)
        Voxels in each bin.
    cases : ndarray of float, shape (studies, bins)
        ``mean_y`` of each study; nan where it has no voxel.
    ece : float
        Mean over studies of the class-wise expected calibration error, for the title.
    """

    mean_p: Floats
    mean_y: Floats
    count: npt.NDArray[np.int64]
    cases: Floats
    ece: float = float("nan")


def illustrate(summary: Summary) -> dict[str, Figure]:
    """All figures that there is data for.

    Parameters
    ----------
    summary : Summary

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Name of a file without an ending -> figure, in the order of the report.
    """
    makers = {
        "reliability": reliability_of,
        "errors-caught": errors_caught,
        "qubrats": qubrats,
        "risk-coverage": risk_coverage_of,
        "stratified-dice": stratified_dice,
        "triage": triage,
    }
    return {name: figure for name, make in makers.items() if (figure := make(summary)) is not None}


def reliability_figure(curves: Mapping[Region, ReliabilityCurve], title: str) -> Figure:
    """Reliability per region, with the spread of the studies, over the number of voxels in each bin (log axis).

    Parameters
    ----------
    curves : mapping of Region to ReliabilityCurve
        Empty curves leave their panel empty.
    title : str
        Voxel set and aggregation in words.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 5.6)
        heights = {"height_ratios": (3, 1), "hspace": 0.08}
        axes = figure.subplots(2, len(REGIONS), sharex=True, squeeze=False, gridspec_kw=heights)
        for upper, lower, region in zip(*axes, REGIONS, strict=True):
            curve = curves.get(region)
            panel_title(upper, region, curve is not None)
            upper.set_aspect("equal")
            lower.set_xlabel("mean probability in the bin")
            if curve is not None:
                spread(upper, curve.mean_p, curve.cases, REGION_COLOURS[region])
                place: dict[str, Any] = {"transform": upper.transAxes, "ha": "right", "va": "bottom"}
                upper.text(0.96, 0.05, f"ECE {curve.ece:.3f}", fontsize=9, **place)
            draw_reliability(upper, lower, region, curve, REGION_COLOURS[region])
        axes[0][0].set_ylabel("share that is in the region")
        axes[1][0].set_ylabel("voxels")
        axes[0][0].legend(loc="upper left", fontsize=8)
        figure.suptitle(title)
        return figure


def draw_reliability(upper: Axes, lower: Axes, region: Region, curve: ReliabilityCurve | None, colour: str) -> None:
    """Draw the curve of a region, and the number of voxels in each bin below it; of none, the frame alone."""
    upper.plot((0, 1), (0, 1), color=GREY, lw=1, ls=":", label="perfect")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    if curve is None:
        return
    filled, edges = curve.count > 0, np.linspace(0, 1, len(curve.count) + 1)
    line: dict[str, Any] = {"color": colour, "marker": REGION_MARKERS[region], "ms": 4, "lw": 1.8}
    upper.plot(curve.mean_p[filled], curve.mean_y[filled], label="all studies pooled", **line)
    lower.bar(edges[:-1], np.where(filled, curve.count, np.nan), np.diff(edges), align="edge", color=colour)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.8)


def reliability_of(summary: Summary) -> Figure | None:
    """Reliability of the probabilities around the tumour."""
    curves = {}
    for metric in summary.cohort.metrics:
        if isinstance(metric, Calibration) and metric.voxel_set is _VOXELS:
            pooled = reliability(metric.total(), metric.bins)
            cases = np.array([reliability(statistic, metric.bins).observed for statistic in metric.cases.values()])
            estimate = summary.estimate("ece_classwise", metric.region, voxel_set=_VOXELS)
            ece = float("nan") if estimate is None else estimate.mean
            curves[metric.region] = ReliabilityCurve(pooled.claimed, pooled.observed, pooled.counts, cases, ece)
    title = f"Reliability of the probabilities: {VOXEL_SET_TITLES[_VOXELS]}, 15 bins"
    return reliability_figure(curves, title) if curves else None


def errors_caught(summary: Summary) -> Figure | None:
    """Share of the errors found when the most uncertain voxels are reviewed first, one line per map."""
    found = [
        (metric, metric.total())
        for metric in summary.cohort.metrics
        # The unmasked map would hide the masked one, from which it differs outside of the mask alone.
        if isinstance(metric, Discrimination) and metric.voxel_set is _VOXELS and metric.map != "unc_output_unmasked"
    ]
    found = [(metric, total) for metric, total in found if total["failure"].any()]
    names = list(dict.fromkeys(metric.map for metric, _ in found))

    def draw(axis: Axes, region: Region) -> bool:
        lines = [(metric, total) for metric, total in found if metric.region is region]
        for metric, total in lines[:1]:  # bands of all maps would hide one another
            cases = np.array([_caught(statistic) for statistic in metric.cases.values()])
            spread(axis, _SHARES, cases, look(metric.map, names)[0], singles=False)
            share = total["failure"].sum() / (total["failure"].sum() + total["correct"].sum())
            axis.plot((0, share, 1), (0, 1, 1), color=GREY, lw=1.2, ls="--", label="best possible")
            axis.plot((0, 1), (0, 1), color=GREY, lw=1.2, ls=":", label="by chance")
        for metric, total in lines:
            colour, dash = look(metric.map, names)
            axis.plot(_SHARES, _caught(total), color=colour, ls=dash, lw=1.8, label=metric.map)
        return bool(lines)

    title = f"Errors found by reviewing the most uncertain voxels first: {VOXEL_SET_TITLES[_VOXELS]}"
    limits: Settings = {"xlim": (0, 1), "ylim": (0, 1.02), "xlabel": "share of voxels reviewed"}
    return region_panels(title, "share of errors found", draw, **limits) if found else None


def qubrats(summary: Summary) -> Figure | None:
    """Dice of the voxels kept, and true voxels filtered away, against the threshold of QU-BraTS."""
    kept = [metric for metric in summary.cohort.metrics if isinstance(metric, QUBraTS)]
    found = {metric.region: metric.cases.values() for metric in kept if metric.map == summary.triage_map}

    def draw(axis: Axes, region: Region) -> bool:
        curves, colour = [filter_curves(statistic) for statistic in found.get(region, ())], REGION_COLOURS[region]
        for part, (label, dash) in _FILTERED.items() if curves else ():
            cases = np.array([curve[part] for curve in curves])
            if part == "dice":  # three bands would hide one another
                spread(axis, THRESHOLDS, cases, colour, singles=False)
            axis.plot(THRESHOLDS, cases.mean(axis=0), color=colour, ls=dash, lw=1.8, label=label)
        return bool(curves)

    title = f"QU-BraTS curves of {summary.triage_map} (0 to 100 spans 0 to its largest possible value)"
    limits: Settings = {"xlim": (0, 100), "ylim": (0, 1.02), "xlabel": "uncertainty threshold τ"}
    return region_panels(title, "ratio", draw, **limits) if found else None


def risk_coverage_of(summary: Summary) -> Figure | None:
    """Risk of the studies that are kept, against the share that is kept, one line per aggregator."""
    ranked = [ranking for ranking in summary.rankings if ranking.map == summary.triage_map]
    names = list(dict.fromkeys(ranking.aggregator for ranking in ranked))

    def draw(axis: Axes, region: Region) -> bool:
        here = [ranking for ranking in ranked if ranking.region is region]
        for ranking in here:
            (colour, dash), label = look(ranking.aggregator, names), ranking.aggregator.replace("_", " ")
            axis.plot(ranking.curve.coverage, ranking.curve.selective_risk, color=colour, ls=dash, lw=1.6, label=label)
        for risks in [1 - ranking.dice for ranking in here[-1:]]:
            best = risk_coverage(risks, -risks)
            axis.plot(best.coverage, best.selective_risk, color=GREY, lw=1.2, ls="--", label="best possible order")
            axis.axhline(float(risks.mean()), color=GREY, lw=1.2, ls=":", label="no order at all")
        return bool(here)

    title = f"Risk–coverage of the studies, ranked by aggregates of {summary.triage_map}"
    limits: Settings = {"xlim": (0, 1), "ylim": (0, None), "xlabel": "share of studies kept"}
    return region_panels(title, "mean of 1 − Dice of those kept", draw, **limits) if ranked else None


def stratified_dice(summary: Summary) -> Figure | None:
    """Dice of the studies with a low and with a high score, every study a point."""
    strata = {each.region: each for each in summary.strata if each.map == summary.triage_map}

    def draw(axis: Axes, region: Region) -> bool:
        each = strata.get(region)
        if each is None:
            axis.set_xticks([])
            return False
        lines: Settings = {f"{part}props": {"color": GREY} for part in ("box", "whisker", "cap")}
        for place, group in enumerate((each.below, each.above), start=1):
            if group.size:
                median = {"color": "black", "lw": 1.6}
                axis.boxplot(group, positions=[place], widths=0.5, showfliers=False, medianprops=median, **lines)
                _scatter(axis, region, place + np.random.default_rng(0).uniform(-0.16, 0.16, group.size), group, 16)
        axis.set_xticks([1, 2], [f"certain\n(n = {each.below.size})", f"uncertain\n(n = {each.above.size})"])
        below, above = each.test.medians
        delta, p = f"Cliff's δ = {each.test.cliffs_delta:+.2f}", f"Mann–Whitney p = {each.p_holm:.2g} (Holm)"
        told = f"medians {below:.3f} and {above:.3f}, {delta}\n{p}"
        axis.set_xlabel(each.test.undefined or told, fontsize=8.5)
        return True

    in_sample = any(each.in_sample for each in strata.values())
    split = "the median of these very studies (in-sample)" if in_sample else "the median of the calibration studies"
    title = f"Dice of certain and uncertain studies, split at {split}"
    return region_panels(title, "Dice", draw, xlim=(0.4, 2.6), ylim=(-0.02, 1.02)) if strata else None


def triage(summary: Summary) -> Figure | None:
    """Dice against the score that ranks the studies; those in which nothing was predicted are not drawn."""
    chosen = (summary.triage_map, TRIAGE_AGGREGATOR)
    ranked = {each.region: each for each in summary.rankings if (each.map, each.aggregator) == chosen}

    def draw(axis: Axes, region: Region) -> bool:
        if region in ranked:
            finite = np.isfinite(ranked[region].scores)
            _scatter(axis, region, ranked[region].scores[finite], ranked[region].dice[finite], 22)
        axis.locator_params(axis="x", nbins=5)
        return region in ranked

    label = f"mean {summary.triage_map} in the predicted tumour ({MapName.parse(summary.triage_map or '').unit})"
    limits: Settings = {"ylim": (-0.02, 1.02), "xlabel": label}
    return region_panels("Dice against the triage score", "Dice", draw, **limits) if ranked else None


def _scatter(axis: Axes, region: Region, x: Floats, y: Floats, size: float) -> None:
    colour, marker = REGION_COLOURS[region], REGION_MARKERS[region]
    axis.scatter(x, y, s=size, zorder=3, color=colour, marker=marker, alpha=0.75, lw=0)


def _caught(statistic: Statistic) -> Floats:
    # Without errors the curve is NaN, and so is what is read from it.
    return np.interp(_SHARES, *errors_caught_curve(statistic))
