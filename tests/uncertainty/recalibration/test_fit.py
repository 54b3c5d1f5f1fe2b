"""Fits against known answers, scikit-learn and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from napari_uncseg.uncertainty.recalibration.fit import Counts, fit, negative_log_likelihood, smoothed_targets
from napari_uncseg.uncertainty.recalibration.models import (
    IDENTITY,
    SMALLEST,
    STEPS,
    Isotonic,
    Method,
    Platt,
    Temperature,
    step_probabilities,
    steps_of,
)


def counted(p, y) -> Counts:
    """Counts of voxels by the step of a file."""
    steps = steps_of(p.astype(np.float32))
    count = np.bincount(steps, minlength=STEPS + 1).astype(np.int64)
    return Counts(step_probabilities(), count, np.bincount(steps[y], minlength=STEPS + 1).astype(np.int64))


def drawn(slope: float, intercept: float, seed: int = 0, size: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities a network might give, and truth whose log odds are a line in theirs."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(-1.0, 3.0, size)
    return expit(scores), generator.random(size) < expit(slope * scores + intercept)


def likelihood(p, y) -> float:
    return float(-np.where(y, np.log(p), np.log1p(-p)).mean())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_found(temperature):
    p, y = drawn(1 / temperature, 0.0)
    found = fit(Method.TEMPERATURE, counted(p, y))
    assert found.note == ""
    assert isinstance(found.map, Temperature)
    assert found.map.temperature == pytest.approx(temperature, rel=0.04)


def test_a_known_line_is_found():
    found = fit(Method.PLATT, counted(*drawn(0.6, -1.2))).map
    assert isinstance(found, Platt)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, rel=0.04), pytest.approx(-1.2, rel=0.04))


@pytest.mark.parametrize("method", Method)
def test_steps_of_a_file_lose_nothing_that_matters(method):
    """The fit on counts of file steps is as good, voxel by voxel, as one on probabilities in full precision."""
    p, y = drawn(0.7, -0.4, seed=3)
    p = np.clip(p, SMALLEST, 1 - SMALLEST)
    order, first = np.unique(p, return_inverse=True)
    exact = Counts(order, np.bincount(first), np.bincount(first, weights=y).astype(np.int64))
    coarse, fine = fit(method, counted(p, y)).map, fit(method, exact).map
    gap = likelihood(coarse.apply(p), y) - likelihood(fine.apply(p), y)
    assert abs(gap) < (1e-6 if method is not Method.ISOTONIC else 3e-3)
    if method is Method.TEMPERATURE:
        assert coarse.temperature == pytest.approx(fine.temperature, rel=1e-4)
    if method is Method.PLATT:
        assert (coarse.slope, coarse.intercept) == (
            pytest.approx(fine.slope, rel=1e-4),
            pytest.approx(fine.intercept, rel=1e-4),
        )


def test_temperature_minimises_the_likelihood():
    p, y = drawn(0.4, 0.5, seed=1, size=5000)
    counts = counted(p, y).clipped()

    def loss(log: float) -> float:
        return negative_log_likelihood(counts, Temperature(float(np.exp(log))).curve(counts.probability))

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    found = fit(Method.TEMPERATURE, counts).map
    assert found.temperature == pytest.approx(float(np.exp(best.x)), rel=1e-5)
    assert loss(float(np.log(found.temperature))) <= best.fun + 1e-15


def test_platt_is_logistic_regression_on_smoothed_targets():
    counts = counted(*drawn(0.6, -1.2, seed=2, size=300)).clipped()
    above, below = smoothed_targets(counts)
    z = np.tile(logit(counts.probability), 2)[:, None]
    weight_true = counts.true * above + (counts.count - counts.true) * below
    weights = np.concatenate([weight_true, counts.count - weight_true])
    answer = np.repeat([1, 0], len(counts.count))
    peer = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(z, answer, sample_weight=weights)
    found = fit(Method.PLATT, counts).map
    assert (found.slope, found.intercept) == (
        pytest.approx(float(peer.coef_[0, 0]), rel=1e-5),
        pytest.approx(float(peer.intercept_[0]), rel=1e-5),
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(2, 80))
def test_isotonic_agrees_with_scikit_learn(seed, size):
    generator = np.random.default_rng(seed)
    steps = np.sort(generator.choice(np.arange(1, STEPS), size, replace=False))
    count = generator.integers(1, 50, size)
    true = generator.binomial(count, np.sort(generator.random(size)))
    counts = Counts(steps / STEPS, count, true)
    if counts.positives in (0, counts.voxels):
        return
    above, below = smoothed_targets(counts)
    targets = (true * above + (count - true) * below) / count
    peer = IsotonicRegression(out_of_bounds="clip").fit(counts.probability, targets, sample_weight=count)
    found = fit(Method.ISOTONIC, counts).map
    places = np.concatenate([counts.probability, np.linspace(0.001, 0.999, 50)])
    np.testing.assert_allclose(found.apply(places), peer.predict(places), atol=1e-9)


def test_isotonic_by_hand():
    """0.2 and 0.4 violate the order and become one; targets are (5 + 1) / (5 + 2) and 1 / (7 + 2)."""
    counts = Counts(np.array([0.2, 0.4, 0.8]), np.array([4, 4, 4]), np.array([1, 0, 4]))
    found = fit(Method.ISOTONIC, counts).map
    pooled = (6 / 7 + 7 / 9) / 8
    assert isinstance(found, Isotonic)
    assert found.knots == (
        (0.2, pytest.approx(pooled)),
        (0.4, pytest.approx(pooled)),
        (0.8, pytest.approx(6 / 7)),
    )


@pytest.mark.parametrize("method", Method)
@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_no_fit_makes_its_own_voxels_less_likely(method, seed):
    generator = np.random.default_rng(seed)
    p, y = drawn(generator.uniform(0.2, 3), generator.normal(), seed=seed, size=2000)
    counts = counted(p, y).clipped()
    found = fit(method, counts).map
    before = negative_log_likelihood(counts, counts.probability)
    # Smoothed targets pull by 1 / (N + 2): a little of the likelihood is given for not being certain.
    assert negative_log_likelihood(counts, found.curve(counts.probability)) <= before + 1e-3
    if method is Method.TEMPERATURE:
        assert negative_log_likelihood(counts, found.curve(counts.probability)) <= before + 1e-12


@pytest.mark.parametrize("method", Method)
def test_fits_of_parts_add_up(method):
    """Counts are all that a fit sees: the order and the grouping of studies change nothing."""
    first, second = counted(*drawn(0.7, 0.1, seed=4, size=5000)), counted(*drawn(0.7, 0.1, seed=5, size=5000))
    both = Counts(first.probability, first.count + second.count, first.true + second.true)
    p, y = (np.concatenate(parts) for parts in zip(drawn(0.7, 0.1, 4, 5000), drawn(0.7, 0.1, 5, 5000), strict=True))
    assert fit(method, both).map == fit(method, counted(p, y)).map


@pytest.mark.parametrize("method", Method)
def test_nothing_to_learn_from_is_told(method):
    empty = Counts(np.array([0.3]), np.array([0]), np.array([0]))
    never = Counts(np.array([0.3, 0.6]), np.array([5, 5]), np.array([0, 0]))
    always = Counts(np.array([0.3, 0.6]), np.array([5, 5]), np.array([5, 5]))
    for counts, words in ((empty, "no voxel to fit"), (never, "in no voxel"), (always, "in every voxel")):
        found = fit(method, counts)
        assert found.map == IDENTITY
        assert words in found.note


def test_suspicious_answers_are_told():
    upside_down = Counts(np.array([0.1, 0.9]), np.array([100, 100]), np.array([90, 10]))
    assert fit(Method.PLATT, upside_down).map == IDENTITY
    assert "rarer where its probability is higher" in fit(Method.PLATT, upside_down).note
    assert fit(Method.TEMPERATURE, upside_down).note.startswith("its temperature is at the largest")
    separated = Counts(np.array([0.4, 0.6]), np.array([100, 100]), np.array([0, 100]))
    assert fit(Method.TEMPERATURE, separated).note.startswith("its temperature is at the smallest")
    level = fit(Method.ISOTONIC, upside_down).map
    np.testing.assert_allclose(level.apply(np.array([0.05, 0.5, 0.95])), 0.5, atol=0.01)


def test_separated_voxels_do_not_make_platt_certain():
    separated = Counts(np.array([0.4, 0.6]), np.array([100, 100]), np.array([0, 100]))
    found = fit(Method.PLATT, separated).map
    np.testing.assert_allclose(found.apply(np.array([0.4, 0.6])), [1 / 102, 101 / 102], atol=1e-6)


def test_likelihood_by_hand():
    counts = Counts(np.array([0.25, 0.5]), np.array([3, 1]), np.array([1, 1]))
    expected = -(np.log(0.25) + 2 * np.log(0.75) + np.log(0.5)) / 4
    assert negative_log_likelihood(counts, counts.probability) == pytest.approx(expected)
    assert np.isinf(negative_log_likelihood(counts, np.array([0.0, 1.0])))
    assert np.isnan(negative_log_likelihood(Counts(np.array([0.5]), np.array([0]), np.array([0])), np.array([0.5])))
