"""Conformal risk control: the promise in a simulation, the finite-sample term by hand, and what cannot be promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from napari_uncseg.uncertainty.conformal import control_risk, false_negative_rates, studies_needed, thresholds
from napari_uncseg.uncertainty.recalibration.models import STEPS, steps_of

GRID = np.linspace(0.01, 0.99, 99)


def study_losses(generator: np.random.Generator, studies: int) -> np.ndarray:
    """False-negative rates of simulated studies at GRID: each a patient of its own with 200 voxels of the region."""
    ability = generator.normal(1.0, 1.5, (studies, 1))
    p = expit(ability + generator.normal(0, 1.5, (studies, 200)))
    return np.stack([(p <= threshold).mean(axis=1) for threshold in GRID], axis=1)


@pytest.mark.parametrize(("alpha", "studies"), [(0.1, 15), (0.2, 10), (0.3, 40)])
def test_the_promise_is_kept_on_average_over_new_studies(alpha, studies):
    generator = np.random.default_rng(0)
    losses = study_losses(generator, 8000)
    missed = []
    for _ in range(1500):
        chosen = generator.choice(len(losses), studies + 1, replace=False)
        found = control_risk(losses[chosen[:-1]].sum(axis=0), studies, alpha, GRID)
        # Where no threshold keeps the promise the mask is everything, which misses nothing.
        missed.append(0.0 if found.threshold is None else losses[chosen[-1], np.searchsorted(GRID, found.threshold)])
    error = np.std(missed) / np.sqrt(len(missed))
    assert np.mean(missed) <= alpha + 2.5 * error
    assert np.mean(missed) >= alpha - 2 / (studies + 1) - 0.02, "nor is it kept by being useless"


def test_threshold_by_hand():
    """Nine studies: (sum + 1) / 10 ≤ 0.2 asks for a sum of at most 1."""
    found = control_risk(np.array([0.2, 0.9, 1.0, 1.1, 4.0]), 9, 0.2, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert found.threshold == 0.3
    assert found.false_negative_rate == pytest.approx(1 / 9)
    assert (found.alpha, found.studies, found.reason) == (0.2, 9, "")


@given(st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=30), st.floats(0.02, 0.9))
def test_less_to_miss_is_never_a_higher_threshold(studies, alpha):
    total = np.sort(np.array(studies), axis=1).sum(axis=0)
    choices = np.arange(5) / 10
    strict, loose = (control_risk(total, len(studies), level, choices) for level in (alpha, min(alpha + 0.05, 0.99)))
    if strict.threshold is not None:
        assert (total[round(strict.threshold * 10)] + 1) / (len(studies) + 1) <= alpha
        assert loose.threshold is not None
        assert loose.threshold >= strict.threshold
    else:
        assert strict.reason


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3), (0.5, 1), (0.9, 1)])
def test_studies_needed(alpha, needed):
    assert studies_needed(alpha) == needed
    perfect = np.zeros(3)
    assert control_risk(perfect, needed, alpha, np.array([0.1, 0.2, 0.3])).threshold == 0.3
    if needed > 1:
        found = control_risk(perfect, needed - 1, alpha, np.array([0.1, 0.2, 0.3]))
        assert found.threshold is None
        assert f"needs at least {needed} studies" in found.reason


def test_what_no_threshold_can_keep_is_told():
    found = control_risk(np.full(4, 9.0), 30, 0.1, np.array([0.1, 0.2, 0.3, 0.4]))
    assert found.threshold is None
    assert "even the lowest one misses 0.3 of the region" in found.reason
    assert "30 studies allow 0.07" in found.reason


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, 2.0])
def test_an_alpha_that_is_no_share(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        control_risk(np.zeros(2), 50, alpha, np.array([0.1, 0.2]))


def test_falling_losses_are_a_mistake():
    with pytest.raises(ValueError, match="fall"):
        control_risk(np.array([3.0, 1.0]), 50, 0.1, np.array([0.1, 0.2]))


def test_rates_are_those_of_the_masks():
    generator = np.random.default_rng(2)
    p = np.concatenate([generator.beta(2, 1, 300), [0.0, 1.0]]).astype(np.float32)
    rates = false_negative_rates(np.bincount(steps_of(p), minlength=STEPS + 1))
    for place in (0, 5, 9000, 20_000, STEPS - 1):
        assert rates[place] == pytest.approx((p <= thresholds()[place]).mean())
    assert (np.diff(rates) >= 0).all()
    assert np.isnan(false_negative_rates(np.zeros(STEPS + 1, dtype=np.int64))).all()


def test_masks_are_the_same_before_and_after_a_file():
    p = np.random.default_rng(3).random(2000).astype(np.float32)
    stored = (steps_of(p) / STEPS).astype(np.float32)
    for threshold in thresholds()[::997]:
        np.testing.assert_array_equal(p > threshold, stored > threshold)
