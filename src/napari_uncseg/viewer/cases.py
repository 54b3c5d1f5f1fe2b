"""The next case in the layers of the one before."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Layer

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.viewer import layers as show
from napari_uncseg.viewer.corrections import correction_layers
from napari_uncseg.viewer.exchange import added_at_once, exchange_layers
from napari_uncseg.viewer.picture import caption_viewer, fit_to_brain
from napari_uncseg.viewer.surfaces import hide_surfaces
from napari_uncseg.viewer.tags import set_visible, tagged


def show_case(viewer: ViewerModel, before: str, study: Study | None, prediction: Prediction | None) -> None:
    """Show a case in place of another one, whose corrections go; what else the reviewer made stays.

    What was hidden, dimmed or put on top stays so.

    Parameters
    ----------
    viewer : ViewerModel
    before : str
        Id of the case that goes; empty when there is none.
    study : Study, optional
    prediction : Prediction, optional
    """
    hide_surfaces(viewer)
    painted = correction_layers(viewer, before)
    for layer in painted:
        viewer.layers.remove(layer)
    left = [layer for layer, _ in tagged(viewer, before)] if before else []
    if left:
        _exchange_all(viewer, left, study, prediction)
    else:
        with added_at_once(viewer):
            if study is not None:
                show.add_study(viewer, study)
            if prediction is not None:
                show.add_prediction(viewer, prediction)
    shown = prediction.study_id if prediction is not None else study.id if study is not None else ""
    show.close_others(viewer, shown)  # opened by another way
    if painted and prediction is not None:  # what they lay over was hidden
        for layer, _ in tagged(viewer, prediction.study_id, "segmentation"):
            set_visible(layer, True)


def _exchange_all(viewer: ViewerModel, left: list[Layer], study: Study | None, prediction: Prediction | None) -> None:
    new = show.study_layers(study) if study is not None else []
    new += show.prediction_layers(prediction) if prediction is not None else []
    ids = {study.id if study is not None else "", prediction.study_id if prediction is not None else ""}
    for layer, tag in tagged(viewer):
        if tag.study_id in ids and layer not in left:  # opened by another way
            viewer.layers.remove(layer)
    exchange_layers(viewer, new, left)
    fit_to_brain(viewer)
    if prediction is not None:
        show.show_best_slice(viewer, prediction)
        show.show_flair_of_doubtful(viewer, prediction)
    caption_viewer(viewer)  # it names the study
