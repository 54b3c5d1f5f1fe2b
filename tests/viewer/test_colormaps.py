"""Colours of maps and labels."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_uncseg.labels import LABEL_COLOURS, REGION_COLOURS, Label
from napari_uncseg.maps import MAPS, Measure
from napari_uncseg.viewer.colormaps import (
    ERROR_COLOURS,
    ERROR_VALUES,
    EXTRA,
    MISSED,
    labels_colormap,
    map_colormap,
    segmentation_colormap,
)


@pytest.mark.parametrize("name", [*sorted(set(MAPS) - {Measure.ERROR}), "something new"])
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


# Viénot, Brettel and Mollon 1999: what protanopes and deuteranopes see of linear RGB.
PROTAN = [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]
DEUTAN = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]


def seen(colours, vision):
    """CIELAB of colours as a kind of colour vision sees them."""
    linear = np.power(np.atleast_2d(colours), 2.2) @ np.transpose(vision)
    return rgb2lab(np.power(np.clip(linear, 0, 1), 1 / 2.2))


@pytest.mark.parametrize("vision", [np.eye(3), PROTAN, DEUTAN], ids=["normal", "protan", "deutan"])
def test_no_map_has_a_hue_of_the_outlines_and_no_region_that_of_another(vision):
    lines = [seen(colour[:3], vision) for colour in REGION_COLOURS.values()]
    for name in ("unc_output", "error_risk", "entropy", "variance", "mutual_information"):
        ramp = seen(map_colormap(name, 0.0).map(np.linspace(0, 1, 64))[:, :3], vision)
        assert min(deltaE_ciede2000(line, ramp).min() for line in lines) > 20
    apart = [deltaE_ciede2000(one, other).min() for place, one in enumerate(lines) for other in lines[:place]]
    assert min(apart) > 15


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_errors_have_two_colours_at_every_threshold(threshold):
    none, extra, missed = map_colormap("error", threshold).map([0.0, *sorted(ERROR_VALUES.values())])
    assert none[3] == 0
    assert extra == pytest.approx(ERROR_COLOURS[EXTRA])
    assert missed == pytest.approx(ERROR_COLOURS[MISSED])


def test_labels_have_brats_colours_and_strangers_stand_out():
    colormap = segmentation_colormap()
    for label in Label:
        assert colormap.map(int(label)) == pytest.approx(LABEL_COLOURS[label])
    assert colormap.map(0)[3] == 0
    assert colormap.map(7) == pytest.approx((1, 0, 1, 1))


def test_the_four_of_old_files_is_enhancing_tumour_unless_there_is_a_three():
    assert labels_colormap(np.array([0, 1, 2, 4])).map(4) == pytest.approx(LABEL_COLOURS[Label.ET])
    assert labels_colormap(np.array([0, 1, 2, 3, 4])).map(4) == pytest.approx((1, 0, 1, 1))
