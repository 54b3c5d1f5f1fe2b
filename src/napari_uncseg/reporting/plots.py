"""Figures of a cohort, drawn from plain arrays; each function returns a figure and touches no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.reporting.plot_style import (
    GREY,
    REGION_COLOURS,
    REGION_MARKERS,
    legend_below,
    look,
    new_figure,
    panel_title,
    spread,
    style,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class Line:
    """A curve with the curves of the single studies.

    Parameters
    ----------
    x, y : ndarray of float, shape (points,)
        The curve.
    cases : ndarray of float, shape (studies, points)
        ``y`` of each study at the same ``x``; without rows when there is nothing to show.
    """

    x: Floats
    y: Floats
    cases: Floats


@dataclass(frozen=True, eq=False)
class Strata:
    """Dice of the studies on both sides of a threshold of their score.

    Parameters
    ----------
    below, above : ndarray of float, shape (studies,)
        Dice where the score is at most the threshold, and where it is above.
    sentence : str
        What the test says of the two.
    """

    below: Floats
    above: Floats
    sentence: str


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
        axes = figure.subplots(
            2, len(REGIONS), sharex=True, squeeze=False, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.08}
        )
        for column, region in enumerate(REGIONS):
            upper, lower = axes[0][column], axes[1][column]
            curve = curves.get(region)
            panel_title(upper, region, curve is not None)
            upper.plot((0, 1), (0, 1), color=GREY, lw=1, ls=":", label="perfect")
            upper.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            lower.set_xlabel("mean probability in the bin")
            if curve is None:
                continue
            colour = REGION_COLOURS[region]
            spread(upper, curve.mean_p, curve.cases, colour)
            filled = curve.count > 0
            upper.plot(
                curve.mean_p[filled],
                curve.mean_y[filled],
                color=colour,
                marker=REGION_MARKERS[region],
                ms=4,
                lw=1.8,
                label="all studies pooled",
            )
            upper.text(
                0.96, 0.05, f"ECE {curve.ece:.3f}", transform=upper.transAxes, ha="right", va="bottom", fontsize=9
            )
            edges = np.linspace(0, 1, len(curve.count) + 1)
            lower.bar(edges[:-1], np.where(filled, curve.count, np.nan), np.diff(edges), align="edge", color=colour)
            lower.set_yscale("log")
            lower.set_ylim(bottom=0.8)
        axes[0][0].set_ylabel("share that is in the region")
        axes[1][0].set_ylabel("voxels")
        axes[0][0].legend(loc="upper left", fontsize=8)
        figure.suptitle(title)
        return figure


def risk_coverage_figure(
    curves: Mapping[Region, Mapping[str, Line]],
    oracle: Mapping[Region, Line],
    overall: Mapping[Region, float],
    title: str,
) -> Figure:
    """Risk of the studies that are kept, against the share that is kept, one line per aggregator.

    Parameters
    ----------
    curves : mapping of Region to mapping of str to Line
        Aggregator -> coverage (x) and mean of 1 - Dice (y).
    oracle : mapping of Region to Line
        The same if studies were ordered by their true risk.
    overall : mapping of Region to float
        Mean risk of all studies: what a score that knows nothing reaches on average.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 4.1)
        axes = figure.subplots(1, len(REGIONS), squeeze=False)[0]
        names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
        for axis, region in zip(axes, REGIONS, strict=True):
            lines = curves.get(region, {})
            panel_title(axis, region, bool(lines))
            for name, line in lines.items():
                colour, dash = look(name, names)
                axis.plot(line.x, line.y, color=colour, ls=dash, lw=1.6, label=words(name))
            if region in oracle:
                best = oracle[region]
                axis.plot(best.x, best.y, color=GREY, lw=1.2, ls="--", label="best possible order")
                axis.axhline(overall[region], color=GREY, lw=1.2, ls=":", label="no order at all")
            axis.set(xlim=(0, 1), xlabel="share of studies kept")
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("mean of 1 − Dice of those kept")
        legend_below(figure, axes)
        figure.suptitle(title)
        return figure


