"""Layers that come all at once."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_uncseg.maps import MapName
from napari_uncseg.viewer.cases import show_case
from napari_uncseg.viewer.exchange import added_at_once
from napari_uncseg.viewer.layers import map_layer, show_only_map
from napari_uncseg.viewer.tags import tagged


@pytest.fixture
def layers():
    return [Image(np.zeros((2, 2)), name=name) for name in "abc"]


def test_they_are_chosen_as_if_they_came_one_by_one(layers):
    viewer, told = ViewerModel(), []
    viewer.add_layer(layers[0])
    viewer.layers.selection.events.changed.connect(lambda event: told.append((event.added, event.removed)))
    with added_at_once(viewer), added_at_once(viewer):
        viewer.add_layer(layers[1])
        viewer.add_layer(layers[2])
        assert not told
    assert viewer.layers.selection.active is layers[2]
    added, removed = (set().union(*each) for each in zip(*told, strict=True))
    assert (added, removed) == ({layers[2]}, {layers[0]})


def test_a_failure_leaves_the_viewer_as_it_works(layers):
    viewer = ViewerModel()
    with pytest.raises(TypeError), added_at_once(viewer):
        viewer.layers.extend([layers[0], "no layer"])
    with added_at_once(viewer):
        viewer.add_layer(layers[1])
    assert viewer.layers.selection.active is layers[1]


def test_a_map_is_named_from_when_it_is_first_seen(tiny_study, tiny_prediction):
    viewer = ViewerModel()
    show_case(viewer, "", tiny_study, tiny_prediction)
    maps = {tag.name: layer for layer, tag in tagged(viewer, tiny_study.id, "map")}
    assert {name: layer.name_overlay.visible for name, layer in maps.items()} == {
        name: layer.visible for name, layer in maps.items()
    }
    hidden = next(name for name, layer in maps.items() if not layer.visible and not name.startswith("error"))
    show_only_map(viewer, tiny_prediction, MapName.parse(hidden))
    assert maps[hidden].visible
    assert maps[hidden].colorbar.visible
    assert maps[hidden].name_overlay.visible
    assert map_layer(tiny_prediction, "error").colorbar.visible is False
