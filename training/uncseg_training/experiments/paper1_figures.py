"""The figures of the experiment ``paper1``: how the channel is learnt, what it does, its maps in six held-out cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_uncseg.arrays import AnyFloats
from napari_uncseg.evaluation.case import Case
from napari_uncseg.reporting.plot_style import REGION_COLOURS
from uncseg_training.experiments import harness

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PREDICTED, TRUE = "#E69F00", "#56B4E9"
ROWS: Mapping[str, str] = {
    "error map": "error map",
    "unc_output": "unc_output",
    "variance_stable_x4": "variance_stable × 4",
    "var1shot_x4": "var1shot × 4",
}
CASES = 6

MAPS: Mapping[str, str] = {"unc_output": "#D55E00", "variance_stable": "#0072B2", "var1shot": "#009E73"}
"""What the paper compares with the error map, and its colours."""

PULLS: Mapping[str, bool] = {
    "cosine": False,
    "strength": False,
    "copies the tumour": True,
    "ratio unc_output": True,
}
"""Numbers of a sweep, and whether they are of held-out cases."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A case to be drawn.

    Parameters
    ----------
    name : str
        Of the case.
    case : Case
        With the maps of :data:`ROWS`.
    image : ndarray, shape (x, y, z)
        z-scores of T1c, in RAS order.
    """

    name: str
    case: Case
    image: AnyFloats

    @property
    def volume(self) -> int:
        """Voxels of the reference whole tumour."""
        return int(self.case.reference[0].sum())

    @property
    def plane(self) -> int:
        """Axial slice with the most tumour."""
        return int(self.case.reference[0].sum((0, 1)).argmax())


def draw_progress(
    swept: pd.DataFrame, held_out: Sequence[str], logs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path
) -> None:
    """Figure 1: how channel and variances lie to the error map while training, and Dice with and without the channel.

    Parameters
    ----------
    swept : pandas.DataFrame
        Sweeps of the run with the channel, see :func:`uncseg_training.paper1.sweep_log.read`.
    held_out : sequence of str
        Cases that it has not seen.
    logs : mapping of str to sequence of mapping
        Arm -> lines of its log, see :func:`uncseg_training.train.curves.read_log`.
    path : Path
        Picture to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    correlation, rmsd, dice = figure.subplots(1, 3)
    for (name, colour), (part, style) in product(MAPS.items(), ((True, "-"), (False, ":"))):
        means = swept[swept["case"].isin(held_out) == part].groupby("step").mean(numeric_only=True)
        for axes, number in ((correlation, "pearson"), (rmsd, "rmsd")):
            if f"{number} {name}" in means:
                label = f"{name}, {'held out' if part else 'trained on'}"
                axes.plot(means.index, means[f"{number} {name}"], style, color=colour, label=label)
    for arm, style in (("head", "-"), ("plain", "--")):
        lines = [line for line in logs.get(arm, ()) if "validation" in line]
        for region, colour in REGION_COLOURS.items():
            label = f"{region}, {'with' if arm == 'head' else 'without'} the channel"
            values = [line["validation"][str(region)] for line in lines]
            dice.plot([line["step"] for line in lines], values, style, color=colour, label=label)
    _finish((correlation, "weighted Pearson correlation"), (rmsd, "RMSD"), (dice, "Dice, held out"))
    for axes in (correlation, dice):
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle("unc_output and variances against the error map while training", fontsize=10)
    harness.write_figure(figure, path)


