"""Volumes above a threshold, against counting them one by one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_uncseg.study.prediction import Prediction
from napari_uncseg.view.flagged import STEPS, count_flagged

SHAPE = (4, 3, 5)


def prediction_of(values, labels=None):
    return Prediction(
        study_id="s",
        probabilities=np.zeros((3, *SHAPE), np.float32),
        segmentation=np.zeros(SHAPE, np.uint8) if labels is None else labels,
        maps={"unc_output": values},
        affine=np.diag([2.0, 2.0, 2.5, 1.0]),
    )


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    arrays(np.uint8, SHAPE, elements=st.integers(0, 3)),
    st.integers(0, STEPS),
)
def test_counts_are_exact_at_every_step(values, labels, step):
    flagged = count_flagged(prediction_of(values, labels), "unc_output")
    threshold = np.float32(flagged.thresholds[step])
    assert flagged.volume_ml(step) == pytest.approx((values >= threshold).sum() * 0.01)
    tumour = labels > 0
    if tumour.any():
        assert flagged.tumour_share(step) == pytest.approx((values[tumour] >= threshold).mean())


def test_values_on_a_threshold_are_flagged():
    values = np.linspace(0, 1, STEPS + 1, dtype=np.float32)[: np.prod(SHAPE)].reshape(SHAPE)
    flagged = count_flagged(prediction_of(values), "unc_output")
    assert flagged.voxels[:60].tolist() == list(range(60, 0, -1))


def test_share_is_undefined_without_a_tumour(tiny_prediction):
    empty = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    assert np.isnan(count_flagged(empty, "entropy").tumour_share(3))
