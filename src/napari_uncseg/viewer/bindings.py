"""Keys and mouse: which the manifest declares, and what a viewer with a study does with them at any time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from importlib import resources
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import yaml
from napari.components import ViewerModel
from napari.layers import Image, Layer
from npe2 import PluginManager

from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES
from napari_uncseg.viewer.colormaps import window_level
from napari_uncseg.viewer.orientation import to_display
from napari_uncseg.viewer.outlines import draw_outlines
from napari_uncseg.viewer.picture import (
    caption_viewer,
    fit_to_brain,
    model_of,
    show_values,
    shown_image,
    shown_study,
    tell,
)
from napari_uncseg.viewer.tags import CORRECTION_KEY, OUTLINE_KEY, hide_layers, set_visible, show_layers, tag_of, tagged

HELP_PANEL = "Keys"
"""Name of the panel in the manifest that lists all keys."""

RIGHT_BUTTON = 2
"""Number of the right mouse button in napari's events."""

OPACITY_STEP = 0.1
"""Change of the opacity of what lies on the images, per press of a key."""

WINDOW_PER_PIXEL, LEVEL_PER_PIXEL = 0.005, 0.003
"""Change of window and level per pixel of a drag, as shares of the window at its start."""


_MANIFEST = yaml.safe_load(resources.files("napari_uncseg").joinpath("napari.yaml").read_text(encoding="utf-8"))
_DECLARED: Mapping[str, tuple[str, str]] = {
    each["command"].removeprefix("napari-uncseg."): (each["key"], each["title"])
    for each in _MANIFEST["contributions"]["keybindings"]
}
"""Place and what is done there, ``picture.fit`` -> key as Qt writes it, and words for a reader."""


def _keys_of(place: str) -> Mapping[str, str]:
    """Keys that the manifest declares for a place, by what they do."""
    split = ((command.partition("."), key) for command, (key, _) in _DECLARED.items())
    return {what: key for (where, _, what), key in split if where == place}


def declared_key(what: str, *places: str) -> tuple[str, str]:
    """Key as Qt writes it, and what it does, for a reader: of the first of the places that has a key for it.

    Raises
    ------
    KeyError
        When none has.
    """
    return _DECLARED[next((name for place in places if (name := f"{place}.{what}") in _DECLARED), what)]


WORKLIST_KEYS, FINDING_KEYS, VERDICT_KEYS, CORRECTION_KEYS, PICTURE_KEYS, COMPARE_KEYS, PATIENT_KEYS = map(
    _keys_of, ("worklist", "findings", "verdict", "correction", "picture", "six_views", "six_patients")
)
"""Keys of the list of studies, of findings, verdicts and corrections, of a viewer with a study, of comparison windows.

None of them is napari's own.
"""

HELP, HIDE_OVERLAYS = "help", "hide_overlays"
"""What the keys of the picture do."""

COMPARE_MOUSE: Mapping[str, str] = {
    "wheel": "slices",
    "Ctrl + wheel": "zoom where the mouse stands",
    "left button": "crosshair",
    "Shift + left button": "ruler, in mm",
    "middle button": "move the pictures",
    "right button": "window (sideways) and level (up and down) of the image under the mouse",
    f"{PICTURE_KEYS['bare']}, held": "the images alone",
}


def key_sections() -> dict[str, dict[str, str]]:
    """All keys and gestures of the plugin: place -> key as Qt writes it -> what it does."""
    return {
        "Case browser": _rows("worklist"),
        "Inter-rater agreement": {"Enter": "open the study of the row, as a double click does"},
        "Findings (while the panel is open)": _rows("findings"),
        "Verdict (while the panel is open)": {**_rows("verdict"), **_rows("correction")},
        "Picture": {
            **_rows("picture"),
            "wheel": "slices",
            "Ctrl + wheel": "zoom where the mouse stands",
            "right button": "window (sideways) and level (up and down) of the image",
        },
        "Six views": {**_rows("six_views"), **COMPARE_MOUSE},
        "Six patients, beside those": _rows("six_patients"),
    }


def _rows(place: str) -> dict[str, str]:
    return dict(declared_key(what, place) for what in _keys_of(place))


