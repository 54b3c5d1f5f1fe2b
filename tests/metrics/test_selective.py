"""Risk–coverage against loops and known answers, triage against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from napari_uncseg.errors import EvaluationError
from napari_uncseg.metrics.selective import (
    augrc,
    aurc,
    e_aurc,
    risk_coverage,
    share_interval,
    spearman_interval,
    triage_auroc,
)

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
        with pytest.raises(EvaluationError):
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
    with pytest.raises(EvaluationError):
        triage_auroc([1.0], [], 0.7)


def test_rank_correlation_is_scipys_and_its_difference_is_paired():
    random = np.random.default_rng(0)
    dice, noise = random.random(30), random.random(30)
    told, rough = dice + noise / 10, np.round(dice + noise, 1)
    found = spearman_interval(told, dice, n=200)
    assert found.estimate == pytest.approx(stats.spearmanr(told, dice).statistic)
    assert found.low < found.estimate < found.high
    over = spearman_interval(told, dice, rough, n=200)
    assert over.estimate == pytest.approx(found.estimate - stats.spearmanr(rough, dice).statistic)
    assert spearman_interval(told, dice, told, n=50).high == 0
    assert math.isnan(spearman_interval(np.ones(6), dice[:6], n=20).estimate)
    assert math.isnan(spearman_interval(told[:3], dice[:3]).low)
    infinite = spearman_interval([-math.inf, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], n=20)
    assert infinite.estimate == pytest.approx(1)


def test_a_share_has_its_exact_binomial_interval():
    found = share_interval(9, 10)
    assert (found.estimate, found.count) == (0.9, 10)
    assert (found.low, found.high) == pytest.approx((0.5550, 0.9975), abs=1e-4)
    assert math.isnan(share_interval(0, 0).estimate)
