"""Maps of a probability: identity, order, range, the two libraries, and what files may hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from napari_uncseg.uncertainty.recalibration.models import (
    IDENTITY,
    SMALLEST,
    STEPS,
    Isotonic,
    Platt,
    Temperature,
    step_probabilities,
    steps_of,
)

levels = st.floats(1e-6, 1 - 1e-6)
temperatures = st.builds(Temperature, st.floats(0.05, 20))
platts = st.builds(Platt, st.floats(0.05, 20), st.floats(-8, 8))
isotonics = st.integers(2, 12).flatmap(
    lambda n: st.builds(
        lambda x, y: Isotonic(tuple(zip(sorted(x), sorted(y), strict=True))),
        st.lists(st.integers(1, STEPS - 1).map(lambda step: step / STEPS), min_size=n, max_size=n, unique=True),
        st.lists(levels, min_size=n, max_size=n),
    )
)
maps = temperatures | platts | isotonics
arrays = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60).map(lambda p: np.array(p, dtype=np.float32))


@given(maps, arrays)
def test_never_falls_and_stays_a_probability(change, p):
    q = change.apply(np.sort(p))
    assert q.dtype == np.float32
    assert ((q >= 0) & (q <= 1)).all()
    assert (np.diff(q) >= -2e-7).all(), "but for the rounding of float32"
    assert (q[np.sort(p) == 0] == 0).all()


@given(maps, arrays)
def test_numpy_and_torch_agree(change, p):
    q = change.apply(torch.from_numpy(p))
    assert isinstance(q, torch.Tensor)
    assert q.dtype == torch.float32
    np.testing.assert_allclose(q.numpy(), change.apply(p), atol=5e-7)


@given(arrays)
def test_temperature_of_one_changes_nothing_that_a_file_could_tell(p):
    q = IDENTITY.apply(p)
    assert np.abs(q - p).max() <= SMALLEST + 2e-7


def test_temperature_of_one_changes_no_step_of_a_file():
    steps = steps_of(IDENTITY.apply(step_probabilities().astype(np.float32)))
    np.testing.assert_array_equal(steps, np.arange(STEPS + 1))


@given(temperatures, arrays)
def test_temperature_keeps_the_side_of_one_half(change, p):
    q = change.apply(p)
    assert (q[p > 0.5] >= 0.5).all()
    assert (q[p < 0.5] <= 0.5).all()
    assert change.apply(np.array([0.5]))[0] == 0.5


@given(temperatures | platts, st.lists(st.floats(1e-4, 1 - 1e-4), min_size=1, max_size=30))
def test_is_the_formula(change, p):
    p = np.array(p)
    a, b = (1 / change.temperature, 0.0) if isinstance(change, Temperature) else (change.slope, change.intercept)
    np.testing.assert_allclose(change.apply(p), expit(a * logit(p) + b), rtol=1e-12, atol=1e-300)


def test_platt_without_intercept_is_a_temperature():
    p = np.linspace(0, 1, 101, dtype=np.float32)
    np.testing.assert_allclose(Platt(0.4, 0.0).apply(p), Temperature(2.5).apply(p), atol=1e-6)


def test_isotonic_is_linear_between_its_knots_and_level_beyond():
    change = Isotonic(((0.2, 0.1), (0.4, 0.1), (0.5, 0.6)))
    p = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(change.apply(p), [0, 0.1, 0.1, 0.1, 0.1, 0.35, 0.6, 0.6, 0.6], atol=1e-12)


def test_below_half_a_step_all_is_one_but_zero_itself():
    q = Platt(1.0, 2.0).apply(np.array([0.0, 1e-30, 1e-9, SMALLEST], dtype=np.float32))
    assert q[0] == 0
    assert q[1] == q[2] == pytest.approx(q[3], rel=1e-5)
    assert q[1] == pytest.approx(float(expit(logit(SMALLEST) + 2)), rel=1e-5)
    assert Temperature(2.0).apply(np.float32(1.0)) == pytest.approx(float(expit(logit(1 - SMALLEST) / 2)), abs=1e-6)


def test_what_is_no_number_stays_none():
    for change in (Temperature(1.3), Platt(0.7, 1.0), Isotonic(((0.2, 0.3), (0.7, 0.8)))):
        assert np.isnan(change.apply(np.array([0.2, np.nan]))).tolist() == [False, True]


def test_steps_are_those_of_a_file(tmp_path):
    from napari_uncseg.io.nifti import read_volume, write_volume

    p = np.random.default_rng(0).random((8, 9, 10)).astype(np.float32)
    p.flat[:4] = 0, 1, SMALLEST * 0.99, 1 - SMALLEST / 2
    write_volume(tmp_path / "p.nii.gz", p, np.eye(4), upper=1.0)
    volume = read_volume(tmp_path / "p.nii.gz")
    np.testing.assert_array_equal(steps_of(volume.values()), volume.data)
    assert (np.abs(steps_of(p).astype(int) - volume.data) <= 1).all()
    np.testing.assert_allclose(step_probabilities()[volume.data], volume.values(), atol=2e-7)
