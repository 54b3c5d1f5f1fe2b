"""Layers in the place of others, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_uncseg.viewer.picture import layer_events, model_of
from napari_uncseg.viewer.tags import KEY

_adding: WeakSet[ViewerModel] = WeakSet()


@contextmanager
def added_at_once(viewer: ViewerModel) -> Iterator[None]:
    """Add layers with one change of selection; the last one is selected, as ever.

    After each of a dozen layers napari would show the layer's controls. (Its own batches of changes cost what was to
    be drawn: they end by flushing OpenGL's commands outside of a draw.) Within another one this does nothing.
    """
    model = model_of(viewer)
    if model in _adding:
        yield
        return
    selection = viewer.layers.selection
    before = set(selection)
    _adding.add(model)
    try:
        with selection.events.blocker_all():
            yield
    finally:
        _adding.discard(model)
        with selection.events.blocker_all():
            after = set(selection)
            viewer.layers.selection = before  # as listeners know it
        viewer.layers.selection = after


def exchange_layers(
    viewer: ViewerModel, layers: Sequence[Layer], earlier: Sequence[Layer], above: Layer | None = None
) -> None:
    """Show layers in the place of earlier ones: those of the same role and name stay, and show other data.

    napari takes seconds to remove a dozen layers and to add them anew; what was hidden, dimmed or moved stays so.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Layer
        From the bottom up, each with its :class:`Tag`; napari may have added them already.
    earlier : sequence of Layer
        In the viewer, with tags; those without a successor are removed.
    above : Layer, optional
        What new layers are inserted below, where no earlier ones tell; the top of the list if not given.
    """
    left = {_what(layer): layer for layer in earlier}
    if earlier:
        higher = list(viewer.layers)[viewer.layers.index(earlier[-1]) + 1 :]
        above = next((layer for layer in higher if layer not in layers), None)
    missing: list[tuple[Layer, Layer | None]] = []
    for layer in reversed(layers):
        there = left.pop(_what(layer), None)
        if there is None:
            missing.append((layer, above))
        else:
            _exchange(there, layer)
            above = there
    fresh = [layer for layer, _ in missing]
    for layer in (*left.values(), *(layer for layer in layers if layer in viewer.layers and layer not in fresh)):
        viewer.layers.remove(layer)
    if missing:
        with added_at_once(viewer):
            for layer, over in reversed(missing):
                _put(viewer, layer, over)
    if earlier:
        layer_events(viewer)[-1]()


def _what(layer: Layer) -> tuple[str, str, type[Layer]]:
    """What has to be the same for a layer to show another's data: napari's menu turns labels into images."""
    tag = layer.metadata[KEY]
    return tag.role, tag.name, type(layer)


def _put(viewer: ViewerModel, layer: Layer, over: Layer | None) -> None:
    """Insert a layer below another one, or on top; one that napari has added already is moved there."""
    place = len(viewer.layers) if over is None else viewer.layers.index(over)
    if layer not in viewer.layers:
        viewer.layers.insert(place, layer)
        return
    if over is not None:
        viewer.layers.move(viewer.layers.index(layer), place)
    layer.name = layer.metadata[KEY].title  # napari may have numbered it


def _exchange(there: Layer, layer: Layer) -> None:
    """Let a layer show what another one does."""
    there.metadata = layer.metadata
    there.data = layer.data
    for name in ("scale", "translate", "rotate", "shear", "affine"):  # the user may have moved it by hand
        if not np.array_equal(np.asarray(getattr(there, name)), np.asarray(getattr(layer, name))):
            setattr(there, name, getattr(layer, name))
    for name in ("contrast_limits_range", "contrast_limits") if isinstance(there, Image) else ("features", "editable"):
        setattr(there, name, getattr(layer, name))
