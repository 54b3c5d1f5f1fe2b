"""The variances: every reading by hand and against the form with two moments, and the four normalisations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from uncseg_training.data.case_manifest import preprocessing_hash
from uncseg_training.data.normalise import Normalisation, affine_fit, min_max, normalise, squeeze
from uncseg_training.paper1.variance import (
    History,
    Reading,
    VarianceMaps,
    channel_var,
    compute_prediction_variance,
    readings,
    sqdev_1shot,
)

Floats = npt.NDArray[np.floating]

SHAPE = (5, 4, 3)
HASH = preprocessing_hash({})


def history(passes: Floats, decay: float = 0.9, dtype: npt.DTypeLike = np.float64) -> History:
    found = History.none(passes.shape[1:], dtype)
    for probability in passes:
        found = found.visited(probability, decay)
    return found


def corrected(passes: Floats, decay: float) -> Floats:
    """Moving average that begins at 0 and is corrected at the end."""
    weights = decay ** np.arange(len(passes))[::-1]
    return np.asarray(np.tensordot(weights / weights.sum(), passes, 1))


# -- the readings ----------------------------------------------------------------------------------------------------


def test_readings_by_hand() -> None:
    first, second = (np.array(values).reshape(3, 1, 1, 1) for values in ([0.2, 0.2, 0.2], [0.8, 0.5, 0.2]))
    before = History.none((1, 1, 1), np.float64)
    begun = {reading: float(value.item()) for reading, value in readings(first, before, 0.5).items()}
    assert np.isnan(begun.pop(Reading.SQDEV_1SHOT))
    assert begun == pytest.approx(
        {Reading.BERNOULLI_1SHOT: 0.16, Reading.BERNOULLI_EMA: 0.16, Reading.EWVAR: 0, Reading.CHANNEL_VAR: 0}
    )
    # The second visit weighs 0.5 / (1 - 0.25) = 2/3: m = 0.6, S = 1/3 (2/3 0.36) = 0.08.
    after = {k: v.item() for k, v in readings(second, before.visited(first[0], 0.5), 0.5).items()}
    assert after == pytest.approx(
        {
            Reading.BERNOULLI_1SHOT: 0.16,
            Reading.BERNOULLI_EMA: 0.16,
            Reading.EWVAR: 0.08,
            Reading.SQDEV_1SHOT: 0.36,
            Reading.CHANNEL_VAR: 0.06,
        }
    )
    assert set(after) == set(Reading)


PASSES = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(4)), elements=st.floats(0, 1))


@settings(max_examples=60, deadline=None)
@given(passes=PASSES, decay=st.floats(0, 0.999))
def test_welford_is_the_corrected_difference_of_moments(passes: Floats, decay: float) -> None:
    found = history(passes, decay)
    mean = corrected(passes, decay)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.variance, corrected(passes**2, decay) - mean**2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.bernoulli, corrected(passes * (1 - passes), decay), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(passes=PASSES, decay=st.floats(0, 0.999))
def test_the_spread_of_a_coin_falls_apart_into_within_and_between(passes: Floats, decay: float) -> None:
    # m (1 - m) = E[p (1 - p)] + Var[p]
    found = history(passes, decay)
    np.testing.assert_allclose(found.mean * (1 - found.mean), found.bernoulli + found.variance, rtol=0, atol=1e-12)
    assert (found.variance >= 0).all()
    assert (found.variance <= 0.25 + 1e-12).all()


def test_half_precision_keeps_welford_and_loses_the_difference_of_moments() -> None:
    random = np.random.default_rng(1)
    passes = np.clip(random.uniform(0.02, 0.98, 4000) + random.normal(0, 0.02, (60, 4000)), 0, 1)
    exact = history(passes)
    half = History.none((4000,))
    moments = np.zeros((2, 4000), np.float16)
    for number, probability in enumerate(passes, 1):
        half = half.visited(probability)
        stored = (part.astype(np.float16).astype(np.float32) for part in (half.mean, half.variance, half.bernoulli))
        half = History(*stored, half.visits)
        weight = 0.1 / (1 - 0.9**number)
        moments = (moments + weight * (np.stack([probability, probability**2]) - moments)).astype(np.float16)
    naive = moments[1].astype(float) - moments[0].astype(float) ** 2
    wrong, wrong_naive = (
        np.median(np.abs(found - exact.variance) / exact.variance) for found in (half.variance, naive)
    )
    assert wrong < 0.03
    assert wrong_naive > 10 * wrong
    assert (naive < 0).mean() > 0.05
    assert (half.variance >= 0).all()


def test_channel_variance_by_an_independent_form() -> None:
    regions = np.random.default_rng(2).random((3, *SHAPE))
    pairs = sum((regions[a] - regions[b]) ** 2 for a, b in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_allclose(channel_var(regions), pairs / 9, atol=1e-15)
    assert channel_var(np.array([1.0, 1.0, 0.0]).reshape(3, 1, 1, 1)).item() == pytest.approx(2 / 9)


def test_distance_from_the_mean_looks_at_visits_before() -> None:
    passes = np.random.default_rng(3).random((5, *SHAPE))
    np.testing.assert_allclose(
        sqdev_1shot(passes[-1], history(passes[:-1])), (passes[-1] - corrected(passes[:-1], 0.9)) ** 2, atol=1e-12
    )


def test_the_two_of_the_paper() -> None:
    regions = np.random.default_rng(4).random((3, 3, *SHAPE))
    before = history(regions[:2, 0])
    found = compute_prediction_variance(regions[2], before)
    each = readings(regions[2], before)
    np.testing.assert_array_equal(found.variance_stable, each[Reading.EWVAR])
    np.testing.assert_array_equal(found.var1shot, each[Reading.BERNOULLI_1SHOT])
    assert not np.array_equal(found.variance_stable, found.var1shot)
    np.testing.assert_array_equal(found.history.variance, history(regions[:, 0]).variance)
    other = compute_prediction_variance(regions[2], before, stable=Reading.BERNOULLI_EMA, one_shot=Reading.CHANNEL_VAR)
    np.testing.assert_array_equal(other.variance_stable, each[Reading.BERNOULLI_EMA])
    np.testing.assert_array_equal(other.var1shot, each[Reading.CHANNEL_VAR])
    assert before.visits.max() == 2, "the state that was handed in is left as it was"


# -- on disk ---------------------------------------------------------------------------------------------------------


def test_histories_on_disk(tmp_path: Path) -> None:
    passes = np.random.default_rng(5).random((6, *SHAPE)).astype(np.float32)
    maps = VarianceMaps.create(tmp_path, {"A": SHAPE, "B": SHAPE}, HASH)
    for epoch, probability in enumerate(passes):
        maps = VarianceMaps.open(tmp_path, HASH)
        maps.update("A", probability, epoch)
    found, expected = maps.read("A"), history(passes)
    np.testing.assert_allclose(found.mean, expected.mean, atol=2e-3)
    np.testing.assert_allclose(found.variance, expected.variance, atol=1e-3)
    np.testing.assert_allclose(found.bernoulli, expected.bernoulli, atol=1e-3)
    assert (found.visits == 6).all()
    assert maps.read("B").visits.max() == 0
    box = [(1, 4), (0, 2), (1, 3)]
    maps.update("A", passes[0][1:4, 0:2, 1:3], 6, box)
    assert maps.read("A", box).visits.min() == 7
    assert maps.read("A").visits.sum() == 6 * 60 + 12
    with pytest.raises(ValueError, match="does not fit"):
        maps.update("A", passes[0], 7, box)
    with pytest.raises(ValueError, match="cannot be stored"):
        VarianceMaps.create(tmp_path / "slow", {}, HASH, decay=1.0)


# -- normalisations --------------------------------------------------------------------------------------------------


@pytest.fixture
def maps() -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    random = np.random.default_rng(6)
    error = random.random((7, 6, 5)) ** 2
    return 0.2 * error + 0.02 * random.random(error.shape), error, random.random(error.shape) < 0.4


def test_min_max_looks_into_the_mask_alone(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, _, mask = maps
    variance[np.unravel_index(np.flatnonzero(~mask)[0], mask.shape)] = 9
    scaled = min_max(variance, mask)
    assert scaled[mask].min() == 0
    assert scaled[mask].max() == 1
    assert not scaled[~mask].any()
    np.testing.assert_allclose(scaled[mask], min_max(5 * variance + 3, mask)[mask], atol=1e-12)
    assert not min_max(np.full_like(variance, 0.3), mask).any()
    assert not min_max(variance, np.zeros_like(mask)).any()


def test_squeeze_by_hand() -> None:
    # One voxel of 1 in 3x3x3: means are 1/27 everywhere, for beyond the border is 0 and every window holds the voxel.
    values = np.zeros((3, 3, 3))
    values[1, 1, 1] = 1
    np.testing.assert_allclose(squeeze(values, np.ones((3, 3, 3), bool)), 0.5, atol=1e-12)
    # In a line of 3 the windows of voxels 0 and 1 hold it, that of voxel 2 is at the floor.
    line, mask = np.zeros((3, 1, 1)), np.array([True, False, True]).reshape(3, 1, 1)
    line[0] = 1
    mean = (1 / 27 + 1e-3) / 2
    expected = [1 / (1 + np.exp(-(value - mean))) for value in (1 / 27, 1 / 27, 1e-3)]
    np.testing.assert_allclose(squeeze(line, mask).ravel(), expected, atol=1e-12)


def test_squeeze_is_torchs_average_pooling(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    torch = pytest.importorskip("torch")
    variance, _, mask = maps
    pooled = torch.nn.functional.avg_pool3d(torch.from_numpy(variance)[None, None], 3, 1, 1)[0, 0].clamp(min=1e-3)
    expected = torch.sigmoid(pooled - pooled[torch.from_numpy(mask)].mean()).numpy()
    np.testing.assert_allclose(squeeze(variance, mask), expected, atol=1e-12)


def test_affine_fit_is_least_squares(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, error, mask = maps
    slope, intercept = np.polyfit(variance[mask], error[mask], 1)
    fit = affine_fit(variance, error, mask)
    np.testing.assert_allclose(fit, intercept + slope * variance, atol=1e-10)
    r = np.corrcoef(variance[mask], error[mask])[0, 1]
    distance = np.sqrt(np.mean((fit - error)[mask] ** 2))
    assert distance == pytest.approx(error[mask].std() * np.sqrt(1 - r**2), abs=1e-12)
    np.testing.assert_allclose(affine_fit(-3 * variance + 7, error, mask), fit, atol=1e-10)
    for how in Normalisation:
        other = normalise(variance, how, mask, error)
        assert np.sqrt(np.mean((other - error)[mask] ** 2)) >= distance - 1e-12


def test_affine_fit_leaves_unvisited_voxels_out(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, error, mask = maps
    unknown = error.copy()
    unknown[:3] = np.nan
    seen = mask.copy()
    seen[:3] = False
    np.testing.assert_array_equal(affine_fit(variance, unknown, mask), affine_fit(variance, error, seen))
    np.testing.assert_allclose(affine_fit(np.full_like(variance, 0.1), error, mask), error[mask].mean(), atol=1e-12)


def test_an_empty_mask_has_no_scale(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, error, mask = maps
    nothing = np.zeros_like(mask)
    assert np.isnan(squeeze(variance, nothing)).all()
    assert np.isnan(affine_fit(variance, error, nothing)).all()


@pytest.mark.parametrize("how", ["fixed", "affine"])
def test_scale_does_not_touch_the_correlation(how: str, maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, error, mask = maps
    scaled = normalise(variance, how, mask, error)
    before, after = (np.corrcoef(values[mask], error[mask])[0, 1] for values in (variance, scaled))
    assert before == pytest.approx(after, abs=1e-12)


def test_normalisations_by_name(maps: tuple[Floats, Floats, npt.NDArray[np.bool_]]) -> None:
    variance, error, mask = maps
    np.testing.assert_array_equal(normalise(variance, "fixed", mask, error), 4 * variance)
    np.testing.assert_array_equal(normalise(variance, "min_max", mask, error), min_max(variance, mask))
    np.testing.assert_array_equal(normalise(variance, "squeeze", mask, error), squeeze(variance, mask))
    with pytest.raises(ValueError, match="rank"):
        normalise(variance, "rank", mask, error)
