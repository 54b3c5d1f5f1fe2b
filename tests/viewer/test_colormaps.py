"""Colours of maps and labels."""

import numpy as np
import pytest

from napari_uncseg.labels import LABEL_COLOURS, Label
from napari_uncseg.maps import MAPS
from napari_uncseg.viewer.colormaps import labels_colormap, map_colormap, segmentation_colormap


@pytest.mark.parametrize("name", [*MAPS, "something new"])
@pytest.mark.parametrize("edge", [0.0, 0.08, 0.5, 0.99, 1.0])
def test_a_map_is_transparent_below_its_edge_and_opaque_above(name, edge):
    colours = map_colormap(name, edge).map(np.linspace(0, 1, 1001))
    values = np.linspace(0, 1, 1001)
    assert (colours[values < edge - 0.003, 3] == 0).all()
    assert (colours[values > edge + 0.003, 3] == 1).all()


def test_a_value_keeps_its_colour_when_the_threshold_moves():
    values = np.linspace(0.6, 1, 50)
    assert map_colormap("entropy", 0.1).map(values) == pytest.approx(map_colormap("entropy", 0.5).map(values), abs=1e-3)


@pytest.mark.parametrize("name", ["unc_output", "entropy", "variance"])
def test_more_uncertainty_is_lighter(name):
    colours = map_colormap(name, 0.0).map(np.linspace(0, 1, 64))[:, :3]
    assert (np.diff(colours @ (0.2126, 0.7152, 0.0722)) > 0).all()


def test_labels_have_brats_colours_and_strangers_stand_out():
    colormap = segmentation_colormap()
    for label in Label:
        assert colormap.map(int(label)) == pytest.approx(LABEL_COLOURS[label])
    assert colormap.map(0)[3] == 0
    assert colormap.map(7) == pytest.approx((1, 0, 1, 1))


def test_the_four_of_old_files_is_enhancing_tumour_unless_there_is_a_three():
    assert labels_colormap(np.array([0, 1, 2, 4])).map(4) == pytest.approx(LABEL_COLOURS[Label.ET])
    assert labels_colormap(np.array([0, 1, 2, 3, 4])).map(4) == pytest.approx((1, 0, 1, 1))
