"""Which maps a prediction has for which region."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.errors import UnknownMap
from napari_uncseg.labels import Region
from napari_uncseg.maps import MapName
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values, maps_of


def test_wt_has_what_is_stored_and_other_regions_what_their_probabilities_tell(tiny_prediction):
    assert [str(key) for key in maps_of(tiny_prediction, Region.WT)] == [
        *("unc_output", "entropy", "variance", "unc_output_unmasked", "error"),
    ]
    assert [str(key) for key in maps_of(tiny_prediction, Region.ET)] == ["entropy-et", "variance-et"]


def test_variance_between_members_is_not_made_up(tiny_prediction):
    several = dataclasses.replace(tiny_prediction, provenance={"settings": {"members": 8}})
    assert [str(key) for key in maps_of(several, Region.TC)] == ["entropy-tc"]
    with pytest.raises(UnknownMap, match="has no map 'variance-tc'"):
        map_values(several, MapName("variance", Region.TC))


def test_a_stored_map_of_a_region_is_the_one_shown(tiny_prediction):
    stored = np.full(tiny_prediction.segmentation.shape, 0.1, np.float32)
    more = dataclasses.replace(tiny_prediction, maps={**tiny_prediction.maps, "entropy-et": stored})
    assert map_values(more, MapName("entropy", Region.ET)) is stored
    assert [str(key) for key in maps_of(more, Region.ET)] == ["entropy-et", "variance-et"]


def test_bounds_titles_and_units(tiny_prediction):
    key = MapName("entropy", Region.ET)
    assert map_upper(tiny_prediction, key) == pytest.approx(np.log(2))
    assert tiny_prediction.title(key) == "entropy (ET)"
    assert key.unit == "nats"
    assert tiny_prediction.title(MapName("unc_output")) == "unc_output"
    odd = dataclasses.replace(tiny_prediction, maps={"mine": np.full((2, 2, 2), 3, np.float32)})
    assert map_upper(odd, MapName("mine")) == 3
    assert MapName("mine").unit == ""
    p = tiny_prediction.probabilities[2]
    assert map_values(tiny_prediction, MapName("variance", Region.ET)) == pytest.approx(p * (1 - p), abs=1e-6)
