"""The next case in the layers of the one before: napari takes seconds to remove a dozen layers and to add them anew."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.viewer.corrections import correction_layers
from napari_uncseg.viewer.layers import (
    add_prediction,
    add_study,
    prediction_layers,
    say_how_it_is_shown,
    show_best_slice,
    show_flair_of_doubtful,
    study_layers,
)
from napari_uncseg.viewer.picture import caption_viewer, fit_to_brain
from napari_uncseg.viewer.surfaces import hide_surfaces
from napari_uncseg.viewer.tags import KEY, Role, Tag, tagged


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
    left = {(tag.role, tag.name): layer for layer, tag in tagged(viewer, before)} if before else {}
    if left:
        _exchange_all(viewer, left, study, prediction)
    else:
        if study is not None:
            add_study(viewer, study)
        if prediction is not None:
            add_prediction(viewer, prediction)
    if painted and prediction is not None:  # what they lay over was hidden
        for layer, _ in tagged(viewer, prediction.study_id, "segmentation"):
            layer.visible = True


def _exchange_all(
    viewer: ViewerModel, left: dict[tuple[Role, str], Layer], study: Study | None, prediction: Prediction | None
) -> None:
    """Exchange what both cases have, by role and name; remove and insert the rest."""
    for source in (study.id if study is not None else "", prediction.study_id if prediction is not None else ""):
        for layer, _ in tagged(viewer, source):
            if layer not in left.values():  # opened by another way
                viewer.layers.remove(layer)
    new = study_layers(study) if study is not None else []
    new += prediction_layers(prediction) if prediction is not None else []
    above: Layer | None = None
    missing = []
    for layer in reversed(new):
        tag: Tag = layer.metadata[KEY]
        there = left.pop((tag.role, tag.name), None)
        if there is None:
            missing.append((layer, above))
        else:
            _exchange(there, layer)
        above = there or layer
    for layer in left.values():
        viewer.layers.remove(layer)
    for layer, over in missing:
        viewer.layers.insert(len(viewer.layers) if over is None else viewer.layers.index(over), layer)
    viewer.layers.events.renamed(index=0)  # whoever offers what the layers show looks at them again
    fit_to_brain(viewer)
    say_how_it_is_shown(viewer)
    if prediction is not None:
        show_best_slice(viewer, prediction)
        show_flair_of_doubtful(viewer, prediction)
    caption_viewer(viewer)  # it names the study


def _exchange(there: Layer, layer: Layer) -> None:
    """Let a layer show what another one does, which is in no viewer."""
    there.metadata = layer.metadata
    there.data = layer.data
    for name in ("scale", "translate"):
        if tuple(getattr(there, name)) != tuple(getattr(layer, name)):
            setattr(there, name, getattr(layer, name))
    if isinstance(there, Image) and isinstance(layer, Image):
        there.contrast_limits_range = layer.contrast_limits_range
        there.contrast_limits = layer.contrast_limits
    elif isinstance(there, Labels) and isinstance(layer, Labels):
        there.features = layer.features
        there.editable = layer.editable
