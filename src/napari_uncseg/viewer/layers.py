"""The one place that makes and replaces napari layers of studies and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.events import Event
from napari.utils.notifications import show_warning

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import made_from
from napari_uncseg.io.study import Study
from napari_uncseg.labels import BEST_SEEN_ON, MODALITIES, Region
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.review.threshold_sweep import leading_map, reasons_of
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values
from napari_uncseg.viewer.bindings import bind_viewer, show_modality
from napari_uncseg.viewer.colormaps import (
    ERROR_VALUES,
    error_kinds,
    map_colormap,
    segmentation_colormap,
    window_level,
)
from napari_uncseg.viewer.exchange import exchange_layers
from napari_uncseg.viewer.orientation import display_grid, to_display
from napari_uncseg.viewer.outlines import RegionLabels
from napari_uncseg.viewer.picture import fit_to_brain, say_how_it_is_shown, volumes_table
from napari_uncseg.viewer.tags import CORRECTION_KEY, KEY, Role, Tag, set_visible, tag_of, tagged

_IMAGE_ORDER: tuple[str, ...] = ("t2w", "t1n", "t2f", "t1c")
"""From the bottom of the layer list to the top: what is looked at first lies on top."""

_ERROR_VALUES = np.array([0.0, *ERROR_VALUES.values()], dtype=np.float32)
"""Values of a layer of errors by their kind."""

_MAP_ORDER: tuple[str, ...] = ("unc_output_unmasked", "variance", "entropy", "error", "unc_output", "error_risk")


def add_study(viewer: ViewerModel, study: Study) -> list[Layer]:
    """Show a study: its four modalities and, hidden, its reference. Layers it already has are replaced."""
    layers = study_layers(study)
    _arrange(viewer, layers, study)
    return layers


def add_prediction(viewer: ViewerModel, prediction: Prediction) -> list[Layer]:
    """Show a prediction over its study and go to where there is most to see; an earlier one's layers are replaced."""
    layers = prediction_layers(prediction)
    _arrange(viewer, layers, prediction)
    return layers


def arrange_opened(viewer: ViewerModel, source: Study | Prediction) -> None:
    """Do for layers that napari added itself, after a reader or a sample gave them, what the functions above do.

    Parameters
    ----------
    viewer : ViewerModel
        Where they may have been added; if they were not, nothing changes.
    source : Study or Prediction
        What the layers show.
    """
    layers = [layer for layer, tag in tagged(viewer, _study_id(source)) if tag.source is source]
    if layers:
        close_others(viewer, _study_id(source))
        _arrange(viewer, layers, source)


def adopt_layers(layers: Mapping[str, Layer], study: Study) -> None:
    """Make layers of single files the layers of the study that was made of them.

    Parameters
    ----------
    layers : mapping of str to Layer
        A layer for each modality; those that are gone from the viewer do no harm.
    study : Study
        What :func:`napari_uncseg.viewer.volumes.study_from_layers` made of them.
    """
    for modality, layer in layers.items():
        array = to_display(study.images[MODALITIES.index(modality)], study.affine)
        layer.data = array
        layer.metadata = {**layer.metadata, KEY: Tag("image", modality, study.id, study, array)}


def study_layers(study: Study) -> list[Layer]:
    """Layers of a study, from the bottom up, for readers and :func:`add_study`."""
    layers: list[Layer] = [_image_layer(study, modality) for modality in _IMAGE_ORDER]
    if study.reference is not None:
        reference = _labels_layer(study, "reference", study.reference, study.id)
        reference.visible = False
        layers.append(reference)
    return layers


def prediction_layers(prediction: Prediction) -> list[Layer]:
    """Layers of a prediction, from the bottom up, for readers and :func:`add_prediction`."""
    known = [name for name in _MAP_ORDER if name in prediction.maps]
    others = [name for name in prediction.maps if name not in _MAP_ORDER]
    leads = leading_map(prediction)
    layers: list[Layer] = [map_layer(prediction, name, visible=name == leads) for name in others + known]
    segmentation = _labels_layer(prediction, "segmentation", prediction.segmentation, prediction.study_id)
    return [*layers, segmentation]


