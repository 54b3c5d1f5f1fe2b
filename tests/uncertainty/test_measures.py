"""Entropy, p(1-p) and failure: hand-computed values and what holds for every probability, in numpy and torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.uncertainty.measures import bernoulli_variance, compute_prediction_failure, entropy

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


#                      agree  FP  FN  NCR for ET  ED for ET  agree
PREDICTION = np.array([0, 2, 0, 1, 2, 3], np.uint8).reshape(6, 1, 1)
REFERENCE = np.array([0, 0, 3, 3, 3, 3], np.uint8).reshape(6, 1, 1)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_each_reading_of_failure(convert):
    def failure(kind):
        return np.asarray(compute_prediction_failure(convert(PREDICTION), convert(REFERENCE), kind))

    assert failure("wt").ravel().tolist() == [False, True, True, False, False, False]
    assert failure("any_region").ravel().tolist() == [False, True, True, True, True, False]
    per_region = failure("per_region")
    assert per_region.shape == (3, 6, 1, 1)
    assert per_region.reshape(3, 6).astype(int).tolist() == [
        [0, 1, 1, 0, 0, 0],  # WT
        [0, 0, 1, 0, 1, 0],  # TC
        [0, 0, 1, 1, 1, 0],  # ET
    ]


def test_default_is_the_whole_tumour_and_torch_stays_torch():
    result = compute_prediction_failure(torch.from_numpy(PREDICTION), torch.from_numpy(REFERENCE))
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.bool
    assert int(result.sum()) == 2


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        compute_prediction_failure(PREDICTION, REFERENCE[:3])
    with pytest.raises(ValueError, match="none of"):
        compute_prediction_failure(PREDICTION, REFERENCE, "tumour")
