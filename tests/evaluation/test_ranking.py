"""Scores per study against Dice: rankings and strata of made-up values with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_uncseg.evaluation.ranking import rankings, scores_of, stratify
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.labels import Region


def values_of(scores, dice, volumes, region=Region.WT, prefix="s"):
    """Values of single studies."""
    values = []
    for number, (score, quality, volume) in enumerate(zip(scores, dice, volumes, strict=True)):
        case = f"{prefix}{number}"
        values.append(MetricResult("mean_tumour", score, "case", case, region, "entropy"))
        values.append(MetricResult("volume_confounder", volume, "case", case, region, "entropy", unit="mL"))
        values.append(MetricResult("dice", quality, "case", case, region))
    return to_frame(values)


def test_a_perfect_score_has_no_excess():
    dice = np.linspace(0.4, 0.95, 12)
    (found,) = rankings(values_of(1 - dice, dice, np.arange(12) % 5 + 1.0))
    assert found.e_aurc == pytest.approx(0)
    assert found.spearman_dice == pytest.approx(-1)
    assert [one.auroc for one in found.triage] == [1.0, 1.0]
    assert found.left_out == 0


def test_an_empty_prediction_comes_first_and_undefined_studies_are_counted():
    scores, dice = [0.1, math.nan, 0.2, math.nan], [0.9, 0.0, 0.8, 0.7]
    values = values_of(scores, dice, [10.0, 0.0, 12.0, 9.0])
    assert scores_of(values, "entropy", Region.WT).to_dict() == {"s0": 0.1, "s1": math.inf, "s2": 0.2}
    (found,) = rankings(values)
    assert found.studies == ("s0", "s1", "s2")
    assert found.left_out == 1
    assert found.e_aurc == pytest.approx(0)


def test_too_few_studies_are_not_ranked():
    assert rankings(values_of([0.1, 0.2], [0.9, 0.8], [1.0, 2.0])) == []
    assert stratify(values_of([0.1, 0.2], [0.9, 0.8], [1.0, 2.0])) == []


def test_strata_split_at_the_median_of_calibration_studies():
    dice = np.linspace(0.95, 0.4, 10)
    values = values_of(np.arange(10.0), dice, np.ones(10))
    (own,) = stratify(values, resamples=50)
    assert (own.in_sample, own.threshold, len(own.below), len(own.above)) == (True, 4.5, 5, 5)
    calibration = values_of([1.0, 2.0, 3.0], [0.9, 0.9, 0.9], np.ones(3), prefix="c")
    (fixed,) = stratify(values, calibration, resamples=50)
    assert (fixed.in_sample, fixed.threshold, len(fixed.below), len(fixed.above)) == (False, 2.0, 3, 7)
    assert fixed.test.cliffs_delta == pytest.approx(1)
    assert fixed.p_holm == pytest.approx(fixed.test.p_value)


def test_with_many_empty_predictions_these_are_the_unsure_half():
    scores = [0.1, 0.2, math.nan, math.nan, math.nan]
    (found,) = stratify(values_of(scores, [0.9, 0.8, 0.0, 0.0, 0.0], [5.0, 5.0, 0.0, 0.0, 0.0]), resamples=50)
    assert math.isinf(found.threshold)
    assert found.below.tolist() == [0.9, 0.8]
    assert len(found.above) == 3
