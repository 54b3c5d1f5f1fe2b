"""Which maps a prediction has for which region."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.labels import Region
from napari_uncseg.review.maps import MapKey, map_title, map_unit, map_upper, map_values, maps_of


@pytest.mark.parametrize("name", ["entropy", "entropy-et", "unc_output_unmasked", "mutual_information-tc", "a-b"])
def test_names_go_there_and_back(name):
    assert MapKey.parse(name).name == name


def test_wt_has_what_is_stored_and_other_regions_what_their_probabilities_tell(tiny_prediction):
    assert [key.name for key in maps_of(tiny_prediction, Region.WT)] == [
        *("unc_output", "entropy", "variance", "unc_output_unmasked", "error"),
    ]
    assert [key.name for key in maps_of(tiny_prediction, Region.ET)] == ["entropy-et", "variance-et"]


def test_variance_between_members_is_not_made_up(tiny_prediction):
    several = dataclasses.replace(tiny_prediction, provenance={"settings": {"members": 8}})
    assert [key.name for key in maps_of(several, Region.TC)] == ["entropy-tc"]
    with pytest.raises(EvaluationError, match="has no map 'variance-tc'"):
        map_values(several, MapKey("variance", Region.TC))


def test_a_stored_map_of_a_region_is_the_one_shown(tiny_prediction):
    stored = np.full(tiny_prediction.segmentation.shape, 0.1, np.float32)
    more = dataclasses.replace(tiny_prediction, maps={**tiny_prediction.maps, "entropy-et": stored})
    assert map_values(more, MapKey("entropy", Region.ET)) is stored
    assert [key.name for key in maps_of(more, Region.ET)] == ["entropy-et", "variance-et"]


def test_bounds_titles_and_units(tiny_prediction):
    key = MapKey("entropy", Region.ET)
    assert map_upper(tiny_prediction, key) == pytest.approx(np.log(2))
    assert map_title(tiny_prediction, key) == "entropy (ET)"
    assert map_unit(key) == "nats"
    assert map_title(tiny_prediction, MapKey("unc_output")) == "unc_output"
    odd = dataclasses.replace(tiny_prediction, maps={"mine": np.full((2, 2, 2), 3, np.float32)})
    assert map_upper(odd, MapKey("mine")) == 3
    assert map_unit(MapKey("mine")) == ""
    p = tiny_prediction.probabilities[2]
    assert map_values(tiny_prediction, MapKey("variance", Region.ET)) == pytest.approx(p * (1 - p), abs=1e-6)
