"""What a threshold flags, against counting voxels one by one and against QU-BraTS as the evaluation has it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.discrimination import QUBraTS
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Region, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.discrimination import filter_curves
from napari_uncseg.review.threshold_sweep import sweep_thresholds, value_histogram
from napari_uncseg.review.watershed import STEPS

SHAPE = (4, 3, 5)
LABELS = arrays(np.uint8, SHAPE, elements=st.integers(0, 3))
UNC = MapName("unc_output")


def prediction_of(values, labels=None):
    return Prediction(
        study_id="s",
        probabilities=np.zeros((3, *SHAPE), np.float32),
        segmentation=np.zeros(SHAPE, np.uint8) if labels is None else labels,
        maps={"unc_output": values},
        affine=np.diag([2.0, 2.0, 2.5, 1.0]),
    )


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    LABELS,
    LABELS,
    arrays(bool, SHAPE),
    st.integers(1, STEPS),
)
def test_counts_are_exact_at_every_step(values, labels, reference, within, step):
    sweep = sweep_thresholds(prediction_of(values, labels), UNC, within, reference)
    flagged = (values >= np.float32(sweep.thresholds[step])) & within
    wrong = ((labels > 0) ^ (reference > 0)) & within
    assert sweep.volume_ml(step) == pytest.approx(flagged.sum() * 0.01)
    tumour = (labels > 0) & within
    if tumour.any():
        assert sweep.tumour_share(step) == pytest.approx(flagged[tumour].mean())
    if wrong.any():
        assert sweep.errors_caught(step) == pytest.approx(flagged[wrong].mean())
    if flagged.any():
        assert sweep.precision(step) == pytest.approx(wrong[flagged].mean())
    left = within & ~flagged
    both, either = (labels > 0) & (reference > 0) & left, ((labels > 0).astype(int) + (reference > 0))[left].sum()
    assert sweep.filtered_dice()[step] == pytest.approx(2 * both.sum() / either if either else 1.0)


def test_filtered_dice_is_that_of_qubrats():
    generator = np.random.default_rng(3)
    shape = (12, 12, 12)
    reference = generator.integers(0, 4, shape).astype(np.uint8)
    labels = np.where(generator.random(shape) < 0.8, reference, 0).astype(np.uint8)
    # Values between the thresholds, so that "at" and "above" are the same.
    values = ((generator.integers(0, 40, shape) + 0.5) / 40).astype(np.float32)
    prediction = dataclasses.replace(prediction_of(values, labels), probabilities=np.zeros((3, *shape), np.float32))
    ours = sweep_thresholds(prediction, UNC, None, reference).filtered_dice()
    case = case_from_arrays(labels, reference, maps={"unc_output": values})
    theirs = filter_curves(QUBraTS("unc_output", Region.WT).measure(case))["dice"]
    assert ours[:: STEPS // 40][1:-1] == pytest.approx(theirs[1:-1])


def test_a_region_is_judged_by_its_own_voxels(tiny_study, tiny_prediction):
    sweep = sweep_thresholds(tiny_prediction, MapName("entropy", Region.ET), None, tiny_study.reference)
    predicted, true = (region_masks(labels)[2] for labels in (tiny_prediction.segmentation, tiny_study.reference))
    assert sweep.dice == pytest.approx(2 * (predicted & true).sum() / (predicted.sum() + true.sum()))
    assert sweep.thresholds[-1] == pytest.approx(np.log(2))


def test_values_on_a_threshold_are_flagged():
    values = np.linspace(0, 1, STEPS + 1, dtype=np.float32)[: np.prod(SHAPE)].reshape(SHAPE)
    sweep = sweep_thresholds(prediction_of(values), UNC)
    assert sweep.voxels[:60].tolist() == list(range(60, 0, -1))


def test_what_is_undefined_is_nan(tiny_prediction):
    empty = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    sweep = sweep_thresholds(empty, MapName("entropy"))
    assert np.isnan(sweep.tumour_share(3))
    assert np.isnan([sweep.errors_caught(3), sweep.precision(3), sweep.dice]).all()
    assert np.isnan(sweep.filtered_dice()).all()
    assert sweep.step(-1) == 0
    assert sweep.step(9) == STEPS


def test_the_histogram_leaves_out_what_is_nearly_zero():
    values = np.array([0, 0.001, 0.5, 0.505, 1.0], dtype=np.float32)
    counts = value_histogram(values, 1.0, 10)
    assert counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 1]
