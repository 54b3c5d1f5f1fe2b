"""The check of a preparation in the window: an image against T1c, and the brain, which can be painted."""

from __future__ import annotations

from enum import StrEnum
from weakref import WeakSet

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.preparation.page import BRAIN_COLOUR, every_other_square, grey_levels
from napari_uncseg.viewer.orientation import display_grid, from_display, to_display
from napari_uncseg.viewer.picture import fit_to_brain, say_how_it_is_shown
from napari_uncseg.viewer.tags import hide_layers, show_layers
from napari_uncseg.widgets.common import button, choice, column, form, row
from napari_uncseg.widgets.raw_study.work import Checked

FLICKER_MS = 500
"""How long each of two images is seen."""


class Compare(StrEnum):
    """How an image is set against T1c."""

    CHECKERBOARD = "Checkerboard"
    FLICKER = "Flicker"
    ALONE = "Alone"


class CheckBox(QWidget):
    """Form that compares the images of a preparation in the viewer; its layers are its own and go with the check.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._checked: Checked | None = None
        self._grey: dict[str, npt.NDArray[np.float32]] = {}
        others = {role: MODALITY_TITLES[role] for role in MODALITIES[1:]}
        self.image = choice("Image that is set against T1c", others, self._draw)
        self.how = choice("Edges must run on from square to square, and not jump as the images alternate", [*Compare])
        self.how.currentIndexChanged.connect(self._draw)
        self.paint = button("Paint the mask", "Add to the brain with the brush; erase with napari's eraser (key 1)")
        self.paint.clicked.connect(self._on_paint)
        self.setLayout(column(form(Image=self.image, Compare=self.how), row(self.paint)))
        self._timer = QTimer(self)
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self._flick)
        self._layers: list[Layer] = []
        self._hidden: WeakSet[Layer] = WeakSet()

    @property
    def mask_layer(self) -> Labels | None:
        """The layer of the brain, while it is open."""
        open_layers = [layer for layer in self._layers if layer in self._viewer.layers]
        return next((layer for layer in open_layers if isinstance(layer, Labels)), None)

    def begin(self, checked: Checked) -> None:
        """Show a preparation; what was open is hidden meanwhile."""
        self.end()
        self._hidden = hide_layers(self._viewer.layers)
        self._checked = checked
        affine = checked.raw.scans["t1c"].affine
        images = dict(zip(MODALITIES, checked.registered.images, strict=True))
        self._grey = {role: to_display(grey_levels(image), affine) for role, image in images.items()}
        grid = display_grid(checked.raw.scans["t1c"].shape, affine)
        placed = grid.as_kwargs()
        limits = {"colormap": "gray", "contrast_limits": (0.0, 1.0), "interpolation2d": "linear"}
        brain = to_display(checked.brain, affine).astype(np.uint8)
        below = Image(self._grey["t1c"], name="T1c, with the skull", **limits, **placed)
        above = Image(self._grey["t1c"], name="Compared", **limits, **placed)
        colours = DirectLabelColormap(color_dict={None: "transparent", 1: BRAIN_COLOUR})
        mask = Labels(brain, name="Brain", colormap=colours, **placed)
        mask.contour = 1
        self._layers = [below, above, mask]
        for layer in self._layers:
            self._viewer.add_layer(layer)
        mask.n_edit_dimensions = 3
        mask.brush_size = 12
        say_how_it_is_shown(self._viewer)
        self._viewer.dims.point = grid.heaviest(brain)
        fit_to_brain(self._viewer)
        self._draw()

    def end(self) -> None:
        """Take the check out of the viewer."""
        self._timer.stop()
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        show_layers(self._hidden)
        self._layers, self._hidden, self._grey, self._checked = [], WeakSet(), {}, None

    def painted(self) -> npt.NDArray[np.bool_] | None:
        """The mask as it is painted now, on T1c's grid; None while it is the preparation's own."""
        layer, checked = self.mask_layer, self._checked
        if layer is None or checked is None:
            return None
        mask = from_display(np.asarray(layer.data) > 0, checked.raw.scans["t1c"].affine)
        return None if np.array_equal(mask, checked.brain) else np.ascontiguousarray(mask)

    def _draw(self, _index: int = 0) -> None:
        """Show the chosen image as it is to be compared."""
        if len(self._layers) < 2 or self._layers[1] not in self._viewer.layers:
            return
        layer, role = self._layers[1], self.image.currentData()
        how = Compare(self.how.currentText())
        other = self._grey[role]
        if how is Compare.CHECKERBOARD:
            squares = every_other_square(other.shape, [float(side) for side in layer.scale])
            other = np.where(squares, self._grey["t1c"], other)
        layer.data = other
        layer.name = f"{MODALITY_TITLES[role]}, {how.lower()}"
        layer.visible = True
        self._timer.start() if how is Compare.FLICKER else self._timer.stop()

    def _flick(self) -> None:
        if self._layers and self._layers[1] in self._viewer.layers:
            self._layers[1].visible = not self._layers[1].visible
        else:
            self._timer.stop()

    def _on_paint(self) -> None:
        layer = self.mask_layer
        if layer is not None:
            self._viewer.layers.selection.active = layer
            layer.selected_label = 1
            layer.mode = "paint"