WINDOWS: Mapping[str, tuple[float, float]] = {
    "brain": (0.0, 1.0),
    "narrow": (0.2, 0.8),
    "bright": (0.0, 0.6),
    "wide": (-0.25, 1.5),
}
"""Presets of the window: where black and white lie in the window of the brain."""

_bound: WeakSet[ViewerModel] = WeakSet()
_presets: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
_hidden: WeakKeyDictionary[ViewerModel, WeakSet[Layer]] = WeakKeyDictionary()


def bind_viewer(viewer: ViewerModel) -> None:
    """Give a viewer its keys and mouse, all values under the mouse, and words on the picture; once is enough."""
    model = model_of(viewer)
    caption_viewer(model)
    if model in _bound:
        return
    _bound.add(model)
    draw_outlines(model)
    actions: dict[str, Any] = {
        HIDE_OVERLAYS: toggle_overlays,
        HELP: show_keys,
        "planes": partial(run_command, command="planes"),
        "surfaces": partial(run_command, command="surfaces"),
        "bare": bare_while_held,
        "fit": reset_picture,
        "window": next_window,
        "reference": toggle_reference,
        "fainter": partial(change_opacity, by=-OPACITY_STEP),
        "stronger": partial(change_opacity, by=OPACITY_STEP),
        **{modality: partial(show_modality, modality=modality) for modality in MODALITIES},
    }
    for what, press in actions.items():
        bound = press if not isinstance(press, partial) else _named(what, press)
        model.bind_key(PICTURE_KEYS[what].replace("+", "-"), bound, overwrite=True)
    model.mouse_drag_callbacks.append(drag_window)
    model.mouse_move_callbacks.append(show_values)
    # napari's own, which are no public names, scroll slices with Ctrl.
    for callback in [each for each in model.mouse_wheel_callbacks if each.__name__ == "dims_scroll"]:
        model.mouse_wheel_callbacks.remove(callback)
    model.mouse_wheel_callbacks.append(turn_wheel)


def _named(name: str, press: Callable[[ViewerModel], None]) -> Callable[[ViewerModel], None]:
    """A function with the name that napari asks of a command."""

    def bound(viewer: ViewerModel) -> None:
        press(viewer)

    bound.__name__ = name
    return bound


def turn_wheel(viewer: ViewerModel, event: Any) -> None:
    """Mouse callback of napari: the wheel turns slices, with Ctrl it zooms where the mouse stands; in 3-D it zooms."""
    camera, dims = viewer.scene.camera, viewer.dims
    turns = dims.ndisplay == 2 and dims.ndim > 2
    camera.mouse_zoom = not turns  # or napari would zoom with this turn too
    if not turns or "Alt" in event.modifiers or "Shift" in event.modifiers:
        return
    notches = float(event.delta[1])
    if "Control" not in event.modifiers:
        axis, (start, stop, step) = dims.order[0], dims.range[dims.order[0]]
        place = dims.point[axis] - (1 if notches > 0 else -1) * step
        dims.set_point(axis, min(max(place, start), stop))
        return
    factor = 1.2**notches
    centre, place = np.asarray(camera.center), np.asarray([event.position[axis] for axis in dims.displayed])
    camera.zoom *= factor
    centre[-2:] += (place - centre[-2:]) * (1 - 1 / factor)
    camera.center = tuple(centre)


def show_modality(viewer: ViewerModel, modality: str) -> None:
    """Show one image of the study on the picture, and hide its others."""
    images = list(tagged(viewer, shown_study(viewer) or None, "image"))
    if any(tag.name == modality for _, tag in images):
        for layer, tag in images:
            set_visible(layer, tag.name == modality)


def next_window(viewer: ViewerModel) -> None:
    """Give the topmost image the next of :data:`WINDOWS`."""
    image = shown_image(viewer)
    if image is not None:
        names = list(WINDOWS)
        _presets[image] = number = (_presets.get(image, 0) + 1) % len(names)
        _set_window(image, WINDOWS[names[number]])
        tell(viewer, f"window: {names[number]}")


def reset_picture(viewer: ViewerModel) -> None:
    """Fit the brain, and give every image its first window again."""
    for layer, tag in tagged(viewer, None, "image"):
        if isinstance(layer, Image) and tag.role == "image":
            _presets[layer] = 0
            _set_window(layer, WINDOWS["brain"])
    fit_to_brain(viewer)


