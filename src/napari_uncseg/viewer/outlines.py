"""Outlines on the picture of the main window: thin lines whatever the zoom, and a legend of their colours.

Napari draws the contour of a label layer as voxels. Here the layer keeps its data, its eye and its number in
*contour*, and the lines are drawn over the picture: those of the nested regions, dashed ones of the reference, and a
stronger one round the current finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.components.overlays import SceneOverlay
from napari.layers import Labels, Layer

from napari_uncseg.labels import LABEL_COLOURS, REFERENCE_COLOUR, REGION_COLOURS, REGIONS, Label
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.viewer.colormaps import ERROR_COLOURS, ERROR_NAMES
from napari_uncseg.viewer.contours import contour, region_contours
from napari_uncseg.viewer.picture import write
from napari_uncseg.viewer.tags import CORRECTION_KEY, OUTLINE_KEY, tag_of

Colour = tuple[float, float, float, float]

OUTLINES = "uncseg_outlines"
"""Name of the overlay of the scene that holds the lines."""

FINDING_COLOUR: Colour = (0.25, 0.95, 1.0, 1.0)
"""Cyan: no region has it, and no other line is as wide."""

REGION_WIDTH, FINDING_WIDTH = 1.4, 2.4
"""Widths of lines in pixels of the screen."""

_DASH = 3
"""Steps of a contour, about a voxel each, that are drawn, and as many that are not, where a line is dashed."""

LEGEND: Mapping[str, Colour] = {
    **{f"■ {ERROR_NAMES[kind]}": colour for kind, colour in ERROR_COLOURS.items()},
    **{f"■ {label.name}": LABEL_COLOURS[label] for label in Label},
    "┄ reference": REFERENCE_COLOUR,
    **{f"— {region}": REGION_COLOURS[region] for region in reversed(REGIONS)},
}
"""What the picture may name in its lower right corner, from below, and in which colour."""


_outlines: WeakKeyDictionary[ViewerModel, Outlines] = WeakKeyDictionary()


def draw_outlines(viewer: ViewerModel) -> None:
    """Have a viewer draw outlines and their legend; once is enough."""
    if viewer not in _outlines:
        if getattr(viewer, "window", None) is not None:
            import_module("napari_uncseg.viewer.outlines_visual")  # without a window there may be no OpenGL
        _outlines[viewer] = Outlines(viewer)


class RegionLabels(Labels):
    """Label layer whose contour is left to :class:`Outlines`; without a contour it is filled, as any other."""

    @property
    def _type_string(self) -> str:
        return "labels"

    def _calculate_contour(self, labels: npt.NDArray[Any], data_slice: tuple[slice, ...]) -> Any:
        drawn = super()._calculate_contour(labels, data_slice)
        return None if drawn is None else np.zeros_like(drawn)


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of one layer in the plane on show.

    Parameters
    ----------
    points : ndarray of float32, shape (n, 2)
        To the right and down, world millimetres.
    connect : ndarray of bool, shape (n,)
        Whether a point is connected with the next one.
    colours : ndarray of float32, shape (n, 4)
        RGBA of each point.
    width : float
        Pixels of the screen.
    """

    points: npt.NDArray[np.float32]
    connect: npt.NDArray[np.bool_]
    colours: npt.NDArray[np.float32]
    width: float


class OutlinesOverlay(SceneOverlay):
    """What napari draws: lines by width.

    Attributes
    ----------
    lines : tuple of Lines
    """

    lines: Any = ()


class Outlines:
    """Keeps the outlines and their legend true to the layers of a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        Is held weakly; it outlives this.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = ref(viewer)
        self._drawn: WeakKeyDictionary[Layer, Lines] = WeakKeyDictionary()
        self._overlay = OutlinesOverlay(visible=True)
        viewer.scene.overlays[OUTLINES] = self._overlay
        for layer in viewer.layers:
            self._follow(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._publish)
        self._publish()

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)
        self._publish()

    def _follow(self, layer: Layer) -> None:
        """Draw a layer, and draw it anew whenever napari does."""
        layer.events.visible.connect(self._publish)
        if isinstance(layer, Labels):
            for event in (layer.events.set_data, layer.events.opacity, layer.events.visible):
                event.connect(self._on_layer)
            self._draw(layer)

    def _on_layer(self, event: Any) -> None:
        self._draw(event.source)
        self._publish()

    def _draw(self, layer: Labels) -> None:
        viewer = self._viewer()
        self._drawn.pop(layer, None)
        if viewer is None or not layer.visible or not _is_outlined(layer):
            return
        if viewer.dims.ndisplay == 2 and layer.ndim == viewer.dims.ndim == 3:
            lines = _lines_of(layer, viewer.dims.order, viewer.dims.point)
            if lines is not None:
                self._drawn[layer] = lines

    def _publish(self, _event: object = None) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        self._overlay.lines = tuple(self._drawn[layer] for layer in viewer.layers if layer in self._drawn)
        named = {text for layer in viewer.layers if layer.visible for text in _named_of(layer)}
        for text, colour in LEGEND.items():
            shown = text if text in named else ""
            write(viewer, f"uncseg_legend {text}", shown, "bottom_right", size=9, colour=colour)


def _is_outlined(layer: Layer) -> bool:
    return isinstance(layer, RegionLabels) and layer.contour > 0


def _named_of(layer: Layer) -> Iterator[str]:
    """What the legend names while a layer is seen."""
    tag = tag_of(layer)
    if tag is not None and tag.role == "map" and MapName.parse(tag.name).measure == Measure.ERROR:
        yield from (f"■ {name}" for name in ERROR_NAMES.values())
    elif (tag is not None and tag.role in ("segmentation", "reference")) or CORRECTION_KEY in layer.metadata:
        if not _is_outlined(layer):
            yield from (f"■ {label.name}" for label in Label)
        elif tag is not None and tag.role == "reference":
            yield "┄ reference"
        else:
            yield from (f"— {region}" for region in REGION_COLOURS)


def _lines_of(layer: Labels, order: tuple[int, ...], point: tuple[float, ...]) -> Lines | None:
    """Lines of a layer in the slice on show; None where it has none."""
    across, down, right = order
    index = round(float(layer.world_to_data(point)[across]))
    data = np.asarray(layer.data)
    if not 0 <= index < data.shape[across]:
        return None
    plane = np.take(data, index, axis=across)
    plane = plane if down < right else plane.T
    tag = tag_of(layer)
    dashed, width = tag is not None and tag.role == "reference", REGION_WIDTH
    if OUTLINE_KEY in layer.metadata:
        drawn, width = [(FINDING_COLOUR, line) for line in contour(plane > 0)], FINDING_WIDTH
    else:
        colours = dict.fromkeys(REGION_COLOURS, REFERENCE_COLOUR) if dashed else REGION_COLOURS
        drawn = [(colours[region], line) for region, lines in region_contours(plane) for line in lines]
    if not drawn:
        return None
    scale = np.array([layer.scale[right], layer.scale[down]])
    start = np.array([layer.translate[right], layer.translate[down]])
    connect = []
    for _, line in drawn:
        steps = np.arange(len(line))
        connect.append((steps < len(line) - 1) & ~(dashed & (steps // _DASH % 2 == 1)))
    lengths = [len(line) for _, line in drawn]
    rgba = np.repeat([(*colour[:3], layer.opacity) for colour, _ in drawn], lengths, axis=0)
    points = (np.concatenate([line for _, line in drawn]) - 0.5) * scale + start
    return Lines(points.astype(np.float32), np.concatenate(connect), rgba.astype(np.float32), width)
