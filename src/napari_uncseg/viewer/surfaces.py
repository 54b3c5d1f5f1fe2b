"""The tumour as smooth surfaces in 3-D with findings as markers, in the place of the slices."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Layer, Points, Surface
from napari.utils.notifications import show_warning
from scipy.ndimage import distance_transform_edt

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import LABEL_COLOURS, Label, Region, region_masks
from napari_uncseg.metrics.surface import smooth_surface
from napari_uncseg.review.findings import Findings
from napari_uncseg.viewer.corrections import corrected_labels, correction_layer
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import AXES, UNITS, display_grid, to_display, world_of
from napari_uncseg.viewer.outlines import FINDING_COLOUR
from napari_uncseg.viewer.picture import model_of, tell
from napari_uncseg.viewer.tags import hide_layers, open_predictions, open_studies, show_layers

SURFACE_KEY = "uncseg-surface"
"""Key in the metadata of the layers that make the picture in 3-D."""

NO_RESULT = "There is no result to show in 3-D: run Segment with uncertainty, or open one."

VIEW, UP = (0.3, 1.0, -0.35), (-1.0, 0.0, 0.0)
"""How the camera looks, along I, P and L: from the front, a little from above and from the patient's left."""

MOST_MARKERS = 20
"""Findings that are marked, the first ones."""

MARKER_MM, _ABOVE = 4.0, (-6.0, 0.0, 0.0)
"""Size of a marker, and where its number stands."""

_OEDEMA_OPACITY, _BRAIN_OPACITY = 0.3, 0.12
_BRAIN_STEP = 2
"""Every so many voxels of the brain are enough for its shape."""


_CAMERA = ("center", "zoom", "angles")

_before: WeakKeyDictionary[ViewerModel, tuple[WeakSet[Layer], tuple[float, ...], dict[str, Any]]] = WeakKeyDictionary()
"""How the picture was before: layers that were seen, the place, and the camera."""


def in_3d(viewer: ViewerModel) -> bool:
    """Whether a viewer shows surfaces."""
    return model_of(viewer) in _before


def toggle_surfaces(viewer: ViewerModel) -> None:
    """Show the study under review as surfaces, or its slices again."""
    model = model_of(viewer)
    if in_3d(model):
        hide_surfaces(model)
        return
    results, session = open_predictions(model), session_of(model)
    prediction = results.get(session.study) or next(iter(results.values()), None)
    if prediction is None:
        show_warning(NO_RESULT)
        return
    findings = session.findings if prediction.study_id == session.study else None
    show_surfaces(model, prediction, findings)


def show_surfaces(viewer: ViewerModel, prediction: Prediction, findings: Findings | None = None) -> list[Layer]:
    """Show WT transparent, TC and ET solid, in the brain if its study is open, and findings as markers.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
        Its correction is shown where one is open.
    findings : Findings, optional

    Returns
    -------
    list of Layer
        From the inside out, as they are drawn.
    """
    model = model_of(viewer)
    hide_surfaces(model)
    painted = correction_layer(model, prediction)
    labels = prediction.segmentation if painted is None else corrected_labels(painted, prediction)
    study = open_studies(model).get(prediction.study_id)
    layers = _shapes(np.asarray(labels), prediction, study.brain if study is not None else None, findings)
    camera: Any = model.scene.camera
    looked = {name: getattr(camera, name) for name in _CAMERA}
    before = hide_layers(model.layers), model.dims.point, looked
    tell(model, "")  # nothing lies under the mouse in 3-D
    model.dims.ndisplay = 3
    for layer in layers:
        model.layers.append(layer)
    _before[model] = before
    model.reset_view()
    camera.set_view_direction(VIEW, UP)
    outermost = next((layer for layer in reversed(layers) if isinstance(layer, Surface)), None)
    if outermost is not None:
        low, high = np.asarray(outermost.extent.world)
        camera.center = tuple((low + high) / 2)
        camera.zoom = 0.8 * min(model.canvas.viewbox_size(model.layers)) / float(np.linalg.norm(high - low) / 3**0.5)
    return layers


