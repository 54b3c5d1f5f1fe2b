"""Expected Dice beside the true one: its order, error and intervals, and whom its bound marks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.evaluation import evaluate, metrics_for
from napari_uncseg.evaluation.expected_dice import bound_of, forecasts, review
from napari_uncseg.evaluation.overlap import DiceForecast
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.labels import Region
from napari_uncseg.uncertainty.expected_dice import Estimate


def table_of(dice, expected, entropy, volume, half=0.1):
    rows = []
    for number, (true, value, doubt, ml) in enumerate(zip(dice, expected, entropy, volume, strict=True)):
        told = {"dice_any_size": true, "expected_dice": value, "volume_prediction": ml}
        told |= {"expected_dice_low": value - half, "expected_dice_high": value + half}
        rows += [MetricResult(name, each, "case", f"s{number:02d}", Region.WT) for name, each in told.items()]
        rows.append(MetricResult("mean_tumour", doubt, "case", f"s{number:02d}", Region.WT, "entropy"))
    return to_frame(rows)


@pytest.fixture
def table():
    """Twenty studies whose Dice is told within 0.03, whose entropy and volume tell nothing; one is told badly."""
    random = np.random.default_rng(2)
    dice = np.linspace(0.4, 0.95, 20)
    expected = dice + random.uniform(-0.03, 0.03, 20)
    expected[3] = 0.9
    return table_of(dice, expected, random.uniform(0, 0.6, 20), random.uniform(5, 90, 20))


def test_a_case_tells_its_forecast_beside_the_truth(case):
    assert not [metric for metric in metrics_for(case) if isinstance(metric, DiceForecast)]
    with pytest.raises(EvaluationError):
        DiceForecast(Region.WT).measure(case)
    told = replace(case, expected_dice={Region.WT: Estimate(0.8, 0.5, 0.85)})
    found = evaluate(told)
    value = {name: found.value(f"expected_dice{name}", aggregation="case").value for name in ("", "_low", "_high")}
    assert value == {"": 0.8, "_low": 0.5, "_high": 0.85}


def test_order_error_and_intervals(table):
    (found,) = forecasts(table, 100)
    assert (found.region, found.count) == (Region.WT, 20)
    assert found.spearman.estimate > 0.7
    assert found.over_entropy.low > 0
    assert found.over_volume.low > 0
    assert found.error.estimate < found.error_of_mean.estimate
    assert found.held.estimate == pytest.approx(19 / 20)
    assert found.held.low < 0.9 < found.held.high
    assert found.width == pytest.approx(0.2)
    assert found.constant_width == pytest.approx(0.9 * 0.55, abs=0.01)


def test_a_study_without_a_tumour_is_the_least_certain_by_entropy():
    dice = np.linspace(0.1, 0.9, 8)
    entropy = 1 - dice
    entropy[0] = np.nan
    volume = np.where(dice == dice[0], 0.0, 10 + dice)
    (found,) = forecasts(table_of(dice, dice, entropy, volume), 50)
    assert found.over_entropy.estimate == pytest.approx(0)


def test_the_bound_marks_and_each_study_that_slips_through_is_told(table):
    found = review(table, {}, 0.7, 100)
    assert found is not None
    assert found.share.count == 20
    assert found.slipped_through.index.tolist() == ["s03"]
    assert found.sensitivity.estimate == pytest.approx(1 - 1 / found.sensitivity.count)
    assert found.groups.medians[0] > found.groups.medians[1]


def test_without_a_bound_the_results_say_whom_to_review(table):
    found = review(table, {"s00": ["low_expected_dice"], "s19": ["brain_size"]}, None, 100)
    assert found is not None
    assert found.studies.index[found.studies["marked"]].tolist() == ["s00", "s19"]
    assert found.studies.loc["s19", "reasons"] == ("brain_size",)


def test_a_quarter_of_other_studies_fixes_the_bound(table):
    bound = bound_of(table)
    found = review(table, {}, bound, 100)
    assert found is not None
    assert found.share.estimate == pytest.approx(0.25)


def test_results_that_tell_nothing_are_not_judged(table):
    silent = table[~table["metric"].str.startswith("expected_dice")]
    assert forecasts(silent) == []
    assert review(silent, {}, 0.7) is None
    assert bound_of(silent) is None