def errors_caught_figure(
    curves: Mapping[Region, Mapping[str, Line]], prevalence: Mapping[Region, float], title: str
) -> Figure:
    """Share of the wrong voxels that is found when the most uncertain ones are reviewed first, one line per map.

    Parameters
    ----------
    curves : mapping of Region to mapping of str to Line
        Map -> share of voxels reviewed (x) and share of errors found (y), both 0..1.
    prevalence : mapping of Region to float
        Share of voxels that are wrong: nobody can find all errors in fewer.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 4.1)
        axes = figure.subplots(1, len(REGIONS), squeeze=False)[0]
        names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
        for axis, region in zip(axes, REGIONS, strict=True):
            lines = curves.get(region, {})
            panel_title(axis, region, bool(lines))
            for name, line in lines.items():
                colour, dash = look(name, names)
                if name == next(iter(lines)):  # bands of all maps would hide one another
                    spread(axis, line.x, line.cases, colour, singles=False)
                axis.plot(line.x, line.y, color=colour, ls=dash, lw=1.8, label=words(name))
            if lines:
                share = max(prevalence.get(region, 0.0), 1e-9)
                axis.plot((0, share, 1), (0, 1, 1), color=GREY, lw=1.2, ls="--", label="best possible")
                axis.plot((0, 1), (0, 1), color=GREY, lw=1.2, ls=":", label="by chance")
            axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of voxels reviewed")
        axes[0].set_ylabel("share of errors found")
        legend_below(figure, axes)
        figure.suptitle(title)
        return figure


def qubrats_figure(curves: Mapping[Region, Mapping[str, Line]], title: str) -> Figure:
    """QU-BraTS curves: Dice of the voxels kept, and true voxels filtered away, against the threshold.

    Parameters
    ----------
    curves : mapping of Region to mapping of str to Line
        ``dice``, ``ftp`` and ``ftn`` -> threshold 0..100 (x) and ratio 0..1 (y).
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    parts = {
        "dice": ("Dice of what is kept", "-"),
        "ftp": ("true positives filtered away", "--"),
        "ftn": ("true negatives filtered away", ":"),
    }
    with style():
        figure = new_figure(10.5, 4.1)
        axes = figure.subplots(1, len(REGIONS), squeeze=False, sharey=True)[0]
        for axis, region in zip(axes, REGIONS, strict=True):
            lines = curves.get(region, {})
            panel_title(axis, region, bool(lines))
            for name, (label, dash) in parts.items():
                if name in lines:
                    colour = REGION_COLOURS[region]
                    if name == "dice":  # three bands would hide one another
                        spread(axis, lines[name].x, lines[name].cases, colour, singles=False)
                    axis.plot(lines[name].x, lines[name].y, color=colour, ls=dash, lw=1.8, label=label)
            axis.set(xlim=(0, 100), ylim=(0, 1.02), xlabel="uncertainty threshold τ")
        axes[0].set_ylabel("ratio")
        legend_below(figure, axes)
        figure.suptitle(title)
        return figure


def stratified_figure(strata: Mapping[Region, Strata], title: str) -> Figure:
    """Dice of the studies with a low and with a high score, every study a point.

    Parameters
    ----------
    strata : mapping of Region to Strata
    title : str
        Where the threshold comes from.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 4.1)
        axes = figure.subplots(1, len(REGIONS), squeeze=False, sharey=True)[0]
        for axis, region in zip(axes, REGIONS, strict=True):
            stratum = strata.get(region)
            panel_title(axis, region, stratum is not None)
            axis.set(xlim=(0.4, 2.6), ylim=(-0.02, 1.02))
            if stratum is None:
                axis.set_xticks([])
                continue
            groups = (stratum.below, stratum.above)
            for place, group in enumerate(groups, start=1):
                if not group.size:
                    continue
                axis.boxplot(
                    group,
                    positions=[place],
                    widths=0.5,
                    showfliers=False,
                    medianprops={"color": "black", "lw": 1.6},
                    boxprops={"color": GREY},
                    whiskerprops={"color": GREY},
                    capprops={"color": GREY},
                )
                axis.scatter(
                    place + _jitter(group.size),
                    group,
                    s=16,
                    color=REGION_COLOURS[region],
                    marker=REGION_MARKERS[region],
                    alpha=0.75,
                    lw=0,
                    zorder=3,
                )
            names = ("sure", "unsure")
            labels = [f"{name}\n(n = {group.size})" for name, group in zip(names, groups, strict=True)]
            axis.set_xticks([1, 2], labels)
            axis.set_xlabel(stratum.sentence, fontsize=8.5)
        axes[0].set_ylabel("Dice")
        figure.suptitle(title)
        return figure


def triage_figure(points: Mapping[Region, tuple[Floats, Floats]], title: str, label: str) -> Figure:
    """Dice against the score that ranks the studies.

    Parameters
    ----------
    points : mapping of Region to (scores, dice)
        Of the same studies.
    title, label : str
        Of the figure and of the score.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure = new_figure(10.5, 3.8)
        axes = figure.subplots(1, len(REGIONS), squeeze=False, sharey=True)[0]
        for axis, region in zip(axes, REGIONS, strict=True):
            scores, dice = points.get(region, (np.empty(0), np.empty(0)))
            panel_title(axis, region, scores.size > 0)
            axis.scatter(
                scores, dice, s=22, color=REGION_COLOURS[region], marker=REGION_MARKERS[region], alpha=0.75, lw=0
            )
            axis.set(ylim=(-0.02, 1.02), xlabel=label)
            axis.locator_params(axis="x", nbins=5)
        axes[0].set_ylabel("Dice")
        figure.suptitle(title)
        return figure


def _jitter(count: int) -> Floats:
    """Offsets that keep points apart, the same ones every time."""
    return np.asarray(np.random.default_rng(0).uniform(-0.16, 0.16, count), dtype=np.float64)