def map_layer(prediction: Prediction, name: str | MapName, *, visible: bool = True) -> Image:
    """Layer of one map, stored or derived from the probabilities, with its colour bar."""
    key = MapName.parse(str(name))
    is_error = key.measure == Measure.ERROR
    values = _ERROR_VALUES[error_kinds(prediction, key)] if is_error else map_values(prediction, key)
    array = to_display(values, prediction.affine)
    layer = Image(
        array,
        colormap=map_colormap(key.measure),
        contrast_limits=(0.0, map_upper(prediction, key)),
        blending="translucent_no_depth",
        interpolation2d="nearest" if is_error else "linear",
        opacity=0.85,
        visible=visible,
        **Tag("map", str(key), prediction.study_id, prediction, array).as_kwargs(),
    )
    layer.colorbar.size = (16, 130)
    layer.colorbar.box = layer.name_overlay.box = False
    layer.name_overlay.position = "top_right"
    if visible:
        _name_map(layer)
    else:
        layer.events.visible.connect(_on_map_shown)
    return layer


def _on_map_shown(event: Event) -> None:
    """Napari draws the bars and names of hidden layers, too: a tenth of a second each, before the first picture."""
    event.source.events.visible.disconnect(_on_map_shown)
    _name_map(event.source)


def _name_map(layer: Image) -> None:
    """Let a map's colour bar and its name be seen with it."""
    layer.colorbar.visible = MapName.parse(layer.metadata[KEY].name).measure != Measure.ERROR  # the legend names those
    layer.name_overlay.visible = True


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
    layer = map_layer(prediction, key)
    maps = [viewer.layers.index(other) for other, _ in tagged(viewer, prediction.study_id, "map")]
    insert_quietly(viewer, max(maps) + 1 if maps else len(viewer.layers), layer)
    return layer


def insert_quietly(viewer: ViewerModel, place: int, layer: Layer) -> None:
    """Insert a layer that is not selected, as napari would: whoever paints goes on with the layer they paint on."""
    selected, active = set(viewer.layers.selection), viewer.layers.selection.active
    viewer.layers.insert(place, layer)
    viewer.layers.selection = selected
    viewer.layers.selection.active = active


def show_only_map(viewer: ViewerModel, prediction: Prediction, key: MapName) -> None:
    """Show one map of a prediction and hide its others."""
    for layer, tag in tagged(viewer, prediction.study_id, "map"):
        set_visible(layer, tag.name == str(key))


def show_best_slice(viewer: ViewerModel, prediction: Prediction) -> None:
    """Move the viewer to the slices with most tumour, or with most uncertainty when no tumour was found."""
    for values in (
        prediction.segmentation > 0,
        prediction.maps.get(leading_map(prediction), prediction.probabilities[0]),
    ):
        if values.any() and viewer.dims.ndim == 3:
            grid = display_grid(prediction.shape, prediction.affine)
            viewer.dims.point = grid.heaviest(to_display(values, prediction.affine))
            return


def show_flair_of_doubtful(viewer: ViewerModel, prediction: Prediction) -> None:
    """Show FLAIR, where tumour that was missed is seen best, under a result that needs review."""
    if reasons_of(prediction):
        show_modality(viewer, BEST_SEEN_ON[Region.WT])


def _image_layer(study: Study, modality: str) -> Image:
    image = study.images[MODALITIES.index(modality)]
    array = to_display(image, study.affine)
    return Image(
        array,
        colormap="gray",
        contrast_limits=window_level(image, study.brain),
        interpolation2d="linear",
        visible=modality == "t1c",
        **Tag("image", modality, study.id, study, array).as_kwargs(),
    )


