"""The figures of the experiment ``paper1``: how the channel is learnt, and its maps in six held-out cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case
from uncseg_training.experiments import harness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Map = npt.NDArray[np.floating[Any]]

PREDICTED, TRUE = "#E69F00", "#56B4E9"
ROWS: Mapping[str, str] = {
    "error map": "error map",
    "unc_output": "unc_output",
    "variance_stable_x4": "variance_stable × 4",
    "var1shot_x4": "var1shot × 4",
}
CASES = 6


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
    image: Map

    @property
    def volume(self) -> int:
        """Voxels of the reference whole tumour."""
        return int(self.case.reference[0].sum())

    @property
    def plane(self) -> int:
        """Axial slice with the most tumour."""
        return int(self.case.reference[0].sum((0, 1)).argmax())


def draw_progress(logs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Figure 1: correlation and RMSD of the channel with the error map over the steps of each training.

    Parameters
    ----------
    logs : mapping of str to sequence of mapping
        Run -> lines of its log, see :func:`uncseg_training.train.curves.read_log`.
    path : Path
        Picture to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    correlation, rmsd = figure.subplots(1, 2)
    for run, lines in logs.items():
        known = [line for line in lines if line.get("rmsd")]  # 0 before there is an error map
        steps = [line["step"] for line in known]
        correlation.plot(steps, [1 - line["correlation"] for line in known], label=run)
        rmsd.plot(steps, [line["rmsd"] for line in known], label=run)
    correlation.set(ylabel="weighted Pearson correlation", ylim=(0, 1))
    rmsd.set(ylabel="RMSD", ylim=(0, None))
    for axes in (correlation, rmsd):
        axes.set_xlabel("step (running mean over training patches)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    correlation.legend(fontsize=8, frameon=False)
    figure.suptitle("unc_output against the error map while training", fontsize=10)
    harness.write_figure(figure, path)


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


def draw_cases(panels: Sequence[Panel], path: Path) -> None:
    """Figure 2: error map, channel and variances of up to six cases, from the smallest tumour to the largest."""
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
            shown.append(draw_slice(axes, panel, panel.case.maps[key]))
            if row == 0:
                axes.set_title(panel.name, fontsize=8)
            if column == 0:
                axes.text(
                    -0.06, 0.5, title, rotation=90, ha="center", va="center", transform=axes.transAxes, fontsize=9
                )
    if shown:
        figure.colorbar(shown[0], ax=list(grid.ravel()), shrink=0.6, label="0 to 1")
    lines = [Line2D([], [], color=PREDICTED, label="predicted WT"), Line2D([], [], color=TRUE, label="true WT")]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    harness.write_figure(figure, path)


def draw_slice(axes: Axes, panel: Panel, values: Map) -> Any:
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
