"""The figures of the experiment ``methods``: ranking and calibration, and all maps of one phantom side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_uncseg.arrays import AnyFloats
from napari_uncseg.evaluation.case import Case
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.reporting.plot_style import GREY, REGION_COLOURS, REGION_MARKERS
from uncseg_training.experiments import harness
from uncseg_training.experiments.paper1_figures import PREDICTED, TRUE, Panel, draw_slice

SET = "tumour"


def draw(maps: Sequence[Mapping[str, Any]], calibration: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the rows of both tables and write them as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.27 * len(maps) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = [f"{row['method']}: {row['map']}" for row in maps]
    places = range(len(maps))
    for place, row in zip(places, maps, strict=True):
        found = row["AUROC"]
        if found["mean"] is None:
            continue
        if found["low"] is not None:
            left.plot([found["low"], found["high"]], [place, place], color=GREY, linewidth=1.5)
        left.plot(found["mean"], place, "o", color="#0072B2")
    left.set_yticks(list(places), labels)
    left.invert_yaxis()
    left.set_xlabel("AUROC of WT failures near the tumour")
    left.grid(axis="x", alpha=0.3)
    names = list(dict.fromkeys(row["method"] for row in calibration))
    for row in calibration:
        region = next(known for known in REGIONS if known == row["region"])
        at = names.index(row["method"]) + 0.24 * (REGIONS.index(region) - 1)
        before, after = row[f"ECE, {SET}"], row[f"ECE, {SET}, after"]
        if before is None or after is None:
            continue
        style: dict[str, Any] = {"color": REGION_COLOURS[region], "marker": REGION_MARKERS[region], "linestyle": "none"}
        right.plot([before, after], [at, at], color=REGION_COLOURS[region], linewidth=1)
        right.plot(before, at, **style, label=f"{region} as it is" if row["method"] == names[0] else None)
        after_label = f"{region} recalibrated" if row["method"] == names[0] else None
        right.plot(after, at, **style, markerfacecolor="white", label=after_label)
    right.set_yticks(list(range(len(names))), names)
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel("class-wise ECE near the tumour")
    right.grid(axis="x", alpha=0.3)
    figure.legend(fontsize="small", ncols=6, loc="outside lower center")
    harness.write_figure(figure, path)


def draw_maps(cases: Mapping[str, tuple[Case, Sequence[str]]], image: AnyFloats, path: Path) -> None:
    """Draw the maps of one study: a row for each method, its failures first, then its maps.

    Parameters
    ----------
    cases : mapping of str to (Case, sequence of str)
        Method -> the study as it predicts it, and the names of its maps, in 0..1.
    image : ndarray of float, shape (x, y, z)
        z-scores of T1c, in RAS order.
    path : Path
        Picture to write. Each map is drawn from 0 to its largest value in the slice, which stands above it.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = sorted({name for _, names in cases.values() for name in names})
    figure = Figure(figsize=(2.1 * (len(columns) + 1), 2.2 * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), len(columns) + 1, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, (method, (case, names)) in enumerate(cases.items()):
        panel = Panel(case.id, case, image)
        failure = case.failure(Region.WT).astype(float)
        draw_slice(grid[row, 0], panel, failure)
        grid[row, 0].set_title("failure of WT", fontsize=8)
        words, place = textwrap.fill(method, 16), grid[row, 0].transAxes
        grid[row, 0].text(-0.05, 0.5, words, rotation=90, ha="right", va="center", transform=place, fontsize=9)
        for name in names:
            axes, values = grid[row, 1 + columns.index(name)], case.maps[name]
            largest = float(values[:, :, panel.plane].max())
            draw_slice(axes, panel, values / max(largest, 1e-9))
            axes.set_title(f"{name.removeprefix('unit_')}, 0 to {largest:.2g}", fontsize=8)
    lines = [Line2D([], [], color=PREDICTED, label="predicted WT"), Line2D([], [], color=TRUE, label="true WT")]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    harness.write_figure(figure, path)
