"""What is under the mouse: the image's intensity, the label, and the value of every map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel

from napari_uncseg.labels import MODALITY_TITLES, Label
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.viewer.error_kinds import ERROR_NAMES, ERROR_VALUES
from napari_uncseg.viewer.picture import show_values as write_values
from napari_uncseg.viewer.picture import shown_image
from napari_uncseg.viewer.tags import tag_of, tagged


def show_values(viewer: ViewerModel, _event: Any = None) -> None:
    """Mouse callback of napari: write intensity, label and the value of every map under the mouse on the picture."""
    image, told = shown_image(viewer), values_at(viewer, viewer.cursor.position)
    if image is not None and image.ndim == 3:
        index = tuple(round(float(place)) for place in image.world_to_data(viewer.cursor.position))
        if all(0 <= place < size for place, size in zip(index, image.data.shape, strict=False)):
            tag = tag_of(image)
            name = MODALITY_TITLES[tag.name] if tag is not None else image.name
            told = {name: f"{float(image.data[index]):.4g}", **told}
    write_values(viewer, (f"{name} {value}" for name, value in told.items()))


def values_at(viewer: ViewerModel, position: Sequence[float]) -> dict[str, str]:
    """What the result of the study on show says of a place, hidden maps included; images need not be open.

    Parameters
    ----------
    viewer : ViewerModel
    position : sequence of float
        In world coordinates, as the cursor's.

    Returns
    -------
    dict of str to str
        Label of the segmentation and value of each map by its title; empty outside of the volume or without a result.
    """
    # Of a result without its images, the topmost one that is seen there.
    seen = [tag for layer in reversed(viewer.layers) if layer.visible and (tag := tag_of(layer)) is not None]
    image = next((tag for tag in seen if tag.role == "image"), None)
    studies = dict.fromkeys(tag.study_id for tag in ([image] if image else seen) if tag.role != "reference")
    return next((told for study in studies if (told := _values_of(viewer, study, position))), {})


def _values_of(viewer: ViewerModel, study_id: str, position: Sequence[float]) -> dict[str, str]:
    """What the result of one study says of a place."""
    told: dict[str, str] = {}
    for layer, tag in tagged(viewer, study_id, "segmentation", "map"):
        place = tuple(round(float(index)) for index in layer.world_to_data(position))
        if not all(0 <= index < size for index, size in zip(place, layer.data.shape, strict=True)):
            continue
        value = layer.data[place]
        if tag.role == "segmentation":
            told["segmentation"] = _label_name(int(value))
            continue
        name = MapName.parse(tag.name)
        told[name.title] = _error_name(float(value)) if name.measure == Measure.ERROR else f"{float(value):.3f}"
    return told


def _error_name(value: float) -> str:
    return next((ERROR_NAMES[kind] for kind, known in ERROR_VALUES.items() if known == value), "none")


def _label_name(value: int) -> str:
    return Label(value).name if value in set(Label) else "none" if value == 0 else str(value)
