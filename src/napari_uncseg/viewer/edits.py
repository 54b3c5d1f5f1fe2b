"""Edits of a correction by one click: each is one step of napari's own undo."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any
from weakref import WeakMethod

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_uncseg.errors import StudyError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Region
from napari_uncseg.review.edits import REGION_OF, Box, add_to, between_slices, grow, remove_from
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.viewer.corrections import tag_of_correction
from napari_uncseg.viewer.orientation import display_box, to_display

PAINTING = ("paint", "erase", "fill", "polygon")
"""Modes of napari's label layers in which the mouse paints."""

MOST_JITTER = 4.0
"""Pixels that a mouse may move in a click."""

LEFT_BUTTON = 1


def change_finding(
    layer: Labels, prediction: Prediction, findings: Findings, finding: Finding, region: Region, *, add: bool
) -> int:
    """Add the voxels of a finding to a region, or remove them from it.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of a correction.
    prediction : Prediction
        What is corrected.
    findings : Findings
    finding : Finding
        One of them.
    region : Region
    add : bool

    Returns
    -------
    int
        Voxels that changed.
    """
    box, inside = findings.mask(finding)
    there = display_box(box, prediction.shape, prediction.affine)
    inside = to_display(inside, prediction.affine)
    return _set(layer, there, (add_to if add else remove_from)(np.asarray(layer.data[there]), inside, region))


def grow_from(layer: Labels, image: Image, place: tuple[float, ...], share: float, reach_mm: float) -> int:
    """Grow the selected label from a place over what looks like it.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of a correction.
    image : napari.layers.Image
        What is looked at.
    place : tuple of float
        In napari's world, millimetres.
    share : float
        Largest difference in intensity, as a share of the window that the image is shown in.
    reach_mm : float
        Farthest from the place.

    Returns
    -------
    int
        Voxels that changed.

    Raises
    ------
    StudyError
        When the image does not lie on the grid of the correction.
    """
    if image.data.shape != layer.data.shape or not np.allclose(image.extent.world, layer.extent.world):
        raise StudyError(f"{image.name} does not lie on the grid of the segmentation; show an image of the study.")
    seed = tuple(round(float(at)) for at in layer.world_to_data(place))
    if any(not 0 <= at < count for at, count in zip(seed, layer.data.shape, strict=True)):
        return 0
    low, high = image.contrast_limits
    box, inside = grow(np.asarray(image.data), seed, layer.scale, share * (high - low), reach_mm)
    return _set(layer, box, add_to(np.asarray(layer.data[box]), inside, _selected(layer)))


def fill_between(layer: Labels, axis: int) -> int:
    """Interpolate the selected label between the slices that were painted since the last edit by a click.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of a correction.
    axis : int
        Displayed axis across the slices.

    Returns
    -------
    int
        Voxels that changed.
    """
    region = _selected(layer)
    found = between_slices(tag_of_correction(layer).anchor, np.asarray(layer.data), region, axis, layer.scale)
    if found is None:
        return 0
    box, inside = found
    return _set(layer, box, add_to(np.asarray(layer.data[box]), inside, region))


class ClickTool:
    """Calls a function with the place of each left click into the picture, until it is put away.

    Parameters
    ----------
    viewer : ViewerModel
    clicked : WeakMethod
        Called with a place in napari's world as long as its object lives.
    """

    def __init__(self, viewer: ViewerModel, clicked: WeakMethod[Callable[[tuple[float, ...]], None]]) -> None:
        self._viewer, self._clicked = viewer, clicked
        viewer.mouse_drag_callbacks.append(self._on_press)

    def put_away(self) -> None:
        """Call the function no more."""
        self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, _viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        start, farthest = np.asarray(event.pos), 0.0
        place, button = tuple(event.position), event.button
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.abs(np.asarray(event.pos) - start).max()))
            yield
        in_a_slice = len(place) == 3 and self._viewer.dims.ndisplay == 2
        clicked = self._clicked()
        if button == LEFT_BUTTON and farthest <= MOST_JITTER and in_a_slice and clicked is not None:
            clicked(place)


def is_painting(layer: Layer | None) -> bool:
    """Whether the mouse paints on a layer."""
    return isinstance(layer, Labels) and str(layer.mode) in PAINTING


def _selected(layer: Labels) -> Region | None:
    """The region that the selected label adds to."""
    if layer.selected_label not in REGION_OF:
        raise StudyError(f"Label {layer.selected_label} is no tissue; choose NCR, ED, ET or Erase.")
    return REGION_OF[layer.selected_label]


def _set(layer: Labels, box: Box, labels: npt.NDArray[np.uint8]) -> int:
    """Give a box of a layer other labels, as one step of its undo."""
    changed = np.nonzero(layer.data[box] != labels)
    if changed[0].size:
        values = labels[changed]
        layer.data_setitem(tuple(at + part.start for at, part in zip(changed, box, strict=True)), values)
    tag_of_correction(layer).anchor = np.array(layer.data, order="K")
    return int(changed[0].size)