def hide_surfaces(viewer: ViewerModel) -> None:
    """Show the slices again as they were."""
    model = model_of(viewer)
    before = _before.pop(model, None)
    if before is None:
        return
    seen, point, looked = before
    for layer in [layer for layer in model.layers if SURFACE_KEY in layer.metadata]:
        model.layers.remove(layer)
    model.dims.ndisplay = 2
    model.dims.point = point
    show_layers(seen)
    for name, value in looked.items():
        setattr(model.scene.camera, name, value)


def _shapes(
    labels: npt.NDArray[np.integer],
    prediction: Prediction,
    brain: npt.NDArray[np.bool_] | None,
    findings: Findings | None,
) -> list[Layer]:
    """ET and TC solid, in the colours of their tissues, for the two share most of their surface; the rest seen through.

    From the inside out: ET, TC, findings, WT, the brain.
    """
    whole, core, enhancing = region_masks(labels)
    layers = [
        *_surface(Region.ET, enhancing, prediction, labels, blending="opaque"),
        *_surface(Region.TC, core, prediction, labels, blending="opaque"),
        *([_markers(findings, prediction)] if findings is not None and findings.items else []),
        *_surface(Region.WT, whole, prediction, LABEL_COLOURS[Label.ED], opacity=_OEDEMA_OPACITY),
    ]
    if brain is not None:
        grey = (0.8, 0.8, 0.8, 1.0)
        layers += _surface("Brain", brain, prediction, grey, step=_BRAIN_STEP, opacity=_BRAIN_OPACITY)
    return layers


def _tissue_at(vertices: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Label of the tissue that is nearest to each vertex of its surface."""
    at = np.clip(np.rint(vertices).astype(int), 0, np.array(labels.shape) - 1)
    corner = at.min(axis=0)
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(corner, at.max(axis=0), strict=True))
    nearest = distance_transform_edt(labels[box] == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[box][tuple(nearest[(slice(None), *(at - corner).T)])])


def _surface(
    name: str,
    mask: npt.NDArray[np.bool_],
    prediction: Prediction,
    colour: npt.NDArray[np.integer] | tuple[float, ...],
    *,
    step: int = 1,
    **look: Any,
) -> list[Layer]:
    """Smooth surface of a mask in one colour, or in those of the tissues of labels; none of an empty mask."""
    mesh = smooth_surface(to_display(mask, prediction.affine)[(slice(None, None, step),) * 3])
    if mesh is None:
        return []
    vertices, faces = mesh[0] * np.float32(step), mesh[1]
    if isinstance(colour, np.ndarray):
        tissue = _tissue_at(vertices, to_display(np.where(mask, colour, 0), prediction.affine))
        colours = np.array([LABEL_COLOURS.get(Label(label), (0,) * 4) if label else (0,) * 4 for label in range(4)])
        rgba = colours[tissue]
    else:
        rgba = np.broadcast_to(np.asarray(colour), (len(vertices), 4))
    told = {"name": f"{name} · 3-D", "metadata": {SURFACE_KEY: prediction.study_id}, "shading": "smooth", **look}
    grid = display_grid(prediction.shape, prediction.affine).as_kwargs()
    return [Surface((vertices, faces), vertex_colors=rgba.astype(np.float32), **told, **grid)]


def _markers(findings: Findings, prediction: Prediction) -> Points:
    """The first findings where their peaks lie, with their ranks."""
    items = findings.items[:MOST_MARKERS]
    places = [world_of(item.voxel, prediction.shape, prediction.affine) for item in items]
    return Points(
        np.array(places),
        name="Findings · 3-D",
        size=MARKER_MM,
        face_color=[FINDING_COLOUR] * len(items),
        border_width=0,
        text={"string": [str(item.rank) for item in items], "color": "white", "size": 11, "translation": _ABOVE},
        blending="translucent_no_depth",
        metadata={SURFACE_KEY: prediction.study_id},
        axis_labels=AXES,
        units=UNITS,
    )
