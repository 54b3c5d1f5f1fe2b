"""Taking a case out of the viewer, and making sure that nothing of the reviewer's work goes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.components import ViewerModel

from napari_uncseg.errors import UncsegError
from napari_uncseg.review.correction import corrections_in, load_correction
from napari_uncseg.view.correcting import corrected_labels, correction_layer
from napari_uncseg.view.tags import open_predictions, tagged


def leave_case(viewer: ViewerModel, study_id: str) -> None:
    """Remove the layers of a case with its correction; what else the reviewer made stays."""
    prediction = open_predictions(viewer).get(study_id)
    painted = correction_layer(viewer, prediction) if prediction is not None else None
    for layer, _ in tagged(viewer, study_id):
        viewer.layers.remove(layer)
    if painted is not None:
        viewer.layers.remove(painted)


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
    painted = correction_layer(viewer, prediction) if prediction is not None else None
    if prediction is None or painted is None:
        return False
    labels = corrected_labels(painted, prediction)
    if np.array_equal(labels, prediction.segmentation):
        return False
    for path in corrections_in(results / study_id, study_id) if results is not None else ():
        try:
            if np.array_equal(labels, load_correction(path, prediction)):
                return False
        except UncsegError:  # a damaged file holds no copy
            continue
    return True
