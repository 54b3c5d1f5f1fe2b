"""What stands on the picture of the main window: whose it is, where it is cut, its sides, and what is under the mouse.

All of it is text of napari's own canvas, so it is in every screenshot of it. The canvas is black in every theme, as
the rim of the images is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from napari.layers import Image, Layer
from napari.utils.events import EventEmitter

from napari_uncseg.io.study import Study
from napari_uncseg.labels import LABEL_TITLES, MODALITY_TITLES, Label
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.viewer.colormaps import ERROR_NAMES, ERROR_VALUES
from napari_uncseg.viewer.orientation import AXES, LETTERS, plane_of, slice_number, to_display
from napari_uncseg.viewer.tags import Tag, tag_of, tagged

TITLE, VALUES, UNSAVED = "uncseg_title", "uncseg_values", "uncseg_unsaved"
"""Names of overlays of the canvas: who and where, what lies under the mouse, and what is not saved."""

SIDES = ("top_center", "bottom_center", "middle_left", "middle_right")
"""Where the letters stand that say where the top, the bottom, the left and the right lie in the patient."""

TITLE_POINTS, LEAST_POINTS = 11.0, 6.0
"""Size of the title's letters; smaller in a picture so narrow that they would run into the letter in the middle."""

POINT_WIDTH = 1.15
"""Pixels that a letter of the picture is wide, per point of its size."""

NOTE = "Radiological view · research use only"

SHADE = (0.0, 0.0, 0.0, 0.45)
"""Behind the words on the picture, so that they read on bright tissue; on the black rim nobody sees it."""

FILLED = 0.92
"""Share of the canvas that the brain takes when it is fitted."""

_captions: WeakKeyDictionary[ViewerModel, Caption] = WeakKeyDictionary()
_with_values: WeakSet[ViewerModel] = WeakSet()


def model_of(viewer: ViewerModel) -> ViewerModel:
    """The viewer itself: plugins are handed a proxy, a new one each time."""
    return getattr(viewer, "__wrapped__", viewer)


def layer_events(viewer: ViewerModel) -> tuple[EventEmitter, ...]:
    """Events after which a viewer may show something else.

    Returns
    -------
    tuple of EventEmitter
        Layers came, went or were renamed, as napari tells; and they show other data
        (:func:`napari_uncseg.viewer.exchange.exchange_layers`).
    """
    events = model_of(viewer).layers.events
    if "exchanged" not in events.emitters:
        events.add(exchanged=None)
    return events.inserted, events.removed, events.renamed, events.exchanged


def caption_viewer(viewer: ViewerModel) -> None:
    """Have a viewer say on its picture whose it is, and keep that true; once is enough."""
    model = model_of(viewer)
    if model not in _captions:
        _captions[model] = Caption(model)
    _captions[model].refresh()


def shown_image(viewer: ViewerModel) -> Image | None:
    """The topmost image that is seen and no map: of a study, of a single file, or any other."""
    shown = (layer for layer in reversed(viewer.layers) if layer.visible and isinstance(layer, Image))
    return next((layer for layer in shown if (tag := tag_of(layer)) is None or tag.role == "image"), None)


def shown_study(viewer: ViewerModel) -> str:
    """Id of the study on the picture: that of the topmost image that is seen, else of what else is; "" for none."""
    seen = list(_seen(viewer))
    image = next((tag for tag in seen if tag.role == "image"), seen[0] if seen else None)
    return image.study_id if image is not None else ""


def _seen(viewer: ViewerModel) -> Iterator[Tag]:
    """Tags of the layers that are seen, the topmost first."""
    return (tag for layer in reversed(viewer.layers) if layer.visible and (tag := tag_of(layer)) is not None)


def write(
    viewer: ViewerModel, name: str, text: str, position: str = "top_left", *, size: float = 10, colour: Any = "white"
) -> None:
    """Write on the canvas of a viewer; what was written under that name goes.

    Parameters
    ----------
    viewer : ViewerModel
    name : str
        Of the overlay, which is made when something is first written.
    text : str
        Empty to write nothing.
    position : str
        A corner or the middle of a side, as napari calls it.
    size : float
        Points.
    colour : str or RGBA
    """
    overlays = model_of(viewer).canvas.overlays
    if name not in overlays:
        overlays[name] = TextOverlay(position=position, font_size=size, color=colour, box_color=SHADE)
    overlays[name].text, overlays[name].visible = text, bool(text)