def _labels_layer(
    source: Study | Prediction, role: Literal["reference", "segmentation"], labels: npt.NDArray[np.uint8], study_id: str
) -> Labels:
    array = to_display(labels, source.affine)
    layer = RegionLabels(
        array,
        colormap=segmentation_colormap(),
        features=volumes_table(labels, source.voxel_ml),
        opacity=0.9,
        **Tag(role, role, study_id, source, array).as_kwargs(),
    )
    # Filled, it would hide image and map; the lines are drawn by Outlines.
    layer.contour = 1
    # The array is the prediction's own: who wants to paint duplicates the layer.
    layer.editable = False
    return layer


def _arrange(viewer: ViewerModel, layers: Sequence[Layer], source: Study | Prediction) -> None:
    """Put layers, new or just opened, in the place of earlier ones of the same study, and show them."""
    roles: tuple[Role, ...] = ("image", "reference") if isinstance(source, Study) else ("map", "segmentation")
    _take_off_others(viewer, source)
    others = [layer for layer in viewer.layers if layer not in layers]
    own = [layer for layer, _ in tagged(viewer, _study_id(source)) if layer in others]
    earlier = [layer for layer, _ in tagged(viewer, _study_id(source), *roles) if layer in others]
    # Images that come after their result must not cover it.
    over = own[0] if own and not earlier and isinstance(source, Study) else None
    is_first = len(viewer.layers) == 0
    exchange_layers(viewer, layers, earlier, over)
    if is_first:
        fit_to_brain(viewer)
    if others and not own:
        _look_at(viewer, layers[0])
    bind_viewer(viewer)
    say_how_it_is_shown(viewer)
    if isinstance(source, Prediction):
        show_best_slice(viewer, source)
        if not earlier:
            show_modality(viewer, BEST_SEEN_ON[MapName.parse(leading_map(source)).region])


def close_others(viewer: ViewerModel, study_id: str) -> None:
    """Have one study on the screen: layers of others go.

    Those of a study on whose segmentation somebody paints are hidden, and so are the user's own copies of any.
    """
    painted = [layer for layer in viewer.layers if isinstance(layer, Labels) and CORRECTION_KEY in layer.metadata]
    corrected = {layer.metadata[CORRECTION_KEY].study_id for layer in painted}
    for layer in list(viewer.layers):
        tag = layer.metadata.get(KEY) or layer.metadata.get(CORRECTION_KEY)
        if tag is None or tag.study_id == study_id:
            continue
        if tag.study_id in corrected or tag_of(layer) is None:
            layer.visible = False
        else:
            viewer.layers.remove(layer)
    if kept := ", ".join(sorted(corrected - {study_id})):
        show_warning(f"{kept} stays open, hidden, for its correction is open; {study_id} is shown now.")


def _take_off_others(viewer: ViewerModel, source: Study | Prediction) -> None:
    """Remove the result, or the images, of another patient whose study bears the same name; hide its correction."""
    study_id, own = _study_id(source), source.inputs
    for layer in viewer.layers:
        tag = layer.metadata.get(CORRECTION_KEY)
        if tag is not None and tag.study_id == study_id and not made_from({"inputs": tag.inputs}, own):
            layer.visible = False
    others = [
        layer
        for layer, tag in tagged(viewer, study_id)
        if type(tag.source) is not type(source) and not made_from({"inputs": tag.source.inputs}, own)
    ]  # what is of the same kind is exchanged
    for layer in others:
        viewer.layers.remove(layer)
    if others:
        what = f"The {'result' if isinstance(source, Study) else 'images'} shown of another study called"
        show_warning(f"{what} {study_id} went: the result was not made from these images.")


def _look_at(viewer: ViewerModel, layer: Layer) -> None:
    """Move to the middle of a layer: another study may lie elsewhere in the world, out of the picture."""
    if viewer.dims.ndim != 3:
        return
    low, high = np.asarray(layer.extent.world)
    middle = [float(place) for place in (low + high) / 2]
    viewer.dims.point = tuple(middle)
    row, column = viewer.dims.displayed[-2:]
    viewer.scene.camera.center = (0.0, middle[row], middle[column])


def _study_id(source: Study | Prediction) -> str:
    return source.id if isinstance(source, Study) else source.study_id
