"""Going to a voxel or a finding in a viewer, and the session that belongs to a viewer."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.review.session import Session
from napari_uncseg.review.state import state_folder
from napari_uncseg.viewer.bindings import bind_viewer
from napari_uncseg.viewer.layers import insert_quietly
from napari_uncseg.viewer.orientation import display_grid, from_display, to_display, world_of
from napari_uncseg.viewer.outlines import FINDING_COLOUR, RegionLabels
from napari_uncseg.viewer.picture import fit, model_of
from napari_uncseg.viewer.tags import OUTLINE_KEY, open_predictions

OUTLINE_NAME = "Current finding"
KEEP_CLEAR = 0.15
"""Share of the canvas at each border in which a voxel counts as out of sight."""

SURROUNDINGS_MM, LEAST_FRAME_MM = 25.0, 90.0
"""What is seen round a finding, and the least that is seen at all, millimetres."""

_sessions: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Session of a viewer, made when it is first asked for; every panel of a viewer has the same."""
    model = model_of(viewer)
    if model not in _sessions:
        _sessions[model] = Session(state_folder())
        bind_viewer(model)
    return _sessions[model]


def review(viewer: ViewerModel, prediction: Prediction, otherwise: Path | None = None) -> None:
    """Have a viewer's session look at a result, and read the log of the folder that it was read from.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
        Open in the viewer.
    otherwise : Path, optional
        Folder of results where neither the result nor the session knows one.

    Raises
    ------
    StudyError
        When the log cannot be read.
    """
    session = session_of(viewer)
    before, now = (session.study, session.result or ""), (prediction.study_id, fingerprint(prediction.provenance))
    session.look_at(*now)
    if before != now or session.results is None:
        path = prediction.path
        folder = path.parent.parent if path is not None and path.parent.name == prediction.study_id else None
        folder = otherwise if folder is None and session.results is None else folder
        if folder is not None and os.path.realpath(folder) != os.path.realpath(session.results or ""):
            session.open_log(folder)


def go_to_voxel(viewer: ViewerModel, study_id: str, voxel: tuple[int, int, int] | None) -> None:
    """Show a voxel of the result that is open of a study; nothing where there is none."""
    result = open_predictions(viewer).get(study_id)
    if voxel is not None and result is not None:
        go_to(viewer, world_of(voxel, result.segmentation.shape, result.affine))


def go_to(viewer: ViewerModel, point: tuple[float, ...]) -> None:
    """Show a place in a viewer: its slice, and the camera over it where it would be out of sight.

    Parameters
    ----------
    viewer : ViewerModel
        Of three dimensions; others are left alone.
    point : tuple of float
        Millimetres along I, P and L (:func:`world_of`).
    """
    if viewer.dims.ndim != 3:
        return
    viewer.dims.point = point
    if viewer.dims.ndisplay != 2:
        return
    camera: Any = viewer.scene.camera
    rows, columns = (float(pixels) / camera.zoom for pixels in viewer.canvas.viewbox_size(viewer.layers))
    row, column = (point[axis] for axis in viewer.dims.displayed)
    off_rows, off_columns = abs(row - camera.center[-2]), abs(column - camera.center[-1])
    if off_rows > rows * (0.5 - KEEP_CLEAR) or off_columns > columns * (0.5 - KEEP_CLEAR):
        camera.center = (0.0, row, column)


def frame_finding(viewer: ViewerModel, prediction: Prediction, findings: Findings, finding: Finding) -> None:
    """Show a finding and what surrounds it; in three dimensions nothing but its place changes.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
        That the finding is of.
    findings : Findings
    finding : Finding
        The slice of its peak is shown.
    """
    if viewer.dims.ndim != 3:
        return
    viewer.dims.point = world_of(finding.voxel, prediction.shape, prediction.affine)
    if viewer.dims.ndisplay != 2:
        return
    box, _ = findings.mask(finding)
    corners = [
        world_of(tuple(ends), prediction.shape, prediction.affine)
        for ends in zip(*((part.start, part.stop - 1) for part in box), strict=True)
    ]
    frame = []
    for axis in viewer.dims.displayed:
        low, high = sorted(corner[axis] for corner in corners)
        rim = max(SURROUNDINGS_MM, (LEAST_FRAME_MM - (high - low)) / 2)
        frame.append((low - rim, high + rim))
    fit(viewer, frame)


class FindingOutline:
    """One label layer per viewer that outlines the current finding; it is made when there is one to outline.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer

    @property
    def layer(self) -> Labels | None:
        """The layer, while it is in the viewer."""
        return next((layer for layer in self._viewer.layers if OUTLINE_KEY in layer.metadata), None)

    def show(self, prediction: Prediction, findings: Findings, finding: Finding) -> None:
        """Outline a finding of a prediction."""
        layer = self.layer
        if layer is not None and layer.metadata[OUTLINE_KEY] != _grid_of(prediction):
            self.remove()
            layer = None
        if layer is None:
            layer = self._add(prediction)
        array = from_display(np.asarray(layer.data), prediction.affine)
        box, inside = findings.mask(finding)
        array[:] = 0
        array[box][inside] = 1
        _draw_anew(layer)

    def clear(self) -> None:
        """Outline nothing."""
        layer = self.layer
        if layer is not None and np.any(layer.data):
            layer.data[:] = 0
            _draw_anew(layer)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer = self.layer
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _add(self, prediction: Prediction) -> Labels:
        layer = RegionLabels(
            to_display(np.zeros(prediction.shape, dtype=np.uint8), prediction.affine),
            name=OUTLINE_NAME,
            colormap=_colours(),
            opacity=1.0,
            metadata={OUTLINE_KEY: _grid_of(prediction)},
            **display_grid(prediction.shape, prediction.affine).as_kwargs(),
        )
        layer.contour = 1
        layer.editable = False
        insert_quietly(self._viewer, len(self._viewer.layers), layer)
        return layer


def _draw_anew(layer: Labels) -> None:
    """Without its small picture: for that the whole list of layers would be painted."""
    layer.refresh(thumbnail=False, highlight=False, extent=False)


@cache
def _colours() -> DirectLabelColormap:
    return DirectLabelColormap(color_dict={0: "transparent", 1: FINDING_COLOUR, None: "transparent"})


def _grid_of(prediction: Prediction) -> tuple[object, ...]:
    """What a layer must have in common with a prediction to be painted on for it."""
    return prediction.shape, prediction.affine.tobytes()
