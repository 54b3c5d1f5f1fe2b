"""The layer a segmentation is corrected on: a copy of it, which napari's own tools paint and undo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Labels

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Label
from napari_uncseg.viewer.colormaps import segmentation_colormap
from napari_uncseg.viewer.layers import volumes_table
from napari_uncseg.viewer.orientation import display_grid, from_display, to_display
from napari_uncseg.viewer.tags import tagged

CORRECTION_KEY = "uncseg-correction"


@dataclass(frozen=True)
class CorrectionTag:
    """What a layer corrects.

    Parameters
    ----------
    study_id : str
    affine : tuple of tuple of float
        Of the segmentation it began as, voxel indices to RAS+ millimetres.
    """

    study_id: str
    affine: tuple[tuple[float, ...], ...]


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

    A correction goes on when its result is read again or made anew on the same grid.
    """
    for layer in correction_layers(viewer, prediction.study_id):
        same_place = np.allclose(layer.metadata[CORRECTION_KEY].affine, prediction.affine)
        if same_place and corrected_labels(layer, prediction).shape == prediction.segmentation.shape:
            return layer
    return None


def start_correction(
    viewer: ViewerModel, prediction: Prediction, labels: npt.NDArray[np.uint8] | None = None
) -> Labels:
    """Open a copy of the segmentation to paint on, over its original, which is hidden.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
    labels : ndarray of uint8, shape (x, y, z), optional
        An earlier correction to go on with.

    Returns
    -------
    napari.layers.Labels
        Active and ready to paint; one that is open already is made so and keeps what was painted.
    """
    layer = correction_layer(viewer, prediction)
    if layer is None:
        array = np.array(prediction.segmentation if labels is None else labels, dtype=np.uint8)
        tag = CorrectionTag(prediction.study_id, tuple(map(tuple, prediction.affine.tolist())))
        layer = Labels(
            to_display(array, prediction.affine),
            name=f"Corrected segmentation · {prediction.study_id}",
            colormap=segmentation_colormap(),
            features=volumes_table(array, prediction.voxel_ml),
            opacity=0.5,
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