def draw_diagnosis(swept: Mapping[str, pd.DataFrame], held_out: Sequence[str], path: Path) -> None:
    """What the channel's loss pulls at, and what the channel becomes, over the steps of every run of the first fold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    places = figure.subplots(1, len(PULLS))
    for arm, rows in swept.items():
        for axes, (key, seen) in zip(places, PULLS.items(), strict=True):
            if key in rows:
                means = rows[rows["case"].isin(held_out) == seen].groupby("step")[key].mean().dropna()
                axes.plot(means.index, means, label=arm)
    titles = (
        "cosine of both gradients",
        "length over the segmentation's",
        "correlation with the prediction",
        "claimed / true",
    )
    _finish(*zip(places, titles, strict=True))
    places[0].axhline(0, color="0.6", linewidth=0.8)
    places[0].legend(fontsize=7, frameon=False)
    figure.suptitle(
        "Gradients at the shared features (cases trained on), and the channel on held-out cases", fontsize=10
    )
    harness.write_figure(figure, path)


def draw_published(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Figure 3: the paper's six numbers beside those of its pattern and of aligned maps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, number in zip(figure.subplots(1, 2), ("pearson", "rmsd"), strict=True):
        for place, row in enumerate(rows):
            values = [row.get(f"{number} {name}") for name in MAPS]
            known = [(at, value) for at, value in enumerate(values) if value is not None]
            axes.bar(
                [at + 0.2 * (place - 1.5) for at, _ in known],
                [v for _, v in known],
                0.19,
                label=row["numbers of"] if number == "pearson" else None,
            )
        axes.set_xticks(range(len(MAPS)), list(MAPS), fontsize=8)
        axes.set_ylabel({"pearson": "correlation", "rmsd": "RMSD"}[number])
        axes.spines[["top", "right"]].set_visible(False)
        if number == "rmsd":
            axes.set_yscale("log")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    harness.write_figure(figure, path)


def _finish(*each: tuple[Axes, str]) -> None:
    for axes, title in each:
        axes.set(xlabel="step", ylabel=title)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def drawn_cases(volumes: Mapping[str, int]) -> list[str]:
    """Names of the six cases of figure 2, spread from the smallest tumour to the largest.

    Parameters
    ----------
    volumes : mapping of str to int
        Case -> voxels of its reference whole tumour; a case without a tumour is not drawn.
    """
    ordered = sorted((name for name, volume in volumes.items() if volume), key=volumes.__getitem__)
    places = np.linspace(0, len(ordered) - 1, min(CASES, len(ordered))).round()
    return [ordered[int(place)] for place in places]


def draw_cases(panels: Sequence[Panel], path: Path, *, images: bool = True) -> None:
    """Figure 2: error map, channel and variances of up to six cases, from the smallest tumour to the largest.

    Without ``images`` neither image nor name of a case is drawn: what is left of a patient are maps and outlines.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12.5, 9.4), layout="constrained")
    grid = figure.subplots(len(ROWS), CASES, squeeze=False)
    shown: list[Any] = []
    for axes in grid.ravel():
        axes.set_axis_off()
    for column, panel in enumerate(sorted(panels, key=lambda item: item.volume)):
        for row, (key, title) in enumerate(ROWS.items()):
            axes = grid[row, column]
            drawn = panel if images else replace(panel, image=np.zeros_like(panel.image))
            shown.append(draw_slice(axes, drawn, panel.case.maps[key]))
            if row == 0:
                axes.set_title(panel.name if images else f"case {column + 1}", fontsize=8)
            if column == 0:
                axes.text(
                    -0.06, 0.5, title, rotation=90, ha="center", va="center", transform=axes.transAxes, fontsize=9
                )
    if shown:
        figure.colorbar(shown[0], ax=list(grid.ravel()), shrink=0.6, label="0 to 1")
    lines = [Line2D([], [], color=PREDICTED, label="predicted WT"), Line2D([], [], color=TRUE, label="true WT")]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    harness.write_figure(figure, path)


def draw_slice(axes: Axes, panel: Panel, values: AnyFloats) -> Any:
    """A slice as radiologists see it: the patient's right on the left, front above; the map, in 0..1, lies on it."""
    plane, brain = panel.plane, panel.case.brain
    low, high = np.percentile(panel.image[brain], (1, 99)) if brain.any() else (0, 1)
    inside = brain[::-1, :, plane].T
    image = np.where(inside, panel.image[::-1, :, plane].T, low)
    axes.imshow(image, "gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    part = values[::-1, :, plane].T
    seen = np.ma.masked_where((part < 0.05) | ~inside, part)
    shown = axes.imshow(seen, "inferno", vmin=0, vmax=1, alpha=0.85, origin="lower", interpolation="nearest")
    for mask, colour in ((panel.case.reference[0], TRUE), (panel.case.prediction[0], PREDICTED)):
        outline = mask[::-1, :, plane].T
        if outline.any() and not outline.all():
            axes.contour(outline.astype(float), levels=[0.5], colors=[colour], linewidths=0.8)
    return shown
