"""Expected Dice: its features against what they stand for, and its intervals on studies that were made up."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.errors import EvaluationError
from napari_uncseg.uncertainty.expected_dice import (
    EMPTY_ML,
    Quality,
    agreement_of,
    fit_dice_model,
    half_width,
    out_of_fold,
    soft_dice_of,
)


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_agreement_is_the_overlap_over_all_pairs(members, seed):
    masks = np.random.default_rng(seed).random((members, 60)) < 0.4
    pairs = list(combinations(masks, 2))
    shared = sum(2 * (a & b).sum() for a, b in pairs)
    sizes = sum(a.sum() + b.sum() for a, b in pairs)
    assert agreement_of(masks.sum(0), members) == pytest.approx(shared / sizes if sizes else 1.0)


def test_agreement_of_one_member_or_of_nothing_is_complete():
    assert agreement_of(np.ones(4, int), 1) == 1
    assert agreement_of(np.zeros(4, int), 3) == 1
    assert agreement_of(np.array([1, 1, 0]), 2) == 0


def test_soft_dice_is_that_of_the_probability_with_its_own_segmentation():
    assert soft_dice_of(np.array([1.0, 1, 0, 0])) == 1
    assert soft_dice_of(np.array([0.4, 0.3])) == 0
    assert soft_dice_of(np.array([0.8, 0.4])) == pytest.approx(2 * 0.8 / (1.2 + 1))


def made_up(count, seed, noise=0.4):
    random = np.random.default_rng(seed)
    agreement = random.beta(8, 1.5, count)
    logits = np.log(agreement / (1 - agreement)) * 0.8 - 0.4 + noise * random.normal(size=count)
    dice = 1 / (1 + np.exp(-logits))
    qualities = [
        Quality(float(a), float(0.5 + a / 2), float(v))
        for a, v in zip(agreement, random.uniform(5, 90, count), strict=True)
    ]
    return qualities, dice.tolist(), (np.arange(count) % 5).tolist()


def test_expected_dice_orders_studies_and_is_nearer_than_their_mean():
    qualities, dice, folds = made_up(46, 1)
    values = np.array([estimate.value for estimate in out_of_fold(qualities, dice, folds)])
    truth = np.array(dice)
    assert np.corrcoef(values.argsort().argsort(), truth.argsort().argsort())[0, 1] > 0.7
    assert np.abs(values - truth).mean() < np.abs(truth.mean() - truth).mean()


@pytest.mark.parametrize("count", [15, 60])
def test_intervals_hold_their_share_of_new_studies(count):
    held = []
    for seed in range(24):
        qualities, dice, _ = made_up(count, seed)
        model = fit_dice_model(qualities, dice)
        fresh, truth, _ = made_up(200, 100 + seed)
        estimates = [model.estimate(quality) for quality in fresh]
        held += [e.low <= value <= e.high for e, value in zip(estimates, truth, strict=True)]
        assert all(0 <= e.low <= e.value <= e.high <= 1 for e in estimates)
    assert 0.86 < np.mean(held) < 0.96


def test_interval_of_one_spread_is_that_of_students_t():
    # Quantile 0.95 of t with nine degrees of freedom: 1.833.
    assert half_width([2.0, -2.0] * 5, 0.9) == pytest.approx(2 * 1.833, abs=1e-3)
    assert half_width([0.5] * 10000, 0.9) == pytest.approx(0.5 * 1.645, abs=1e-3)


def test_interval_rests_on_studies_that_the_model_was_fitted_without():
    qualities, dice, _ = made_up(12, 4)
    apart = []
    for out in range(12):
        rest = [index for index in range(12) if index != out]
        model = fit_dice_model([qualities[index] for index in rest], [dice[index] for index in rest])
        apart.append(np.log(dice[out] / (1 - dice[out])) - model.logit(qualities[out].features))
    assert fit_dice_model(qualities, dice).residuals == pytest.approx(sorted(apart))


def test_empty_region_is_told_by_how_often_it_was_right():
    qualities, dice, _ = made_up(20, 3)
    qualities += [Quality(1.0, 0.0, EMPTY_ML / 2)] * 3
    model = fit_dice_model(qualities, [*dice, 1.0, 1.0, 0.0])
    estimate = model.estimate(Quality(1.0, 0.0, 0.0))
    assert estimate.value == pytest.approx(3 / 5)
    assert (estimate.low, estimate.high) == (0, 1)


def test_too_few_studies_are_refused():
    qualities, dice, _ = made_up(20, 3)
    with pytest.raises(EvaluationError):
        fit_dice_model(qualities[:2], dice[:2])
