"""From slices of arrays to pixels and lines, without Qt or a screen: what the windows and the printed figure draw."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from napari_uncseg.compare.data import SEGMENTATION, Array, Colour, LabelOverlay, Window
from napari_uncseg.compare.layout import ComparisonState, PaneView
from napari_uncseg.labels import REGIONS_CLASS_ORDER
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.viewer.colormaps import map_colormap

Pixels = npt.NDArray[np.uint8]
Lines = npt.NDArray[np.float64]

STEPS = 1024
"""Colours of a table: an alpha that jumps within a thousandth of the range needs as many."""

LABEL_ALPHA = 0.65
"""Opacity of filled labels over an image."""

_KEPT = 96
"""Slices kept: two for each of six panes and for some slices back and forth."""


class Renderer:
    """Slices of panes as pixels; only what changed is computed again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()

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
        """The slice of what lies on a pane's image, RGBA, shape (down, right, 4); None without one."""
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

    def outlines(self, state: ComparisonState, view: PaneView) -> list[tuple[Colour, Lines]]:
        """Contours of the predicted segmentation where no labels lie on a pane, as :func:`border` has them.

        Regions are nested: where two meet, the inner one's colour is seen. Errors lie at the contour itself, which
        would cover them.
        """
        labels = view.data.overlays.get(SEGMENTATION) if view.data is not None else None
        drawn = state.outline and state.overlays and not isinstance(view.overlay, LabelOverlay)
        if not drawn or not isinstance(labels, LabelOverlay):
            return []
        if MapName.parse(view.pane.overlay).measure == Measure.ERROR:
            return []
        plane = labels.cut(cutter(view.axes(state.cut), view.slice_index(state.cut)))
        return [
            (labels.colours[label], border(plane == label)) for label in REGIONS_CLASS_ORDER if (plane == label).any()
        ]

    def _get(self, key: Hashable, make: Callable[[], Pixels]) -> Pixels:
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
    ndarray of uint8, shape (down, right, 4)
        RGBA.
    """
    table = colour_table(colours, edge)
    steps = np.clip(plane.astype(np.float32) * np.float32((STEPS - 1) / upper) + 0.5, 0, STEPS - 1)
    return np.asarray(table[steps.astype(np.int32)], dtype=np.uint8)


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


def border(mask: npt.NDArray[np.bool_]) -> Lines:
    """Edges of a mask's voxels that face other voxels or the rim of the picture; runs in one line are joined.

    Parameters
    ----------
    mask : ndarray of bool, shape (down, right)

    Returns
    -------
    ndarray of float, shape (lines, 4)
        x0, y0, x1, y1 in voxels; the first voxel reaches from 0 to 1.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    level = _runs(np.diff(padded, axis=0)[:, 1:-1])
    upright = _runs(np.diff(padded, axis=1)[1:-1].T)
    return np.concatenate([level[:, (1, 0, 2, 0)], upright[:, (0, 1, 0, 2)]]).astype(np.float64)


def _runs(steps: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Row, start and stop of every run of equal non-zero values along the rows."""
    ends = np.diff(steps, axis=1, prepend=0, append=0) != 0
    rows, columns = np.nonzero(ends)
    starts, stops = columns[:-1], columns[1:]
    inside = (rows[:-1] == rows[1:]) & (starts < steps.shape[1])
    inside[inside] = steps[rows[:-1][inside], starts[inside]] != 0
    return np.column_stack([rows[:-1][inside], starts[inside], stops[inside]])


def scale_bar_mm(width_mm: float) -> float:
    """Length of a scale bar for a picture of some width: the largest of 1, 2, 5, 10 … below a third of it, mm."""
    lengths = [step * 10**power for power in range(-1, 4) for step in (1, 2, 5)]
    return max((length for length in lengths if length <= width_mm / 3), default=lengths[0])
