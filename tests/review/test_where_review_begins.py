"""What a result says against itself, and where its review begins."""

import dataclasses

import numpy as np
import pytest

from napari_uncseg.maps import MapName
from napari_uncseg.review.threshold_sweep import (
    PLACES_ML,
    START,
    leading_map,
    reasons_of,
    start_threshold,
    sweep_thresholds,
)

TOLD = {"needs_review": [{"code": "small", "text": "The tumour is small."}]}


def with_maps(prediction, *names, **changes):
    """A prediction that has these maps."""
    values = prediction.maps["unc_output"]
    return dataclasses.replace(prediction, maps=dict.fromkeys(names, values), **changes)


@pytest.fixture
def doubtful(tiny_prediction):
    return dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, **TOLD})


def test_reasons_are_those_told_when_the_result_was_made(tiny_prediction, doubtful):
    assert reasons_of(tiny_prediction) == ()
    assert reasons_of(doubtful) == ("The tumour is small.",)


def test_an_empty_result_is_always_doubtful(tiny_prediction):
    empty = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    (reason,) = reasons_of(empty)
    assert "tumour" in reason


@pytest.mark.parametrize(
    ("maps", "sure", "in_doubt"),
    [
        (("unc_output", "unc_output_unmasked", "error_risk"), "error_risk", "error_risk"),
        (("unc_output", "unc_output_unmasked"), "unc_output", "unc_output_unmasked"),
        (("unc_output",), "unc_output", "unc_output"),
        (("variance",), "entropy", "entropy"),
    ],
)
def test_which_map_leads(tiny_prediction, doubtful, maps, sure, in_doubt):
    assert leading_map(with_maps(tiny_prediction, *maps)) == sure
    assert leading_map(with_maps(doubtful, *maps)) == in_doubt


def test_a_doubtful_result_lists_places_however_low_its_map_is(tiny_prediction, doubtful):
    low = np.full(tiny_prediction.shape, 0.05, dtype=np.float32)
    sweeps = []
    for each in (tiny_prediction, doubtful):
        faint = dataclasses.replace(each, maps={"unc_output": low})
        sweeps.append((faint, sweep_thresholds(faint, MapName("unc_output"), None, None)))
    (sure, flat), (unsure, same) = sweeps
    assert start_threshold(sure, flat) == pytest.approx(START, abs=0.01)
    start = start_threshold(unsure, same)
    assert 0 < start < 0.051
    assert same.volume_ml(same.step(start)) >= min(PLACES_ML, low.size * tiny_prediction.voxel_ml)