def show_unsaved(viewer: ViewerModel, text: str) -> None:
    """Write below the title of the picture, in amber, what is not saved; "" when all is."""
    write(viewer, UNSAVED, text, colour="orange")


def tell(viewer: ViewerModel, text: str) -> None:
    """Write below the title of the picture, until the mouse is moved."""
    _with_values.discard(model_of(viewer))
    write(viewer, VALUES, text, size=8)


def show_values(viewer: ViewerModel, _event: Any = None) -> None:
    """Mouse callback of napari: write intensity, label and the value of every map under the mouse on the picture."""
    image, told = shown_image(viewer), values_at(viewer, viewer.cursor.position)
    if image is not None and image.ndim == 3 and (index := _index(image, viewer.cursor.position)) is not None:
        told = {_title(image): f"{float(image.data[index]):.4g}", **told}
    tell(viewer, "\n".join(f"{name} {value}" for name, value in told.items()))
    _with_values.add(model_of(viewer))


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
    seen = list(_seen(viewer))
    shown = [tag for tag in seen if tag.role == "image"][:1] or [tag for tag in seen if tag.role != "reference"]
    studies = dict.fromkeys(tag.study_id for tag in shown)
    return next((told for study in studies if (told := dict(_values_of(viewer, study, position)))), {})


def _values_of(viewer: ViewerModel, study_id: str, position: Sequence[float]) -> Iterator[tuple[str, str]]:
    """What the result of one study says of a place."""
    for layer, tag in tagged(viewer, study_id, "segmentation", "map"):
        place = _index(layer, position)
        if place is None:
            continue
        value = layer.data[place]
        if tag.role == "segmentation":
            yield "segmentation", Label(value).name if value in set(Label) else str(value) if value else "none"
            continue
        name = MapName.parse(tag.name)
        kinds = {known: ERROR_NAMES[kind] for kind, known in ERROR_VALUES.items()}
        yield name.title, kinds.get(value, "none") if name.measure == Measure.ERROR else f"{float(value):.3f}"


def _index(layer: Layer, position: Sequence[float]) -> tuple[int, ...] | None:
    """Voxel of a layer at a place in world coordinates; None outside."""
    index = tuple(round(float(place)) for place in layer.world_to_data(position))
    return index if all(0 <= at < size for at, size in zip(index, layer.data.shape, strict=True)) else None


def _title(image: Image) -> str:
    """What an image is called on the picture."""
    tag = tag_of(image)
    return MODALITY_TITLES[tag.name] if tag is not None else image.name


def volumes_table(labels: npt.NDArray[np.integer], voxel_ml: float) -> dict[str, list[Any]]:
    """What a label layer tells when the mouse rests on it: tissue and volume of each label."""
    counts = np.bincount(labels.ravel(), minlength=max(Label) + 1)
    return {
        "index": [int(label) for label in Label],
        "tissue": [LABEL_TITLES[label] for label in Label],
        "volume": [f"{counts[label] * voxel_ml:.1f} mL" for label in Label],
    }


def say_how_it_is_shown(viewer: ViewerModel) -> None:
    """Show a scale bar, and the note on how images hang and what they may be used for."""
    overlays = viewer.canvas.overlays
    overlays.scale_bar.visible = True
    overlays.text.text = NOTE
    overlays.text.position = "bottom_left"
    overlays.text.font_size = 7  # beside the letter in the middle there is little room
    overlays.text.visible = True


