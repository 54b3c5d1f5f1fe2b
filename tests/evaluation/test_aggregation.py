"""Mean uncertainty of a study, by hand."""

import math

import numpy as np
import pytest

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.discrimination import MeanUncertainty
from napari_uncseg.labels import Region
from napari_uncseg.metrics.morphology import dilate_mm


def _read(case, name="unc_output", region=Region.WT):
    metric = MeanUncertainty(name, region)
    metric.add(case)
    return {value.metric: value for value in metric.per_case()}


def test_means_by_hand(case):
    found = _read(case)
    u, predicted = case.uncertainty("unc_output", Region.WT).astype(np.float64), case.prediction[0]
    mask = dilate_mm(predicted, case.spacing, 5.0)
    expected = {
        "mean_brain": u[case.brain].mean(),
        "mean_prediction": u[predicted].mean(),
        "mean_tumour": u[mask].mean(),
    }
    assert {name: result.value for name, result in found.items()} == pytest.approx(expected, rel=1e-6)
    assert found["mean_tumour"].count == mask.sum()


def test_no_mean_looks_at_the_reference(case):
    labels = np.where(case.prediction[0], 2, 0)
    u = case.uncertainty("unc_output", Region.WT)
    settings_ = {"maps": {"unc_output": u}, "brain": case.brain, "spacing": case.spacing}
    one, other = (case_from_arrays(labels, reference, **settings_) for reference in (labels, labels * 0))
    first, second = ([(v.metric, v.value) for v in _read(each).values()] for each in (one, other))
    assert first == second


def test_an_empty_prediction_is_undefined_and_not_certain():
    nothing = np.zeros((8, 8, 8), np.uint8)
    found = _read(case_from_arrays(nothing, nothing, maps={"unc_output": np.full((8, 8, 8), 0.25)}))
    assert found["mean_brain"].value == pytest.approx(0.25)
    for name in ("mean_prediction", "mean_tumour"):
        assert math.isnan(found[name].value)
        assert found[name].undefined == "empty prediction"
