"""The layer a segmentation is corrected on, which napari's own tools paint and undo; closing a case without loss."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Labels

from napari_uncseg.errors import SaveError, UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import Inputs, made_from
from napari_uncseg.labels import REGIONS, Label
from napari_uncseg.review.corrections import Correction
from napari_uncseg.review.drafts import CorrectionDraft, delete_draft, draft_path, token_of, write_draft
from napari_uncseg.viewer.colormaps import segmentation_colormap
from napari_uncseg.viewer.orientation import display_grid, from_display, to_display
from napari_uncseg.viewer.outlines import RegionLabels
from napari_uncseg.viewer.picture import volumes_table
from napari_uncseg.viewer.tags import CORRECTION_KEY, open_predictions, tagged

FILLED_OPACITY, LINE_OPACITY = 0.5, 0.9
"""Of a correction that is filled, and of one that is outlined."""


@dataclass(eq=False)
class CorrectionTag:
    """What a layer corrects, and what became of that.

    Parameters
    ----------
    study_id : str
    affine : tuple of tuple of float
        Of the segmentation it began as, voxel indices to RAS+ millimetres.
    inputs : mapping
        The images of that result, as :attr:`napari_uncseg.io.prediction.Prediction.inputs` tells them.
    saved : ndarray of uint8, shape (x, y, z)
        The labels that a file holds: of the result, or of its last correction.
    anchor : ndarray of uint8, shape (i, p, l)
        The labels as displayed after the last edit that was no stroke of the brush; what is painted since then is
        interpolated between slices.
    token : str
        What tells its draft from others.
    """

    study_id: str
    affine: tuple[tuple[float, ...], ...]
    inputs: Inputs
    saved: npt.NDArray[np.uint8]
    anchor: npt.NDArray[np.uint8]
    token: str


def tag_of_correction(layer: Labels) -> CorrectionTag:
    """What a layer of :func:`start_correction` corrects."""
    tag = layer.metadata[CORRECTION_KEY]
    assert isinstance(tag, CorrectionTag)
    return tag


def correction_layers(viewer: ViewerModel, study_id: str) -> list[Labels]:
    """Layers on which a study is being corrected, whatever became of the result they began as."""
    tags = ((layer, layer.metadata.get(CORRECTION_KEY)) for layer in viewer.layers)
    return [
        layer
        for layer, tag in tags
        if isinstance(layer, Labels) and isinstance(tag, CorrectionTag) and tag.study_id == study_id
    ]


def correction_layer(viewer: ViewerModel, prediction: Prediction) -> Labels | None:
    """Layer on which a prediction is being corrected, or None.

    A correction goes on when its result is read again or made anew on the same grid and of the same images.
    """
    for layer in correction_layers(viewer, prediction.study_id):
        tag = tag_of_correction(layer)
        same = made_from(prediction.provenance, tag.inputs) and np.allclose(tag.affine, prediction.affine)
        if same and corrected_labels(layer, prediction).shape == prediction.segmentation.shape:
            return layer
    return None


def start_correction(
    viewer: ViewerModel,
    prediction: Prediction,
    labels: npt.NDArray[np.uint8] | None = None,
    draft: CorrectionDraft | None = None,
) -> Labels:
    """Open a copy of the segmentation to paint on, over its original, which is hidden.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
    labels : ndarray of uint8, shape (x, y, z), optional
        An earlier correction to go on with.
    draft : CorrectionDraft, optional
        What was painted on it and not saved.

    Returns
    -------
    napari.layers.Labels
        Active and ready to paint; one that is open already is made so and keeps what was painted.
    """
    layer = correction_layer(viewer, prediction)
    if layer is None:
        saved = prediction.segmentation if labels is None else labels
        array = np.array(saved if draft is None else draft.labels, dtype=np.uint8)
        shown = to_display(array, prediction.affine)
        token = secrets.token_hex(4) if draft is None else token_of(draft.path)
        affine = tuple(map(tuple, prediction.affine.tolist()))
        tag = CorrectionTag(prediction.study_id, affine, prediction.inputs, saved, shown.copy(order="K"), token)
        layer = RegionLabels(
            shown,
            name=f"Corrected segmentation · {prediction.study_id}",
            colormap=segmentation_colormap(),
            features=volumes_table(array, prediction.voxel_ml),
            opacity=FILLED_OPACITY,
            metadata={CORRECTION_KEY: tag},
            **display_grid(array.shape, prediction.affine).as_kwargs(),
        )
        layer.brush_size = 5
        layer.selected_label = int(Label.ED)
        for original, _ in tagged(viewer, prediction.study_id, "segmentation"):
            original.visible = False
        viewer.layers.append(layer)
    viewer.layers.selection.active = layer
    layer.visible = True
    layer.mode = "paint"
    return layer


def corrected_labels(layer: Labels, prediction: Prediction) -> npt.NDArray[np.integer]:
    """Labels of a layer as painted, in the prediction's own voxel order: a view of them."""
    return from_display(np.asarray(layer.data), prediction.affine)


