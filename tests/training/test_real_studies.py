"""The table of real studies, by hand on a tiny one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from uncseg_training.experiments.real_studies import Overlap, doubt, means, overlaps, told_mean


def cube(*corners: tuple[slice, int]) -> np.ndarray:
    labels = np.zeros((20, 20, 20), np.uint8)
    for place, value in corners:
        labels[place, 5:15, 5:15] = value
    return labels


def made(reference: np.ndarray | None, predicted: np.ndarray) -> tuple[Study, Prediction]:
    brain = np.ones((20, 20, 20), bool)
    study = Study("s", np.zeros((4, 20, 20, 20), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]), brain, reference=reference)
    certain = (predicted > 0).astype(np.float32)
    maps = {"unc_output": 0.25 * certain, "entropy": np.zeros_like(certain)}
    return study, Prediction("s", np.stack([certain] * 3), predicted, maps, study.affine)


def test_overlap_by_hand() -> None:
    reference = cube((slice(5, 15), 2), (slice(8, 10), 1))
    predicted = cube((slice(5, 10), 2), (slice(8, 9), 1))
    study, prediction = made(reference, predicted)
    whole, core, enhancing = overlaps(study, prediction.segmentation)
    assert whole.dice == pytest.approx(2 * 5 / 15)
    assert core.dice == pytest.approx(2 * 1 / 3)
    assert math.isnan(enhancing.dice)
    assert whole.reference_ml == pytest.approx(1000 * 0.008)
    assert whole.predicted_ml == pytest.approx(500 * 0.008)


def test_without_reference_only_the_volume_is_told() -> None:
    study, prediction = made(None, cube((slice(5, 10), 2)))
    whole = overlaps(study, prediction.segmentation)[0]
    assert math.isnan(whole.dice)
    assert whole.predicted_ml == pytest.approx(4.0)
    assert doubt(study, prediction) is None


def test_small_regions_stay_out_of_the_means() -> None:
    rows = [Overlap("a", "WT", 0.5, 10.0, 9.0), Overlap("b", "WT", 0.9, 1.0, 1.0), Overlap("c", "WT", 0.0, 0.9, 3.0)]
    assert means(rows)["WT"] == (pytest.approx(0.7), 2)
    assert math.isnan(means(rows)["ET"][0])


def test_an_interval_is_told_where_there_are_studies_enough() -> None:
    values = list(np.linspace(0.5, 0.95, 10))
    assert told_mean(values[:9]) == "0.700"
    told = told_mean(values)
    assert told.startswith("0.725 [0.6")
    assert told.endswith("]")


def test_doubt_by_hand() -> None:
    reference, predicted = cube((slice(5, 10), 2)), cube((slice(5, 15), 2))
    row = doubt(*made(reference, predicted))
    assert row is not None
    # 5 mm are 2.5 voxels of 2 mm: errors are half of the predicted voxels, which all say 0.25.
    assert row.error_rate == pytest.approx(500 / row.voxels)
    assert row.claimed_rate == pytest.approx(0.25 * 1000 / row.voxels)
    # Errors are 500 of the 1000 voxels at 0.25, none at 0: AUROC counts ties half.
    at_zero = row.voxels - 1000
    assert row.auroc_unc_output == pytest.approx((at_zero + 0.5 * 500) / (row.voxels - 500))
    assert row.auroc_entropy == pytest.approx(0.5)
    study, prediction = made(predicted, predicted)
    right = doubt(study, replace(prediction))
    assert right is not None
    assert math.isnan(right.auroc_entropy)
