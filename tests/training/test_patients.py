"""Tables of the release network on patients it never saw, from an evaluation and what results say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_uncseg.evaluation.expected_dice import review
from napari_uncseg.labels import REGIONS
from uncseg_training.experiments import patients

NAMES = [f"P{number:02d}" for number in range(20)]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "RESAMPLES", 100)


@pytest.fixture
def told() -> pd.DataFrame:
    """Twenty patients, those below a Dice of 0.6 marked."""
    rows = {}
    for name, true in zip(NAMES, np.linspace(0.4, 0.95, 20), strict=True):
        row = {("reasons", "WT"): ["low_expected_dice"] if true < 0.6 else []}
        for region in REGIONS:
            row |= {(what, str(region)): value for what, value in (("dice", true), ("volume", 9.0), ("value", true))}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def evaluation(shift: float = 0.0) -> pd.DataFrame:
    rows = []
    for number, name in enumerate(NAMES):
        for region in map(str, REGIONS):
            volume = 0.5 if region == "ET" and number < 5 else 10.0 + number
            values = {"dice": 0.6 + number / 100 + shift, "lesionwise_2023_dice": 0.5, "hd95": 4.0}
            for metric, value in (values | {"volume_reference": volume}).items():
                rows.append({"case": name, "metric": metric, "region": region, "voxel_set": "all", "value": value})
    return pd.DataFrame(rows)


def forecast_table(told: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, row in told.iterrows():
        for region in map(str, REGIONS):
            true = row["dice", region]
            values = {"dice_any_size": true, "volume_prediction": row["volume", region], "expected_dice": true - 0.02}
            values |= {"expected_dice_low": true - 0.05, "expected_dice_high": true + 0.05}
            for metric, value in values.items():
                rows.append({"case": name, "metric": metric, "region": region, "map": "", "value": value})
    return pd.DataFrame(rows).assign(aggregation="case")


def test_expected_dice_is_told_region_by_region(told: pd.DataFrame) -> None:
    whole, *_ = patients.expected_dice_rows(forecast_table(told))
    assert whole["Spearman"]["mean"] == 1
    assert whole["mean absolute error"]["mean"] == pytest.approx(0.02)
    assert whole["held"]["mean"] == 1


def test_review_names_whom_it_lets_through(told: pd.DataFrame) -> None:
    found = review(forecast_table(told), told["reasons", "WT"], None, 50)
    assert found is not None
    row = patients.review_row(found)
    dice = told["dice", "WT"]
    assert row["marked"] == f"{(dice < 0.6).sum()} of 20"
    assert row["let through"].split(", ") == list(told.index[(dice < 0.7) & (dice >= 0.6)])
    assert row["of those below 0.7"]["mean"] == pytest.approx((dice < 0.6).sum() / (dice < 0.7).sum(), abs=1e-4)


def test_groups_of_patients_and_the_gain_over_another_network(told: pd.DataFrame) -> None:
    folds = {name: number % 5 for number, name in enumerate(NAMES)}
    rows = {row["patients"]: row for row in patients.dice_rows(evaluation(), folds, evaluation(-0.1))}
    assert {name: row["n"] for name, row in rows.items() if "ET" in name} == {"ET of 1 mL or more": 15, "less ET": 5}
    assert rows["folds by which nothing was chosen"]["n"] == 16
    assert [rows[f"{size} tumours"]["n"] for size in ("small", "medium", "large")] == [7, 6, 7]
    assert rows["all folds"]["gain WT"]["mean"] == pytest.approx(0.1)
    assert rows["all folds"]["WT"]["mean"] == pytest.approx(np.mean([0.6 + number / 100 for number in range(20)]))


def test_patients_below_one_half_are_listed(told: pd.DataFrame) -> None:
    rows = patients.low_rows(told, dict.fromkeys(NAMES, 3))
    assert [row["patient"] for row in rows] == list(told.index[told["dice", "WT"] < 0.5])
    assert {row["needs review"] for row in rows} == {"yes"}


def test_an_evaluation_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no"):
        patients.read_evaluation(tmp_path)
