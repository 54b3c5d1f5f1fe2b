"""Figures of a cohort: which curves are drawn, over which voxels; no function touches a file.

matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_uncseg.arrays import Floats64
from napari_uncseg.evaluation.calibration import ProbabilityCalibration
from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR, Discrimination, QUBraTS
from napari_uncseg.evaluation.expected_dice import EXPECTED_DICE, VOLUME, study_scores
from napari_uncseg.evaluation.metric import Statistic
from napari_uncseg.evaluation.summary import Summary
from napari_uncseg.evaluation.table import by_case
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import Reliability, reliability
from napari_uncseg.metrics.discrimination import THRESHOLDS, errors_caught_curve, filter_curves
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

Settings = dict[str, Any]

_VOXELS = VoxelSet.TUMOUR
_SHARES = np.linspace(0, 1, 201)
"""Shares of voxels reviewed at which the curves of single studies are read."""

_FILTERED = {
    "dice": ("Dice of what is kept", "-"),
    "filtered_true_positives": ("true positives filtered away", "--"),
    "filtered_true_negatives": ("true negatives filtered away", ":"),
}


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
        "expected-dice": expected_dice,
        "risk-coverage": risk_coverage_of,
    }
    return {name: figure for name, make in makers.items() if (figure := make(summary)) is not None}


def reliability_figure(
    curves: Mapping[Region, Reliability],
    title: str,
    errors: Mapping[Region, float] | None = None,
    cases: Mapping[Region, Floats64] | None = None,
) -> Figure:
    """Reliability per region, with the spread of the studies, over the number of voxels in each bin (log axis).

    Parameters
    ----------
    curves : mapping of Region to Reliability
        Pooled over studies; a region without one has an empty panel.
    title : str
        Voxel set and aggregation in words.
    errors : mapping of Region to float, optional
        Class-wise expected calibration error to tell; by default that of the curve.
    cases : mapping of Region to ndarray of float, shape (studies, bins), optional
        What was observed of each study; nan where it has no voxel.

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
                spread(upper, curve.claimed, (cases or {}).get(region, np.empty((0, 0))), REGION_COLOURS[region])
                place: Settings = {"transform": upper.transAxes, "ha": "right", "va": "bottom"}
                error = (errors or {}).get(region, curve.expected_error)
                upper.text(0.96, 0.05, f"ECE {error:.3f}", fontsize=9, **place)
            draw_reliability(upper, lower, region, curve, REGION_COLOURS[region])
        axes[0][0].set_ylabel("share that is in the region")
        axes[1][0].set_ylabel("voxels")
        axes[0][0].legend(loc="upper left", fontsize=8)
        figure.suptitle(title)
        return figure


def draw_reliability(upper: Axes, lower: Axes, region: Region, curve: Reliability | None, colour: str) -> None:
    """Draw the curve of a region, and the number of voxels in each bin below it; of none, the frame alone."""
    upper.plot((0, 1), (0, 1), color=GREY, lw=1, ls=":", label="perfect")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    if curve is None:
        return
    filled, edges = curve.counts > 0, curve.edges
    line: Settings = {"color": colour, "marker": REGION_MARKERS[region], "ms": 4, "lw": 1.8}
    upper.plot(curve.claimed[filled], curve.observed[filled], label="all studies pooled", **line)
    lower.bar(edges[:-1], np.where(filled, curve.counts, np.nan), np.diff(edges), align="edge", color=colour)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.8)


