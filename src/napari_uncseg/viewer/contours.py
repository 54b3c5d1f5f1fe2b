"""The outline of the current finding in a viewer, on top of everything."""

from __future__ import annotations

from functools import cache

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.review.watershed import Box
from napari_uncseg.viewer.orientation import display_grid, to_display

OUTLINE_NAME = "Current finding"
OUTLINE_KEY = "uncseg-outline"
"""Key of the study's id in the metadata of the outline's layer."""

OUTLINE_COLOUR = (0.25, 0.95, 1.0, 1.0)
"""Cyan: no label and no map has it."""


class FindingOutline:
    """One label layer per viewer that outlines the current finding; it is made when there is one to outline.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._painted: Box | None = None
        self._array: np.ndarray | None = None

    @property
    def layer(self) -> Labels | None:
        """The layer, while it is in the viewer."""
        return next((layer for layer in self._viewer.layers if OUTLINE_KEY in layer.metadata), None)

    def show(self, prediction: Prediction, findings: Findings, finding: Finding) -> None:
        """Outline a finding of a prediction."""
        layer = self.layer
        if layer is not None and layer.metadata[OUTLINE_KEY] != _grid_of(prediction):
            self._viewer.layers.remove(layer)
            layer = None
        if layer is None:
            layer = self._add(prediction)
        assert self._array is not None
        self._wipe()
        box, inside = findings.mask(finding)
        self._array[box][inside] = 1
        self._painted = box
        layer.refresh()

    def clear(self) -> None:
        """Outline nothing."""
        layer = self.layer
        if layer is not None and self._painted is not None:
            self._wipe()
            layer.refresh()

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer = self.layer
        if layer is not None:
            self._viewer.layers.remove(layer)
        self._array = self._painted = None

    def _wipe(self) -> None:
        """Only what was painted is erased: a volume is millions of voxels, a finding thousands."""
        if self._painted is not None and self._array is not None:
            self._array[self._painted] = 0
        self._painted = None

    def _add(self, prediction: Prediction) -> Labels:
        self._array = np.zeros(prediction.segmentation.shape, dtype=np.uint8)
        self._painted = None
        layer = Labels(
            to_display(self._array, prediction.affine),
            name=OUTLINE_NAME,
            colormap=_colours(),
            opacity=1.0,
            metadata={OUTLINE_KEY: _grid_of(prediction)},
            **display_grid(prediction.segmentation.shape, prediction.affine).as_kwargs(),
        )
        layer.contour = 1
        layer.editable = False
        selected = set(self._viewer.layers.selection)
        active = self._viewer.layers.selection.active
        self._viewer.layers.append(layer)
        # napari selects what is added: whoever paints goes on with the layer they paint on.
        self._viewer.layers.selection = selected
        self._viewer.layers.selection.active = active
        return layer


@cache
def _colours() -> DirectLabelColormap:
    return DirectLabelColormap(color_dict={0: "transparent", 1: OUTLINE_COLOUR, None: "transparent"})


def _grid_of(prediction: Prediction) -> tuple[object, ...]:
    """What a layer must have in common with a prediction to be painted on for it."""
    return prediction.study_id, prediction.segmentation.shape, prediction.affine.tobytes()
