"""What stands on the picture of the main window: whose it is, sequence, plane and slice, the sides of the patient.

All of it is text of napari's own canvas, so it is in every screenshot of it. The canvas is black in every theme, as
the rim of the images is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from napari.layers import Image, Layer

from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITY_TITLES
from napari_uncseg.viewer.orientation import AXES, LETTERS, plane_of, slice_number, to_display
from napari_uncseg.viewer.tags import tag_of

TITLE, VALUES, UNSAVED = "uncseg_title", "uncseg_values", "uncseg_unsaved"
"""Names of overlays of the canvas: who and where, what lies under the mouse, and what is not saved."""

SIDES = ("top_center", "bottom_center", "middle_left", "middle_right")
"""Where the letters stand that say where the top, the bottom, the left and the right lie in the patient."""

FILLED = 0.92
"""Share of the canvas that the brain takes when it is fitted."""

_captions: WeakKeyDictionary[ViewerModel, Caption] = WeakKeyDictionary()


def model_of(viewer: ViewerModel) -> ViewerModel:
    """The viewer itself: plugins are handed a proxy, a new one each time."""
    return getattr(viewer, "__wrapped__", viewer)


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
    seen = [tag for layer in reversed(viewer.layers) if layer.visible and (tag := tag_of(layer)) is not None]
    image = next((tag for tag in seen if tag.role == "image"), seen[0] if seen else None)
    return image.study_id if image is not None else ""


def show_values(viewer: ViewerModel, lines: Iterable[str]) -> None:
    """Write what lies under the mouse below the title of the picture."""
    overlay = text_overlay(viewer, VALUES, "top_left", size=8)
    overlay.text = "\n".join(lines)
    overlay.visible = bool(overlay.text)


def show_unsaved(viewer: ViewerModel, text: str) -> None:
    """Write below the title of the picture, in amber, what is not saved; "" when all is."""
    overlay = text_overlay(viewer, UNSAVED, "top_left")
    overlay.text, overlay.visible, overlay.color = text, bool(text), "orange"


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
        float(pixels) / (stop - start) for pixels, (start, stop) in zip(viewer.canvas.size, ends, strict=True)
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
        for letter in SIDES:
            text_overlay(viewer, f"uncseg_{letter}", letter, size=13)
        for layer in viewer.layers:
            self._follow(layer)
        events = (viewer.layers.events.removed, viewer.layers.events.reordered, viewer.dims.events)
        for event in (*events[:2], *(getattr(events[2], name) for name in ("current_step", "order", "ndisplay"))):
            event.connect(self.refresh)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)
        self.refresh()

    def _follow(self, layer: Layer) -> None:
        layer.events.visible.connect(self.refresh)
        layer.events.name.connect(self.refresh)

    def refresh(self, _event: object = None) -> None:
        """Write anew whose picture it is and where it is cut."""
        viewer = self._viewer()
        if viewer is None:
            return
        study, image = shown_study(viewer), shown_image(viewer)
        if study != self._study:
            self._study = study
            viewer.title = f"{study} · napari-uncseg" if study else "napari"
        lines = [study] if study else []
        is_cut = viewer.dims.ndisplay == 2 and viewer.dims.ndim == 3
        plane = plane_of(viewer.dims.order) if is_cut else ""
        if image is not None:
            tag = tag_of(image)
            where = [MODALITY_TITLES[tag.name] if tag is not None else image.name]
            oriented = tuple(image.axis_labels) == AXES
            if oriented and plane and image.ndim == 3:
                axis, count = viewer.dims.order[0], image.data.shape[viewer.dims.order[0]]
                index = round((viewer.dims.point[axis] - image.translate[axis]) / image.scale[axis])
                where.append(f"{plane} {slice_number(axis, index, count)}/{count}")
            lines.append(" · ".join(where))
        title = text_overlay(viewer, TITLE, "top_left", size=11)
        title.text, title.visible = "\n".join(lines), bool(lines)
        named = bool(plane) and image is not None and tuple(image.axis_labels) == AXES
        for letter, where_ in zip(LETTERS.get(plane, "    "), SIDES, strict=True):
            overlay = viewer.canvas.overlays[f"uncseg_{where_}"]
            overlay.text, overlay.visible = letter, named


def text_overlay(viewer: ViewerModel, name: str, position: str, size: float = 10) -> TextOverlay:
    """A text of the canvas, made when it is first asked for."""
    overlays = model_of(viewer).canvas.overlays
    if name not in overlays:
        overlays[name] = TextOverlay(position=position, font_size=size, box=False, color="white")
    return overlays[name]