def reliability_of(summary: Summary) -> Figure | None:
    """Reliability of the probabilities around the tumour."""
    curves, errors, cases = {}, {}, {}
    for metric in summary.cohort.metrics:
        if isinstance(metric, ProbabilityCalibration) and metric.voxel_set is _VOXELS:
            region, bins = metric.region, metric.bins
            cases[region] = np.array([reliability(each, bins).observed for each in metric.cases.values()])
            estimate = summary.estimate("ece_classwise", region, voxel_set=_VOXELS)
            errors[region] = float("nan") if estimate is None else estimate.mean
            curves[region] = reliability(metric.total(), bins)
    title = f"Reliability of the probabilities: {VOXEL_SET_TITLES[_VOXELS]}, 15 bins"
    return reliability_figure(curves, title, errors, cases) if curves else None


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
    found = {metric.region: metric.cases.values() for metric in kept if metric.map == summary.leading_map}

    def draw(axis: Axes, region: Region) -> bool:
        curves, colour = [filter_curves(statistic) for statistic in found.get(region, ())], REGION_COLOURS[region]
        for part, (label, dash) in _FILTERED.items() if curves else ():
            cases = np.array([curve[part] for curve in curves])
            if part == "dice":  # three bands would hide one another
                spread(axis, THRESHOLDS, cases, colour, singles=False)
            axis.plot(THRESHOLDS, cases.mean(axis=0), color=colour, ls=dash, lw=1.8, label=label)
        return bool(curves)

    title = f"QU-BraTS curves of {summary.leading_map} (0 to 100 spans 0 to its largest possible value)"
    limits: Settings = {"xlim": (0, 100), "ylim": (0, 1.02), "xlabel": "uncertainty threshold τ"}
    return region_panels(title, "ratio", draw, **limits) if found else None


def risk_coverage_of(summary: Summary) -> Figure | None:
    """Risk of the studies that are kept, against the share that is kept, one line per score."""
    table = summary.cohort.table
    scores = {region: study_scores(table, region) for region in REGIONS if len(summary.rankings)}
    labels = {EXPECTED_DICE: "expected Dice", (MEAN_TUMOUR, "entropy"): "mean entropy", VOLUME: "predicted volume"}

    def draw(axis: Axes, region: Region) -> bool:
        dice = by_case(table, metric="dice_any_size", region=region)
        for score, label in labels.items():
            if score in scores[region]:
                both = pd.DataFrame({"doubt": scores[region][score], "dice": dice}).dropna()
                curve = risk_coverage(1 - both["dice"].to_numpy(), -both["doubt"].to_numpy())
                colour, dash = look(label, list(labels.values()))
                axis.plot(curve.coverage, curve.selective_risk, color=colour, ls=dash, lw=1.6, label=label)
        if len(dice):
            risks = 1 - dice.to_numpy()
            best = risk_coverage(risks, -risks)
            axis.plot(best.coverage, best.selective_risk, color=GREY, lw=1.2, ls="--", label="best possible order")
            axis.axhline(float(risks.mean()), color=GREY, lw=1.2, ls=":", label="no order at all")
        return bool(len(dice))

    limits: Settings = {"xlim": (0, 1), "ylim": (0, None), "xlabel": "share of studies kept"}
    title = "Risk–coverage of the studies"
    return region_panels(title, "mean of 1 − Dice of those kept", draw, **limits) if scores else None


def expected_dice(summary: Summary) -> Figure | None:
    """True against expected Dice, with its interval, and the bound below which a study needs review."""
    table, found = summary.cohort.table, summary.review

    def draw(axis: Axes, region: Region) -> bool:
        names = {"value": "expected_dice", "low": "expected_dice_low", "high": "expected_dice_high"}
        told = pd.DataFrame({key: by_case(table, metric=name, region=region) for key, name in names.items()}).dropna()
        dice = by_case(table, metric="dice_any_size", region=region).reindex(told.index)
        axis.plot((0, 1), (0, 1), color=GREY, lw=1, ls=":", label="as expected")
        axis.hlines(dice, told["low"], told["high"], color=REGION_COLOURS[region], lw=0.6, alpha=0.5)
        _scatter(axis, region, told["value"].to_numpy(), dice.to_numpy(), 22)
        if region is Region.WT and found is not None and found.bound is not None:
            axis.axvline(found.bound, color=GREY, lw=1.2, ls="--", label="needs review below")
        return not told.empty

    limits: Settings = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02), "xlabel": "expected Dice, with its interval"}
    title = "True Dice against expected Dice, a study each"
    return region_panels(title, "true Dice", draw, **limits) if summary.forecasts else None


def _scatter(axis: Axes, region: Region, x: Floats64, y: Floats64, size: float) -> None:
    colour, marker = REGION_COLOURS[region], REGION_MARKERS[region]
    axis.scatter(x, y, s=size, zorder=3, color=colour, marker=marker, alpha=0.75, lw=0)


def _caught(statistic: Statistic) -> Floats64:
    # Without errors the curve is NaN, and so is what is read from it.
    return np.interp(_SHARES, *errors_caught_curve(statistic))