def fit_to_brain(viewer: ViewerModel) -> None:
    """Fill the canvas with the brain of the study on show, in the plane on show; with all layers without a brain."""
    image = shown_image(viewer)
    tag = tag_of(image) if image is not None else None
    viewer.reset_view()
    if tag is None or not isinstance(tag.source, Study) or viewer.dims.ndisplay != 2 or not tag.source.brain.any():
        return
    assert image is not None
    brain = to_display(tag.source.brain, tag.affine)
    ends = []
    for axis in viewer.dims.displayed:
        filled = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        start, stop = (float(image.translate[axis] + image.scale[axis] * end) for end in (filled[0], filled[-1] + 1))
        ends.append((start, stop))
    fit(viewer, ends)


def fit(viewer: ViewerModel, ends: Sequence[tuple[float, float]]) -> None:
    """Fill the canvas with a part of the plane on show.

    Parameters
    ----------
    viewer : ViewerModel
    ends : sequence of (float, float)
        Where it begins and ends along each displayed axis, world millimetres.
    """
    camera = viewer.scene.camera
    camera.center = (0.0, *(sum(end) / 2 for end in ends))
    camera.zoom = FILLED * min(
        float(pixels) / (stop - start)
        for pixels, (start, stop) in zip(viewer.canvas.viewbox_size(viewer.layers), ends, strict=True)
    )


class Caption:
    """Keeps the words on a viewer's picture true.

    Parameters
    ----------
    viewer : ViewerModel
        Is held weakly; it outlives this.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = ref(viewer)
        self._study = ""
        canvas = viewer.canvas
        canvas.background_color_override = "black"
        for overlay in canvas.overlays.values():
            overlay.box = False  # it would be a grey patch, and a dark square in the brush
        for layer in viewer.layers:
            self._follow(layer)
        layers, dims = viewer.layers.events, viewer.dims.events
        for event in (
            layers.removed,
            layers.reordered,
            dims.current_step,
            dims.order,
            dims.ndisplay,
            canvas.events.size,
        ):
            event.connect(self.refresh)
        layers.inserted.connect(self._on_inserted)
        viewer.scene.camera.events.center.connect(self._forget_values)

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)
        self.refresh()

    def _follow(self, layer: Layer) -> None:
        layer.events.visible.connect(self.refresh)
        layer.events.name.connect(self.refresh)

    def _forget_values(self) -> None:
        """Leave out the values under the mouse when the picture moves below it."""
        viewer = self._viewer()
        if viewer is not None and viewer in _with_values:
            tell(viewer, "")

    def refresh(self, _event: object = None) -> None:
        """Write anew whose picture it is, where it is cut, and the values under the mouse."""
        viewer = self._viewer()
        if viewer is None:
            return
        if viewer in _with_values and len(viewer.cursor.position) == viewer.dims.ndim:
            place, hidden = viewer.cursor.position, viewer.dims.not_displayed
            viewer.cursor.position = tuple(viewer.dims.point[i] if i in hidden else at for i, at in enumerate(place))
            show_values(viewer)
        study, image = shown_study(viewer), shown_image(viewer)
        if study != self._study:
            self._study = study
            viewer.title = f"{study} · napari-uncseg" if study else "napari"
        plane, letters = "", "    "
        where = [_title(image)] if image is not None else []
        if viewer.dims.ndisplay == 2 and viewer.dims.ndim == 3:
            plane = plane_of(viewer.dims.order)
        if plane and image is not None and image.ndim == 3 and tuple(image.axis_labels) == AXES:
            letters, axis = LETTERS[plane], viewer.dims.order[0]
            count = image.data.shape[axis]
            index = round((viewer.dims.point[axis] - image.translate[axis]) / image.scale[axis])
            where.append(f"{plane} {slice_number(axis, index, count)}/{count}")
        lines = [line for line in (study, " · ".join(where)) if line]
        write(viewer, TITLE, "\n".join(lines), size=TITLE_POINTS)
        fitting = viewer.canvas.size[1] / 2 / (POINT_WIDTH * max(map(len, lines), default=1) + 2)
        viewer.canvas.overlays[TITLE].font_size = min(TITLE_POINTS, max(LEAST_POINTS, fitting))
        for letter, side in zip(letters, SIDES, strict=True):
            write(viewer, f"uncseg_{side}", letter.strip(), side, size=13)
