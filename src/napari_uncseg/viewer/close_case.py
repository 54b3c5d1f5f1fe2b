"""Taking a case out of the viewer, and making sure that nothing of the reviewer's work goes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.review.corrections import corrections_in, load_correction
from napari_uncseg.viewer.corrections import corrected_labels, correction_layers
from napari_uncseg.viewer.tags import open_predictions, tagged


def close_case(viewer: ViewerModel, study_id: str) -> None:
    """Remove the layers of a case with its corrections; what else the reviewer made stays."""
    for layer in [*(layer for layer, _ in tagged(viewer, study_id)), *correction_layers(viewer, study_id)]:
        viewer.layers.remove(layer)


def holds_unsaved_correction(viewer: ViewerModel, study_id: str, results: Path | None) -> bool:
    """Whether a correction is open that no file holds.

    Parameters
    ----------
    viewer : ViewerModel
    study_id : str
        The case.
    results : Path, optional
        Folder of results, where corrections are saved.

    Returns
    -------
    bool
        False as well while nothing was painted.
    """
    prediction = open_predictions(viewer).get(study_id)
    return any(not _is_saved(layer, prediction, study_id, results) for layer in correction_layers(viewer, study_id))


def _is_saved(layer: Labels, prediction: Prediction | None, study_id: str, results: Path | None) -> bool:
    """Whether nothing was painted, or a file holds it; of a layer whose result is gone nobody can tell."""
    if prediction is None:
        return False
    labels = corrected_labels(layer, prediction)  # np.array_equal knows other shapes
    if np.array_equal(labels, prediction.segmentation):
        return True
    for path in corrections_in(results / study_id, study_id) if results is not None else ():
        try:
            if np.array_equal(labels, load_correction(path, prediction)):
                return True
        except UncsegError:  # a damaged file holds no copy
            continue
    return False
