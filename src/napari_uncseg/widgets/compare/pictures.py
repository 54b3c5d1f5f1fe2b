"""Slices as Qt images, kept so that only what changed is computed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import numpy.typing as npt
from qtpy.QtGui import QImage

from napari_uncseg.compare.data import MapOverlay, Overlay
from napari_uncseg.compare.layout import PaneView, Sheet
from napari_uncseg.compare.pixels import coloured, cutter, edge_of, filled, grey

_KEPT = 96
"""Slices kept as pictures: two for each of six panes and for some slices back and forth."""


class Pictures:
    """Slices as Qt images, so that only what changed is computed again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, QImage] = OrderedDict()

    def clear(self) -> None:
        """Forget all: an array has changed."""
        self._kept.clear()

    def image(self, sheet: Sheet, view: PaneView) -> QImage | None:
        """The slice of a pane's image."""
        material = view.material
        if material is None or view.pane.image not in material.images:
            return None
        array, window = material.images[view.pane.image], sheet.window_of(view)
        index = view.slice_index(sheet.cut)
        key = (id(array), sheet.cut.plane, index, window)
        return self._get(key, lambda: grey_image(grey(cutter(sheet.cut.axes, index)(array), window)))

    def overlay(self, sheet: Sheet, view: PaneView, overlay: Overlay) -> QImage:
        """The slice of what lies on a pane's image."""
        index = view.slice_index(sheet.cut)
        cut = cutter(sheet.cut.axes, index)
        if isinstance(overlay, MapOverlay):
            upper, colours = sheet.range_of(overlay), sheet.colours_of(overlay)
            edge = edge_of(overlay, upper, sheet.thresholds.get(view.pane.overlay))
            key: Hashable = (id(overlay.array), sheet.cut.plane, index, upper, colours, edge)
            return self._get(key, lambda: colour_image(coloured(cut(overlay.array), colours, upper, edge)))
        key = (id(overlay.array), id(overlay.before), sheet.cut.plane, index)
        return self._get(key, lambda: colour_image(filled(overlay.cut(cut), overlay.colours)))

    def _get(self, key: Hashable, make: Callable[[], QImage]) -> QImage:
        found = self._kept.pop(key, None)
        if found is None:
            found = make()
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def grey_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """Grey pixels, shape (height, width), as an image of its own."""
    height, width = pixels.shape
    data = np.ascontiguousarray(pixels).tobytes()
    # The conversion copies: the bytes need not outlive this call. Painting is quickest from this format.
    return QImage(data, width, height, width, QImage.Format.Format_Grayscale8).convertToFormat(
        QImage.Format.Format_RGB32
    )


def colour_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """RGBA pixels, shape (height, width, 4), as an image of its own."""
    height, width, _ = pixels.shape
    data = np.ascontiguousarray(pixels).tobytes()
    image = QImage(data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
