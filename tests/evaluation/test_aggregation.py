"""Aggregates per study by hand, risk–coverage against loops and known answers, triage against scikit-learn."""

import math

import numpy as np
import pytest

from napari_uncseg.evaluation.aggregation import AGGREGATORS, Aggregates, top_patch_mean
from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.labels import Region
from napari_uncseg.metrics.morphology import dilate_mm


def _read(case, name="unc_output", region=Region.WT):
    metric = Aggregates(name, region)
    metric.add(case)
    return {value.metric: value for value in metric.per_case()}


def test_aggregates_by_hand(case):
    found = _read(case)
    u, predicted = case.uncertainty("unc_output", Region.WT).astype(np.float64), case.prediction[0]
    mask = dilate_mm(predicted, case.spacing, 5.0)
    edge = dilate_mm(predicted, case.spacing, 3.0) & dilate_mm(~predicted, case.spacing, 3.0)
    inside = u[case.brain]
    expected = {
        "mean_brain": inside.mean(),
        "mean_prediction": u[predicted].mean(),
        "mean_tumour": u[mask].mean(),
        "mean_off_boundary": u[mask & ~edge].mean(),
        "above_threshold": inside[inside > 0.5].mean(),
        "sum_over_volume": inside.sum() / predicted.sum(),
        "volume_confounder": predicted.sum() * case.voxel_ml,
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected, rel=1e-6)
    assert found["mean_tumour"].count == mask.sum()
    assert found["volume_confounder"].unit == "mL"
    assert list(found) == [*AGGREGATORS, "volume_confounder"]


def test_no_aggregate_looks_at_the_reference(case):
    labels = np.where(case.prediction[0], 2, 0)
    u = case.uncertainty("unc_output", Region.WT)
    settings_ = {"maps": {"unc_output": u}, "brain": case.brain, "spacing": case.spacing}
    one, other = (case_from_arrays(labels, reference, **settings_) for reference in (labels, labels * 0))
    first, second = ([(v.metric, v.value) for v in _read(each).values()] for each in (one, other))
    assert first == second


def test_an_empty_prediction_is_undefined_and_not_certain():
    nothing = np.zeros((8, 8, 8), np.uint8)
    found = _read(case_from_arrays(nothing, nothing, maps={"unc_output": np.full((8, 8, 8), 0.25)}))
    assert found["mean_brain"].value == found["top_patch"].value == pytest.approx(0.25)
    for name in ("mean_prediction", "mean_tumour", "sum_over_volume"):
        assert math.isnan(found[name].value)
        assert found[name].undefined.startswith("empty prediction")
    assert "above half the upper bound" in found["above_threshold"].undefined
    assert found["volume_confounder"].value == 0


def test_top_patch_agrees_with_a_loop():
    values = np.random.default_rng(0).random((7, 6, 5)).astype(np.float32)
    expected = max(
        values[x : x + 3, y : y + 2, z : z + 5].mean(dtype=float) for x in range(5) for y in range(5) for z in range(1)
    )
    assert top_patch_mean(values, (3, 2, 9)) == pytest.approx(expected)
    assert math.isnan(top_patch_mean(values[:0], (1, 1, 1)))


def test_top_patch_of_a_case_is_10_mm_wide():
    u = np.zeros((30, 30, 30), np.float32)
    u[10:20, 10:20, 10:15] = 1
    labels = (u > 0).astype(np.uint8)
    case = case_from_arrays(labels, labels, maps={"unc_output": u}, spacing=(1.0, 1.0, 2.0))
    assert _read(case)["top_patch"].value == 1
    assert _read(case)["top_patch"].count == 500
