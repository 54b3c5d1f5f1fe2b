"""Closing a case as somebody does who removes its layers."""

from napari_uncseg.viewer.corrections import correction_layers
from napari_uncseg.viewer.tags import tagged


def close_case(viewer, study_id: str) -> None:
    """Remove the layers of a case with its corrections."""
    for layer in [*(layer for layer, _ in tagged(viewer, study_id)), *correction_layers(viewer, study_id)]:
        viewer.layers.remove(layer)
