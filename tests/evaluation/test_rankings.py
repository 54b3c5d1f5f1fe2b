"""Scores per study against Dice: rankings of made-up values with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_uncseg.evaluation.expected_dice import rankings, study_scores
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.labels import Region


def values_of(scores, dice, volumes, expected=(), region=Region.WT):
    """Values of single studies."""
    values = []
    for number, (score, quality, volume) in enumerate(zip(scores, dice, volumes, strict=True)):
        case = f"s{number}"
        values.append(MetricResult("mean_tumour", score, "case", case, region, "entropy"))
        values.append(MetricResult("volume_prediction", volume, "case", case, region, unit="mL"))
        values.append(MetricResult("dice_any_size", quality, "case", case, region))
        values += [MetricResult("expected_dice", each, "case", case, region) for each in expected[number : number + 1]]
    return to_frame(values)


def found_of(table):
    return {(row["score"], row["map"]): row for row in rankings(table).to_dict("records")}


def test_a_perfect_score_has_no_excess():
    dice = np.linspace(0.4, 0.95, 12)
    found = found_of(values_of(1 - dice, dice, np.arange(12) % 5 + 1.0))["mean_tumour", "entropy"]
    assert found["e_aurc"] == pytest.approx(0)
    assert found["spearman_dice"] == pytest.approx(-1)
    assert [one.auroc for one in found["triage"]] == [1.0, 1.0]
    assert found["left_out"] == 0


def test_expected_dice_and_volume_stand_beside_the_entropy():
    dice = np.linspace(0.4, 0.95, 12)
    found = found_of(values_of(dice, dice, np.linspace(50, 1, 12), expected=dice[:10]))
    assert list(found) == [("expected_dice", ""), ("mean_tumour", "entropy"), ("volume", "")]
    told = {score: round(row["spearman_dice"]) for (score, _), row in found.items()}
    assert told == {"expected_dice": -1, "mean_tumour": 1, "volume": 1}
    assert (found["expected_dice", ""]["count"], found["expected_dice", ""]["left_out"]) == (10, 2)


def test_an_empty_prediction_comes_first_and_undefined_studies_are_counted():
    scores, dice = [0.1, math.nan, 0.2, math.nan], [0.9, 0.0, 0.8, 0.7]
    values = values_of(scores, dice, [10.0, 0.0, 12.0, 9.0])
    doubt = study_scores(values, Region.WT)["mean_tumour", "entropy"]
    assert doubt.dropna().to_dict() == {"s0": 0.1, "s1": math.inf, "s2": 0.2}
    found = found_of(values)["mean_tumour", "entropy"]
    assert (found["count"], found["left_out"]) == (3, 1)
    assert found["e_aurc"] == pytest.approx(0)


def test_too_few_studies_are_not_ranked():
    assert rankings(values_of([0.1, 0.2], [0.9, 0.8], [1.0, 2.0])).empty
