"""From slices of arrays to pixels and lines, without Qt or a screen: what the windows and the printed figure draw."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_uncseg.compare.data import REFERENCE, SEGMENTATION, Array, Colour, LabelOverlay, Window
from napari_uncseg.compare.layout import ComparisonState, PaneView
from napari_uncseg.labels import REFERENCE_COLOUR, REGION_COLOURS, Region
from napari_uncseg.viewer.colormaps import map_colormap
from napari_uncseg.viewer.contours import Polyline, region_contours

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

STEPS = 1024
"""Colours of a table: an alpha that jumps within a thousandth of the range needs as many."""

LABEL_ALPHA = 0.65
"""Opacity of filled labels over an image."""

FINER = 3
"""Pixels per voxel of a map: between voxels its values are interpolated, not its colours."""

_KEPT = 192
"""Slices kept: four for each of six panes and for some slices back and forth."""


@dataclass(frozen=True)
class Outline:
    """Contours of a region in a slice.

    Parameters
    ----------
    region : Region
    of_reference : bool
        Whether it is the reference's: white and dashed.
    lines : list of ndarray
        As :func:`napari_uncseg.viewer.contours.contour` gives them.
    """

    region: Region
    of_reference: bool
    lines: list[Polyline]

    @property
    def colour(self) -> Colour:
        """Colour of its lines."""
        return REFERENCE_COLOUR if self.of_reference else REGION_COLOURS[self.region]


class Renderer:
    """Slices of panes as pixels; only what changed is computed again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def clear(self) -> None:
        """Forget all: an array has changed."""
        self._kept.clear()

    def image(self, state: ComparisonState, view: PaneView) -> Pixels | None:
        """The slice of a pane's image, 0 to 255, shape (down, right); None without one."""
        if view.data is None or view.pane.image not in view.data.images:
            return None
        array, window = view.data.images[view.pane.image], state.window_of(view)
        index = view.slice_index(state.cut)
        cut = cutter(view.axes(state.cut), index)
        return self._get((id(array), view.plane(state.cut), index, window), lambda: grey(cut(array), window))

    def overlay(self, state: ComparisonState, view: PaneView) -> Pixels | None:
        """The slice of what lies on a pane's image, RGBA; of a map :data:`FINER` pixels per voxel. None without one."""
        overlay = view.overlay if state.overlays else None
        if overlay is None:
            return None
        index = view.slice_index(state.cut)
        cut = cutter(view.axes(state.cut), index)
        key: tuple[Hashable, ...] = (id(overlay.array), view.plane(state.cut), index)
        if isinstance(overlay, LabelOverlay):
            return self._get((*key, id(overlay.before)), lambda: filled(overlay.cut(cut), overlay.colours))
        how = (state.colours_of(overlay), state.range_of(overlay), state.edge_of(view, overlay))
        return self._get((*key, *how), partial(coloured, cut(overlay.array), *how))

    def outlines(self, state: ComparisonState, view: PaneView) -> list[Outline]:
        """Contours of the predicted segmentation and of the reference where no labels lie on a pane.

        Parameters
        ----------
        state : ComparisonState
        view : PaneView

        Returns
        -------
        list of Outline
            Regions are nested: where two meet, the inner one's line, drawn later, is seen. The reference comes first.
        """
        if view.data is None or not state.overlays or isinstance(view.overlay, LabelOverlay):
            return []
        index, found = view.slice_index(state.cut), []
        for name, wanted in ((REFERENCE, state.reference), (SEGMENTATION, state.outline)):
            labels = view.data.overlays.get(name)
            if wanted and isinstance(labels, LabelOverlay):
                key = (id(labels.array), view.plane(state.cut), index, "lines")
                cut = cutter(view.axes(state.cut), index)
                contours = self._get(key, partial(_regions, labels.cut(cut)))
                found += [Outline(region, name == REFERENCE, lines) for region, lines in contours]
        return found

    def _get(self, key: Hashable, make: Callable[[], T]) -> T:
        found = self._kept.pop(key, None)
        self._kept[key] = found = make() if found is None else found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def cutter(axes: tuple[int, int, int], index: int) -> Callable[[Array], Array]:
    """What takes a slice out of an array.

    Parameters
    ----------
    axes : tuple of int
        Axis that is cut, axis that runs down, axis that runs to the right.
    index : int
        Slice along the first.

    Returns
    -------
    callable
        ``(i, p, l)`` array -> ``(down, right)`` view of it.
    """
    across, down, right = axes

    def cut(array: Array) -> Array:
        plane = array[(slice(None),) * across + (index,)]
        return plane if down < right else plane.T

    return cut


