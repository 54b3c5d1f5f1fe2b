"""Tables of the release network on patients it never saw, from an evaluation and what results say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_uncseg.labels import REGIONS
from uncseg_training.experiments import patients

NAMES = [f"P{number:02d}" for number in range(20)]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "RESAMPLES", 100)


@pytest.fixture
def told() -> pd.DataFrame:
    """Twenty patients whose Dice is told within 0.02, and whose entropy tells nothing."""
    random = np.random.default_rng(2)
    dice = np.linspace(0.4, 0.95, 20)
    rows = {}
    noises, triages, volumes = random.normal(0, 0.02, 20), random.uniform(0, 0.6, 20), random.uniform(5, 90, 20)
    for name, true, noise, triage, volume in zip(NAMES, dice, noises, triages, volumes, strict=True):
        row = {("triage", "WT"): triage, ("review", "WT"): true < 0.6}
        for region in REGIONS:
            row |= {("dice", str(region)): true, ("volume", str(region)): volume, ("value", str(region)): true + noise}
            row |= {("low", str(region)): true - 0.05, ("high", str(region)): true + 0.05}
        rows[name] = row
    rows["P10"]["low", "WT"] = rows["P10"]["dice", "WT"] + 0.01
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


def test_expected_dice_that_orders_patients_beats_entropy(told: pd.DataFrame) -> None:
    whole, *_ = patients.expected_dice_rows(told)
    assert whole["Spearman"]["mean"] > 0.97
    assert whole["over entropy"]["low"] > 0
    assert whole["mean absolute error"]["mean"] < 0.03 < whole["of the mean"]["mean"]
    assert whole["held"]["mean"] == pytest.approx(19 / 20)
    assert whole["held"]["low"] < 0.9 < whole["held"]["high"]


def test_a_study_without_a_tumour_is_ordered_last(told: pd.DataFrame) -> None:
    told["triage", "WT"] = 1 - told["dice", "WT"]
    told.loc["P00", ("triage", "WT")] = None
    (row, *_) = patients.expected_dice_rows(told)
    assert row["over entropy"]["mean"] < 0.05


def test_review_names_whom_it_lets_through(told: pd.DataFrame) -> None:
    row = patients.review_row(told)
    poor = told["dice", "WT"] < patients.POOR
    assert row["marked"] == f"{int(told['review', 'WT'].sum())} of 20"
    assert row["let through"].split(", ") == list(told.index[poor & (told["dice", "WT"] >= 0.6)])
    assert row["of those below 0.7"]["mean"] == pytest.approx(float((told["dice", "WT"] < 0.6).sum() / poor.sum()))
    well = patients.review_row(told[~poor])
    assert (well["of those below 0.7"]["mean"], well["let through"]) == (None, "")


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
