"""Aggregates per study by hand, risk–coverage against loops and known answers, triage against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.aggregation import (
    AGGREGATORS,
    Aggregates,
    augrc,
    aurc,
    e_aurc,
    risk_coverage,
    top_patch_mean,
    triage_auroc,
)
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


risks = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(risks, st.randoms())
def test_curves_agree_with_a_loop_and_ignore_the_order(pairs, shuffle):
    risk, confidence = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    curve = risk_coverage(risk, confidence)
    for coverage, selective, generalized in zip(
        curve.coverage[1:], curve.selective_risk[1:], curve.generalized_risk[1:], strict=True
    ):
        kept = round(coverage * len(risk))
        threshold = np.sort(confidence)[::-1][kept - 1]
        assert (confidence >= threshold).sum() == kept
        assert selective == pytest.approx(risk[confidence >= threshold].mean())
        assert generalized == pytest.approx(risk[confidence >= threshold].sum() / len(risk))
    shuffle.shuffle(pairs)
    again = tuple(np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    for area in (aurc, augrc):
        assert area(*again) == pytest.approx(area(risk, confidence))
        assert area(risk, np.exp(confidence)) == pytest.approx(area(risk, confidence))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_score_that_knows_nothing_and_one_that_knows_all(risk):
    constant = np.zeros(len(risk))
    assert aurc(risk, constant) == pytest.approx(np.mean(risk))
    assert augrc(risk, constant) == pytest.approx(np.mean(risk) / 2)
    assert e_aurc(risk, -np.array(risk)) == 0
    assert e_aurc(risk, np.array(risk)) >= -1e-12


def test_areas_by_hand():
    # Kept one by one: selective risk 0, 0, 1/3, 1/2; generalized 0, 0, 1/4, 1/2.
    risk, confidence = [0, 0, 1, 1], [4, 3, 2, 1]
    assert aurc(risk, confidence) == pytest.approx(0.25 * (0 + 0 + 1 / 6 + (1 / 3 + 1 / 2) / 2))
    assert augrc(risk, confidence) == pytest.approx(0.25 * (0 + 0 + 1 / 8 + (1 / 4 + 1 / 2) / 2))
    assert e_aurc(risk, confidence) < e_aurc(risk, [1, 2, 3, 4])


def test_an_infinitely_uncertain_study_comes_last_and_nan_is_refused():
    curve = risk_coverage([1.0, 0.0, 0.2], [-math.inf, -0.1, -0.2])
    assert curve.selective_risk.tolist() == pytest.approx([0, 0, 0.1, 0.4])
    for arguments in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(EvaluationError, match="one risk and one confidence"):
            risk_coverage(*arguments)
    for arguments in (([math.nan], [0.0]), ([0.0], [math.nan])):
        with pytest.raises(EvaluationError, match="undefined"):
            risk_coverage(*arguments)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), min_size=2, max_size=40))
def test_triage_is_scikit_learns_auroc(pairs):
    scores, dice = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    found = triage_auroc(scores, dice, 0.7)
    poor = dice < 0.7
    assert (found.positives, found.count) == (poor.sum(), len(dice))
    if 0 < poor.sum() < len(dice):
        assert found.auroc == pytest.approx(roc_auc_score(poor, scores))
    else:
        assert math.isnan(found.auroc)
        assert "has a Dice below 0.7" in found.undefined


def test_triage_leaves_out_what_is_unknown():
    found = triage_auroc([math.inf, 0.1, math.nan, 0.2], [0.2, 0.9, 0.1, math.nan], 0.7)
    assert (found.auroc, found.positives, found.count) == (1, 1, 2)
    with pytest.raises(EvaluationError, match="one score and one Dice"):
        triage_auroc([1.0], [], 0.7)
