"""The figures of the experiment ``paper1``: one held-out case with all its maps, and the channel in six."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.figure_style import encode_figure
from napari_uncseg.labels import Region
from napari_uncseg.study.atomic import write_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Map = npt.NDArray[np.floating[Any]]

PREDICTED, TRUE = "#E69F00", "#56B4E9"


@dataclass(frozen=True, eq=False)
class Panel:
    """A case to be drawn.

    Parameters
    ----------
    name : str
        Of the case.
    case : Case
        With the maps ``unc_output``, ``error map`` and ``variance_stable_x4``.
    image, flair : ndarray, shape (x, y, z)
        z-scores, in RAS order.
    """

    name: str
    case: Case
    image: Map
    flair: Map

    @property
    def volume(self) -> int:
        """Voxels of the reference whole tumour."""
        return int(self.case.reference[0].sum())

    @property
    def plane(self) -> int:
        """Axial slice with the most tumour."""
        return int(self.case.reference[0].sum((0, 1)).argmax())


def draw_one_case(panels: Sequence[Panel], path: Path) -> None:
    """Figure 1: the case of median size."""
    from matplotlib.figure import Figure

    panel = sorted(panels, key=lambda item: item.volume)[len(panels) // 2]
    maps = panel.case.maps
    shown = (
        ("failure", panel.case.failure(Region.WT).astype(float)),
        ("error map", maps["error map"]),
        ("unc_output", maps["unc_output"]),
        ("variance_stable × 4", maps["variance_stable_x4"]),
        ("var1shot × 4", maps["var1shot_x4"]),
    )
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    _draw(axes[0], panel, None, "T1c, predicted and true")
    drawn = [_draw(place, panel, values, title) for place, (title, values) in zip(axes[1:], shown, strict=True)]
    figure.colorbar(drawn[0], ax=list(axes), shrink=0.7, label="probability of error, 0 to 1")
    _legend(figure, panel.name)
    write_files({path: encode_figure(figure, "png")})


def draw_cases(panels: Sequence[Panel], path: Path) -> None:
    """Figure 2: the channel in six cases from the smallest to the largest."""
    from matplotlib.figure import Figure

    ordered = sorted(panels, key=lambda item: item.volume)
    chosen = [ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, min(6, len(ordered))).round()]
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    drawn = [
        _draw(place, panel, panel.case.maps["unc_output"], panel.name)
        for place, panel in zip(axes, chosen, strict=False)
    ]
    for place in axes[len(chosen) :]:
        place.set_axis_off()
    figure.colorbar(drawn[0], ax=list(axes), shrink=0.7, label="unc_output, 0 to 1")
    _legend(figure, "unc_output of held-out phantoms, smallest to largest")
    write_files({path: encode_figure(figure, "png")})


def _draw(axes: Axes, panel: Panel, values: Map | None, title: str) -> Any:
    """A slice as radiologists see it: the patient's right on the left, front above."""
    plane = panel.plane
    low, high = np.percentile(panel.image[panel.case.brain], (1, 99)) if panel.case.brain.any() else (0, 1)
    axes.imshow(panel.image[::-1, :, plane].T, "gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    shown = None
    if values is not None:
        part = values[::-1, :, plane].T
        seen = np.ma.masked_less(part, 0.02)
        shown = axes.imshow(seen, "inferno", vmin=0, vmax=1, alpha=0.85, origin="lower", interpolation="nearest")
    for mask, colour in ((panel.case.reference[0], TRUE), (panel.case.prediction[0], PREDICTED)):
        outline = mask[::-1, :, plane].T
        if outline.any() and not outline.all():
            axes.contour(outline.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    return shown


def _legend(figure: Any, title: str) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=PREDICTED, label="predicted WT"), Line2D([], [], color=TRUE, label="true WT")]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
