"""The layer of any map of a prediction, also of one that is derived from its probabilities."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image

from napari_uncseg.io.files import is_dir
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import find_results
from napari_uncseg.maps import MapName
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values
from napari_uncseg.viewer.colormaps import map_colormap
from napari_uncseg.viewer.layers import map_layer
from napari_uncseg.viewer.tags import KEY, Tag, tagged


def find_map_layer(viewer: ViewerModel, prediction: Prediction, key: MapName) -> Image | None:
    """Layer that shows a map of a prediction, or None."""
    for layer, tag in tagged(viewer, prediction.study_id, "map"):
        if tag.name == str(key) and tag.source is prediction and isinstance(layer, Image):
            return layer
    return None


def ensure_map_layer(viewer: ViewerModel, prediction: Prediction, key: MapName) -> Image:
    """Layer that shows a map of a prediction; a new one lies right above the other maps.

    Parameters
    ----------
    viewer : ViewerModel
    prediction : Prediction
    key : MapName
        One of :func:`napari_uncseg.uncertainty.prediction_maps.maps_of`.

    Returns
    -------
    napari.layers.Image
    """
    layer = find_map_layer(viewer, prediction, key)
    if layer is not None:
        return layer
    values = map_values(prediction, key)
    layer = map_layer(dataclasses.replace(prediction, maps={str(key): values}), str(key))
    layer.colormap = map_colormap(key.measure)
    layer.contrast_limits = (0.0, map_upper(prediction, key))
    # The tag names the prediction itself: panels find a study's result by it.
    array = layer.metadata[KEY].array
    layer.metadata = {**layer.metadata, KEY: Tag("map", str(key), prediction.study_id, prediction, array)}
    maps = [viewer.layers.index(other) for other, _ in tagged(viewer, prediction.study_id, "map")]
    selected, active = set(viewer.layers.selection), viewer.layers.selection.active
    viewer.layers.insert(max(maps) + 1 if maps else len(viewer.layers), layer)
    viewer.layers.selection = selected
    viewer.layers.selection.active = active
    return layer


def show_only_map(viewer: ViewerModel, prediction: Prediction, key: MapName) -> None:
    """Show one map of a prediction and hide its others."""
    for layer, tag in tagged(viewer, prediction.study_id, "map"):
        layer.visible = tag.name == str(key)


def results_folder_of(viewer: ViewerModel, study_id: str) -> Path | None:
    """Folder that holds the folder of a study's saved result, as far as its layers tell where they were read from."""
    for layer, _ in tagged(viewer, study_id, "map", "segmentation"):
        path = layer.source.path
        if path is not None:
            found = find_results(Path(path) if is_dir(Path(path)) else Path(path).parent, study_id)
            if found:
                return found[0].parent.parent
    return None