def _regions(labels: Array) -> list[tuple[Region, list[Polyline]]]:
    return list(region_contours(labels))


def grey(plane: Array, window: Window) -> Pixels:
    """Pixels of an image.

    Parameters
    ----------
    plane : ndarray of float, shape (down, right)
        A slice.
    window : tuple of float
        Intensities that become black and white.

    Returns
    -------
    ndarray of uint8, shape (down, right)
        0 to 255.
    """
    low, high = window
    scaled = (plane.astype(np.float32) - np.float32(low)) * np.float32(255.0 / max(high - low, 1e-12))
    return np.asarray(np.clip(scaled + 0.5, 0, 255), dtype=np.uint8)


def coloured(plane: Array, colours: str, upper: float, edge: float) -> Pixels:
    """Pixels of a map: transparent below a value, its colour above.

    Parameters
    ----------
    plane : ndarray of float, shape (down, right)
        A slice of the map.
    colours : str
        Name that :func:`napari_uncseg.viewer.colormaps.map_colormap` knows.
    upper : float
        Value of the last colour.
    edge : float
        Fraction of the range below which nothing is drawn.

    Returns
    -------
    ndarray of uint8, shape (FINER * down, FINER * right, 4)
        RGBA.
    """
    pixels = np.zeros((FINER * plane.shape[0], FINER * plane.shape[1], 4), dtype=np.uint8)
    drawn = plane >= edge * upper
    if not drawn.any():
        return pixels
    # One voxel more on each side: values fall off towards it.
    rows, columns = (
        slice(max(places[0] - 1, 0), places[-1] + 2)
        for places in (np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0)))
    )
    values = Image.fromarray(np.ascontiguousarray(plane[rows, columns], dtype=np.float32))
    finer = np.asarray(values.resize((FINER * values.width, FINER * values.height), Image.Resampling.BILINEAR))
    steps = np.clip(finer * np.float32((STEPS - 1) / upper) + np.float32(0.5), 0, STEPS - 1).astype(np.int32)
    top, left = FINER * rows.start, FINER * columns.start
    pixels[top : top + finer.shape[0], left : left + finer.shape[1]] = colour_table(colours, edge)[steps]
    return pixels


@lru_cache(maxsize=64)
def colour_table(colours: str, edge: float) -> Pixels:
    """RGBA of evenly spaced values of a map's range, shape (STEPS, 4); transparent below `edge`."""
    rgba = map_colormap(colours, edge).map(np.linspace(0.0, 1.0, STEPS))
    return np.asarray(np.round(np.asarray(rgba) * 255), dtype=np.uint8)


def filled(labels: Array, colours: Mapping[int, Colour], alpha: float = LABEL_ALPHA) -> Pixels:
    """Pixels of labels; a value without a colour is magenta.

    Parameters
    ----------
    labels : ndarray of int, shape (down, right)
        A slice.
    colours : mapping of int to RGBA
        Colour of each label, 0 to 1.
    alpha : float
        Opacity.

    Returns
    -------
    ndarray of uint8, shape (down, right, 4)
        RGBA; 0 is transparent.
    """
    table = np.tile(np.array([255, 0, 255, round(255 * alpha)], dtype=np.uint8), (256, 1))
    table[0] = 0
    for label, (red, green, blue, _) in colours.items():
        table[label] = [round(255 * part) for part in (red, green, blue, alpha)]
    return np.asarray(table[np.clip(labels, 0, 255).astype(np.uint8)])


def scale_bar_mm(width_mm: float) -> float:
    """Length of a scale bar for a picture of some width: the largest of 1, 2, 5, 10 … below a third of it, mm."""
    lengths = [step * 10**power for power in range(-1, 4) for step in (1, 2, 5)]
    return max((length for length in lengths if length <= width_mm / 3), default=lengths[0])
