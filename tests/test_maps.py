"""Names of maps and what is known of them."""

import math

import pytest

from napari_uncseg.errors import UnknownMap
from napari_uncseg.labels import Region
from napari_uncseg.maps import MAPS, MapName, Measure, parse_maps


@pytest.mark.parametrize("name", ["entropy", "entropy-et", "unc_output_unmasked", "mutual_information-tc", "a-b"])
def test_names_go_there_and_back(name):
    assert str(MapName.parse(name)) == name


def test_every_measure_is_registered():
    assert list(MAPS) == list(Measure)


@pytest.mark.parametrize(
    ("name", "title", "unit", "upper"),
    [
        ("entropy", "entropy (WT)", "nats", math.log(2)),
        ("entropy-et", "entropy (ET)", "nats", math.log(2)),
        ("unc_output", "unc_output", "predicted probability of error", 1),
        ("unc_output-tc", "unc_output (TC)", "predicted probability of error", 1),
        ("error", "error (WT)", "prediction ≠ reference", 1),
        ("mine-et", "mine-et", "", None),
    ],
)
def test_what_is_known_of_a_map(name, title, unit, upper):
    named = MapName.parse(name)
    assert (named.title, named.unit, named.upper) == (title, unit, upper)


def test_maps_are_ordered_by_region_then_by_what_they_tell():
    names = [MapName.parse(name) for name in ("mine", "entropy-et", "error", "entropy", "unc_output")]
    assert list(map(str, sorted(names, key=lambda name: name.place))) == [
        *("unc_output", "entropy", "error", "mine", "entropy-et"),
    ]
    assert MapName("entropy").place < MapName("entropy", Region.TC).place


def test_maps_that_are_asked_for():
    words = ["entropy", " Variance-ET", "mutual_information-wt", "entropy"]
    assert list(map(str, parse_maps(words))) == ["entropy", "variance-et", "mutual_information"]


@pytest.mark.parametrize("words", [["entropie"], ["entropy-xx"], ["error"], ["unc_output"], [""], []])
def test_maps_that_nobody_can_compute_are_refused(words):
    with pytest.raises(UnknownMap):
        parse_maps(words)