def is_unsaved(layer: Labels, prediction: Prediction) -> bool:
    """Whether a correction differs from what a file holds; at once, without reading it."""
    return not np.array_equal(corrected_labels(layer, prediction), tag_of_correction(layer).saved)


def keep_draft(layer: Labels, prediction: Prediction, folder: Path, reviewer: str = "") -> bool:
    """Keep what is not saved of a correction as a draft; without any, let its draft go.

    Parameters
    ----------
    layer : napari.layers.Labels
        As :func:`start_correction` gave it.
    prediction : Prediction
        What is corrected.
    folder : Path
        Folder of the study's result.
    reviewer : str

    Returns
    -------
    bool
        Whether there is anything that is not saved.

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    path = draft_path(folder, prediction.study_id, tag_of_correction(layer).token)
    unsaved = is_unsaved(layer, prediction)
    if unsaved:
        write_draft(path, prediction, corrected_labels(layer, prediction), reviewer)
    else:
        delete_draft(path)
    return unsaved


def leave_correction(viewer: ViewerModel, study_id: str, results: Path | None, reviewer: str = "") -> str:
    """Keep a case's unsaved correction as a draft before the case is left.

    Parameters
    ----------
    viewer : ViewerModel
    study_id : str
    results : Path, optional
        Folder of results.
    reviewer : str

    Returns
    -------
    str
        What to say of it; empty when all is saved.

    Raises
    ------
    SaveError
        When no draft can be kept; then the case is not to be left.
    """
    prediction, layers = open_predictions(viewer).get(study_id), correction_layers(viewer, study_id)
    current = correction_layer(viewer, prediction) if prediction is not None else None
    unsaved = [layer for layer in layers if prediction is None or current is None or is_unsaved(layer, prediction)]
    if not unsaved:
        return ""
    what = f"The correction of {study_id} is not saved"
    if prediction is None or results is None:
        raise SaveError(f"{what}; save it under Correction, or delete its layer, then go on.")
    if others := [layer.name for layer in unsaved if layer is not current]:
        names = " and ".join(f"“{name}”" for name in others)
        raise SaveError(f"What is painted in the layer {names} is not saved as a correction; delete it, then go on.")
    try:
        keep_draft(unsaved[0], prediction, results / study_id, reviewer)
    except UncsegError as error:
        raise SaveError(f"{what}, and no draft of it can be kept: {error}") from error
    return f"{what}; a draft of it is kept, and offered when the study is opened again."


def tell_volumes(layer: Labels, changes: Correction) -> None:
    """Let the layer tell the volumes as they are after a correction, where the mouse rests on it."""
    wt, tc, et = (changes.regions[region].after_ml for region in REGIONS)
    layer.features = layer.features.assign(volume=[f"{ml:.1f} mL" for ml in (tc - et, wt - tc, et)])