def _set_window(image: Image, share: tuple[float, float]) -> None:
    tag = tag_of(image)
    if tag is not None and isinstance(tag.source, Study):
        low, high = window_level(tag.array, to_display(tag.source.brain, tag.affine))
    else:
        low, high = window_level(image.data, image.data != image.data.flat[0])
    image.contrast_limits = tuple(low + part * (high - low) for part in share)


def toggle_reference(viewer: ViewerModel) -> None:
    """Show the reference of the study on the picture, or hide it."""
    for layer, _ in tagged(viewer, shown_study(viewer) or None, "reference"):
        layer.visible = not layer.visible


def change_opacity(viewer: ViewerModel, by: float) -> None:
    """Make what lies on the images fainter or stronger."""
    for layer in overlays(viewer):
        layer.opacity = min(max(layer.opacity + by, 0.1), 1.0)


def bare_while_held(viewer: ViewerModel) -> Generator[None, None, None]:
    """Key callback of napari: nothing lies on the images while the key is held."""
    shown = hide_layers(overlays(viewer))
    yield
    show_layers(shown)


def overlays(viewer: ViewerModel) -> list[Layer]:
    """Layers of this plugin that lie on the images: maps, segmentations, the correction, the current finding."""
    return [layer for layer in viewer.layers if _is_overlay(layer)]


def toggle_overlays(viewer: ViewerModel) -> None:
    """Hide all that lies on the images; or, while all is hidden, show again what was hidden so."""
    model = model_of(viewer)
    shown = hide_layers(overlays(model))
    if shown:
        _hidden[model] = shown
    else:
        show_layers(_hidden.pop(model, ()))


def show_keys(viewer: ViewerModel) -> None:
    """Open the panel that lists all keys; a viewer without a window has no place for it."""
    window: Any = getattr(viewer, "window", None)
    if window is not None:
        window.add_plugin_dock_widget("napari-uncseg", HELP_PANEL)


def run_command(viewer: ViewerModel, command: str) -> None:
    """Do what a command of the manifest does to a viewer."""
    PluginManager.instance().commands.execute(f"napari-uncseg.{command}", args=(viewer,))


def dragged_window(limits: tuple[float, float], right: float, down: float) -> tuple[float, float]:
    """Contrast limits after a drag: sideways the window's width, up and down its level.

    Parameters
    ----------
    limits : tuple of float
        Intensities shown black and white when the drag began.
    right, down : float
        Way of the mouse in pixels.

    Returns
    -------
    tuple of float
        A drag to the right widens the window (less contrast), a drag downwards raises its level (darker), as viewers of
        radiology have it. The width stays above a hundredth of what it was.
    """
    low, high = limits
    width = high - low
    level = (low + high) / 2 + down * LEVEL_PER_PIXEL * width
    half = width * max(1 + right * WINDOW_PER_PIXEL, 0.01) / 2
    return level - half, level + half


def drag_window(viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
    """Mouse callback of napari: a drag of the right button sets window and level of the topmost image that is seen."""
    image = _windowed_image(viewer)
    if event.button != RIGHT_BUTTON or viewer.dims.ndisplay != 2 or image is None:
        return
    limits = (float(image.contrast_limits[0]), float(image.contrast_limits[1]))
    column, row = float(event.pos[0]), float(event.pos[1])
    camera: Any = viewer.scene.camera
    panned = camera.mouse_pan
    camera.mouse_pan = False  # napari would zoom with this button
    try:
        yield
        while event.type == "mouse_move":
            image.contrast_limits = dragged_window(limits, float(event.pos[0]) - column, float(event.pos[1]) - row)
            yield
    finally:
        camera.mouse_pan = panned


def _windowed_image(viewer: ViewerModel) -> Image | None:
    """The image on the picture; None while the active layer needs the mouse for something else."""
    active = viewer.layers.selection.active
    return None if active is not None and str(active.mode) != "pan_zoom" else shown_image(viewer)


def _is_overlay(layer: Layer) -> bool:
    tag = tag_of(layer)
    if tag is not None:
        return tag.role != "image"
    return OUTLINE_KEY in layer.metadata or CORRECTION_KEY in layer.metadata
