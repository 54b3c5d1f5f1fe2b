"""Cuts through a study at its findings, as radiologists hang them: slices of the six views, on a figure of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_uncseg.arrays import Mask
from napari_uncseg.compare.data import ComparisonData, MapOverlay, comparison_data, map_overlay
from napari_uncseg.compare.layout import ComparisonState, Cut, Pane, PaneView
from napari_uncseg.compare.render import Renderer, colour_table, cutter
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import BEST_SEEN_ON, REFERENCE_COLOUR, REGIONS, region_masks
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.uncertainty.prediction_maps import map_values
from napari_uncseg.viewer.contours import Polyline, contour
from napari_uncseg.viewer.orientation import to_display, world_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

CUT_MM = 90.0
"""Width and height of a cut."""

COLUMNS = 4
"""Findings that are drawn at most; the cuts of fewer are no larger."""

FINDING_COLOUR = "#40f0ff"

TITLE_POINTS = 7.5
"""Size of the letters above a column; they are about 0.6 as wide as high."""

_GREY: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "bilinear"}
_NEAREST: dict[str, Any] = {"interpolation": "nearest"}


def cut_at(data: ComparisonData, study: Study, findings: Findings, finding: Finding) -> ComparisonState:
    """What is shown of a finding: a modality, and the map it was cut out of, in the axial slice of its peak.

    Parameters
    ----------
    data : ComparisonData
        Of the study; it holds the map.
    study : Study
    findings : Findings
        That the finding is one of.
    finding : Finding

    Returns
    -------
    ComparisonState
        Of two panes.
    """
    name, image = str(finding.map), BEST_SEEN_ON[finding.region]
    views = tuple(PaneView(Pane(image, overlay), data) for overlay in ("", name))
    point = world_of(finding.voxel, study.shape, study.affine)
    return ComparisonState(views, Cut(point=point), thresholds={name: findings.threshold})


def frame_of(data: ComparisonData, brain: Mask, point: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of an axial slice round a place, :data:`CUT_MM` wide, with as much brain as they can hold.

    Parameters
    ----------
    data : ComparisonData
    brain : ndarray of bool, shape (i, p, l)
        As displayed.
    point : sequence of float
        World millimetres (I, P, L).

    Returns
    -------
    tuple of slice
    """
    box = bounding_box(brain) or tuple(slice(0, count) for count in data.shape)
    parts = []
    for axis in (1, 2):
        extent = min(round(CUT_MM / data.grid.scale[axis]), data.shape[axis])
        start = data.index(axis, point[axis]) - extent // 2
        if box[axis].stop - box[axis].start >= extent:
            start = min(max(start, box[axis].start), box[axis].stop - extent)
        start = min(max(start, 0), data.shape[axis] - extent)
        parts.append(slice(start, start + extent))
    return parts[0], parts[1]


def draw_findings(
    figure: Figure | SubFigure, study: Study, prediction: Prediction, findings: Findings, chosen: Sequence[Finding]
) -> None:
    """Draw a column of two cuts for each finding: a modality with contours, and the map.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or SubFigure
        Empty.
    study : Study
    prediction : Prediction
        On the grid of the study.
    findings : Findings
    chosen : sequence of Finding
        One to :data:`COLUMNS`, of one map.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    name, renderer = chosen[0].map, Renderer()
    overlay = map_overlay(str(name), prediction.title(name), to_display(map_values(prediction, name), study.affine))
    data = comparison_data(study, prediction)
    data = replace(data, overlays={**data.overlays, str(name): overlay})
    brain = to_display(study.brain, study.affine)
    axes = figure.subplots(2, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    letters = int(72 * figure.bbox.width / figure.dpi / COLUMNS / (0.6 * TITLE_POINTS))
    for column, finding in zip(axes.T[: len(chosen)], chosen, strict=True):
        state = cut_at(data, study, findings, finding)
        cut = cutter(state.views[0].axes(state.cut), state.views[0].slice_index(state.cut))
        inside = np.zeros(study.shape, dtype=bool)
        box, voxels = findings.mask(finding)
        inside[box] = voxels
        for axis, view in zip(column, state.views, strict=True):
            _draw(axis, state, view, renderer, frame_of(data, brain, state.cut.point))
        for each in renderer.outlines(state, state.views[0]):
            _outline(column[0], each.lines, each.colour, 0.8)
        if study.reference is not None:
            true = region_masks(study.reference)[REGIONS.index(finding.region)]
            _outline(column[0], contour(cut(to_display(true, study.affine))), REFERENCE_COLOUR, 0.8, "dashed")
        for axis in column:
            _outline(axis, contour(cut(to_display(inside, study.affine))), FINDING_COLOUR, 1.2)
        place = textwrap.fill(f"{finding.rank} · {finding.place}", letters)
        title = f"{place}\n{finding.volume_ml:.2f} mL · slice {finding.slice}"
        column[0].set_title(title, fontsize=TITLE_POINTS, parse_math=False)
    colours = ListedColormap(colour_table(overlay.colours, 0.0) / 255)
    shown = ScalarMappable(Normalize(0, overlay.upper), colours)
    bar = figure.colorbar(shown, ax=axes, fraction=0.02, pad=0.012, shrink=0.44, anchor=(0.0, 0.04), aspect=16)
    bar.ax.tick_params(labelsize=6.5)
    bar.ax.axhline(findings.threshold, color="white", lw=1)


def _draw(axis: Axes, state: ComparisonState, view: PaneView, renderer: Renderer, frame: tuple[slice, slice]) -> None:
    """The slice of a pane with what lies on it, and its title."""
    assert view.data is not None
    image, overlay = renderer.image(state, view), renderer.overlay(state, view)
    _, down_axis, right_axis = view.axes(state.cut)
    extent = (0, view.data.shape[right_axis], view.data.shape[down_axis], 0)
    for pixels, how in ((image, _GREY), (overlay, _NEAREST)):
        if pixels is not None:
            axis.imshow(pixels, extent=extent, **how)
    across, down = view.data.grid.scale[2], view.data.grid.scale[1]
    rows, columns = frame
    axis.set(xlim=(columns.start, columns.stop), ylim=(rows.stop, rows.start), aspect=down / across)
    title = view.overlay.title if isinstance(view.overlay, MapOverlay) else view.title
    box = {"facecolor": "black", "alpha": 0.5, "lw": 0, "pad": 1.5}
    axis.text(0.03, 0.03, title, transform=axis.transAxes, color="white", fontsize=6.5, bbox=box)


def _outline(axis: Axes, lines: list[Polyline], colour: Any, width: float, dashes: str = "solid") -> None:
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(lines, colors=[colour], linewidths=width, linestyles=dashes))
