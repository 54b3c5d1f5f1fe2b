"""Entropy and p(1-p): hand-computed values and what holds for every probability, in numpy and torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy

probabilities = st.floats(0.0, 1.0, width=64)


def test_hand_computed_values():
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(entropy(p), [0, 0.325082973, math.log(2), 0.325082973, 0], atol=1e-9)
    np.testing.assert_allclose(bernoulli_variance(p), [0, 0.09, 0.25, 0.09, 0], atol=1e-12)


@settings(deadline=None)
@given(probabilities)
def test_entropy_is_symmetric_and_bounded(p):
    value, mirrored = entropy(np.array([p, 1 - p]))
    assert value == pytest.approx(mirrored, abs=1e-9)
    assert 0 <= value <= math.log(2) + 1e-12


@settings(deadline=None)
@given(probabilities, probabilities)
def test_variance_orders_voxels_as_entropy_does(p, q):
    h, v = entropy(np.array([p, q])), bernoulli_variance(np.array([p, q]))
    if v[0] > v[1] + 1e-9:
        assert h[0] > h[1]


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=20))
def test_numpy_and_torch_agree(values):
    p = np.array(values, dtype=np.float32)
    for formula in (entropy, bernoulli_variance):
        of_numpy, of_torch = formula(p), formula(torch.from_numpy(p))
        assert isinstance(of_torch, torch.Tensor)
        assert of_numpy.dtype == np.float32
        np.testing.assert_allclose(of_numpy, of_torch.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("half", [np.array([0.0, 1e-4, 1.0], np.float16), torch.tensor([0.0, 1e-4, 1.0]).bfloat16()])
def test_half_precision_is_computed_in_float32(half):
    value = entropy(half)
    assert str(value.dtype).endswith("float32")
    assert np.isfinite(np.asarray(value)).all()
    assert 0 < float(value[1]) < 2e-3


def test_rounding_beyond_the_bounds_is_clipped_and_nan_is_not_hidden():
    value = entropy(np.array([1 + 1e-7, -1e-7, np.nan]))
    assert value[:2].tolist() == [0, 0]
    assert np.isnan(value[2])


def test_small_probabilities_keep_their_entropy_in_float32():
    assert float(entropy(np.array([1e-9], np.float32))[0]) == pytest.approx(1e-9 * (1 + 9 * math.log(10)), rel=1e-5)
