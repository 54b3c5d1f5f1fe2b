"""The case study: its tables by hand, from made-up records, and a small run from end to end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.recalibration import ProbabilitySteps
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import ece_bound
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.expected_dice import Quality
from napari_uncseg.uncertainty.recalibration.models import STEPS
from tests.training.conftest import run
from uncseg_training.data.cases import write_phantom_cases
from uncseg_training.experiments import case_study
from uncseg_training.experiments.case_study_figures import curve_of
from uncseg_training.experiments.case_study_published import mixed_error, published_rows
from uncseg_training.experiments.case_study_tables import (
    ENTROPY,
    Judged,
    Pair,
    calibration_rows,
    dice_rows,
    entropy_rows,
    holm,
    ranking_rows,
    write_tables,
)
from uncseg_training.experiments.case_study_triage import expected_rows, triage, triage_rows
from uncseg_training.experiments.records import CALIBRATED_SETS, SETS, Record
from uncseg_training.train.config import read_config

NAN = math.nan

Number = tuple[str, Region, str | None, VoxelSet | None]
Voxels = Sequence[tuple[float, int, int]]
"""Probability, voxels and voxels in the region."""

FAIR: Voxels = [(0.6, 1000, 600), (0.4, 1000, 400)]


def record(
    numbers: Mapping[Number, Sequence[float]] | None = None, voxels: Sequence[Voxels] = (FAIR,), prefix: str = "study"
) -> Record:
    """A record of studies with these numbers, and with these voxels in every region and set."""
    values = [
        MetricResult(metric, value, case=f"{prefix}-{place}", region=region, map=name, voxel_set=voxel_set)
        for (metric, region, name, voxel_set), each in (numbers or {}).items()
        for place, value in enumerate(each)
    ]
    steps = {
        (region, voxel_set): ProbabilitySteps(region, voxel_set) for region in REGIONS for voxel_set in CALIBRATED_SETS
    }
    for counted in steps.values():
        for place, study in enumerate(voxels):
            count, true = np.zeros((2, STEPS + 1), np.int64)
            for probability, number, positive in study:
                count[round(probability * STEPS)] += number
                true[round(probability * STEPS)] += positive
            counted.put(f"{prefix}-{place}", {"count": count, "true": true, "found": true})
    return Record(to_frame(values), steps, 1, 1.0)


def pair(deterministic: Record, mc: Record | None = None, calibration: Record | None = None) -> Pair:
    calibration = record(prefix="other") if calibration is None else calibration
    members = ("deterministic", deterministic), ("MC dropout", deterministic if mc is None else mc)
    both = [{"calibration": calibration, "unseen": found} for _, found in members]
    return Pair(*(Judged(parts, ("unseen",), "Net", told) for parts, (told, _) in zip(both, members, strict=True)))


def dice(wt: Sequence[float]) -> dict[Number, Sequence[float]]:
    return {("dice", region, None, VoxelSet.ALL): wt for region in REGIONS}


def test_dice_is_compared_study_by_study() -> None:
    before, after = [0.5, 0.6, 0.7, 0.8, NAN], [0.51, 0.6, 0.7, 0.84, 0.9]
    rows = dice_rows([pair(record(dice(before)), record(dice(after)))])
    assert [row["region"] for row in rows] == ["WT", "TC", "ET"]
    row = rows[0]
    assert (row["studies"], row["deterministic"]["mean"], row["deterministic"]["count"]) == (4, 0.65, 4)
    assert row["difference"]["mean"] == 0.0125
    assert row["difference"]["low"] >= 0
    assert row["largest difference of a study"] == 0.04
    assert row["p (Holm)"] == pytest.approx(min(1, 3 * row["p"]))


def test_ranking_keeps_the_sets_of_voxels_apart() -> None:
    numbers = {
        (metric, Region.ET, ENTROPY, voxels): [base + place / 10, base + place / 10 + 0.02, NAN]
        for metric, base in (("auroc", 0.7), ("auprc", 0.3), ("prevalence", 0.01))
        for place, voxels in enumerate(SETS)
    }
    row = next(each for each in ranking_rows([pair(record(numbers))]) if each["region"] == "ET")
    assert [row[f"AUROC {voxels}"]["mean"] for voxels in SETS] == [0.71, 0.81, 0.91]
    assert [row[f"AUPRC {voxels}"]["mean"] for voxels in SETS] == [0.31, 0.41, 0.51]
    assert row["prevalence brain"] == {"mean": 0.12, "low": None, "high": None, "count": 2}


def test_entropy_is_told_in_nats_and_in_bits() -> None:
    numbers = {
        ("mean_prediction", Region.ET, ENTROPY, VoxelSet.PREDICTION): [0.5, 0.7, NAN],
        ("mean_tumour", Region.ET, ENTROPY, None): [0.2, 0.2, NAN],
        ("mean_brain", Region.ET, ENTROPY, VoxelSet.BRAIN): [0.01, 0.02, 0.03],
    }
    row = next(each for each in entropy_rows([pair(record(numbers))]) if each["region"] == "ET")
    assert row["predicted region, bits"]["mean"] == 0.6
    assert row["predicted region, nats"]["mean"] == round(0.6 * math.log(2), 4)
    assert row["predicted region, nats"]["count"] == 2
    assert row["predicted tumour and 5 mm, nats"]["mean"] == round(0.2 * math.log(2), 4)
    assert row["brain, nats"]["mean"] == round(0.02 * math.log(2), 4)


def test_calibration_before_and_after_and_what_the_dice_allows() -> None:
    studies: list[Voxels] = [[(0.8, 100, 50)], [(0.8, 300, 240)]]
    numbers = {
        ("ece_classwise", Region.ET, None, VoxelSet.UNION): [0.3, 0.9, NAN],
        ("dice_any_size", Region.ET, None, VoxelSet.ALL): [0.5, 0.714, 1.0],
    }
    calibration = record(voxels=[[(0.8, 1000, 600), (0.2, 1000, 400)]], prefix="other")
    judged = pair(record(numbers, studies), calibration=calibration)
    row = next(each for each in calibration_rows([judged]) if each["region"] == "ET")
    assert row["T"] == pytest.approx(math.log(4) / math.log(1.5), abs=1e-3)  # 0.8 becomes 0.6
    for voxels in CALIBRATED_SETS:
        assert row[f"{voxels}, pooled"] == pytest.approx(0.8 - 290 / 400, abs=1e-3)
        assert row[f"{voxels}, pooled, T"] == pytest.approx(290 / 400 - 0.6, abs=1e-3)
        assert row[f"{voxels}, mean"] == pytest.approx(0.15, abs=1e-3)
        assert row[f"{voxels}, mean, T"] == pytest.approx(0.15, abs=1e-3)
    assert row["union, mean"]["mean"] == 0.6
    assert row["Dice there"] == 0.607
    assert row["bound"] == round(ece_bound(0.607), 4)
    assert row["studies above their bound"] == 1  # 0.9, where a Dice of 0.714 allows 0.722


def scored(
    scores: Sequence[float], quality: Sequence[float], volumes: Sequence[float], prefix: str = "study"
) -> Record:
    numbers: dict[Number, Sequence[float]] = {
        ("mean_tumour", Region.WT, ENTROPY, None): scores,
        **{("volume_prediction", region, None, VoxelSet.ALL): volumes for region in REGIONS},
        **dice(quality),
        **{("dice_any_size", region, None, VoxelSet.ALL): quality for region in REGIONS},
    }
    return record(numbers, prefix=prefix)


def test_triage_splits_at_the_calibration_cohort() -> None:
    calibration = scored([0.1, 0.3, 0.5], [0.9, 0.9, 0.9], [5, 5, 5], "other")
    unseen = scored([0.1, 0.2, 0.3, 0.4, 0.6, NAN], [0.9, 0.8, 0.7, 0.5, 0.6, 0.0], [1, 5, 2, 4, 3, 0])
    judged = pair(unseen, calibration=calibration)
    row = triage_rows([judged])[0]
    assert (row["score"], row["threshold"]) == ("mean entropy, nats", round(0.3 * math.log(2), 4))
    assert (row["certain"], row["uncertain"]) == (3, 3)  # nothing predicted is as uncertain as can be
    assert (row["median Dice, certain"], row["median Dice, uncertain"], row["Cliff's delta"]) == (0.8, 0.5, 1.0)
    assert row["Hodges–Lehmann shift"]["mean"] == 0.3
    assert row["Spearman with Dice"] == round(-33 / 35, 4)  # ranks of Dice 6 5 4 2 3 1
    assert row["p (Holm)"] == pytest.approx(2 * row["p"])
    assert triage(pair(scored([0.1, 0.2], [0.9, 0.8], [1, 2]), calibration=calibration).mc) is None
    assert triage_rows([pair(scored([], [], []), calibration=calibration)]) == []


def test_folds_are_scaled_split_and_promised_by_the_other_folds() -> None:
    """Two folds of six: each has the temperature, the threshold and the expected Dice of the other."""
    rng = np.random.default_rng(2)
    parts = {}
    for fold, voxels in (("a", (0.8, 1000, 600)), ("b", (0.8, 1000, 700))):
        true = np.sort(rng.uniform(0.4, 0.95, 6))
        found = scored((1 - true).tolist(), true.tolist(), [5.0] * 6, fold)
        found = replace(found, steps=record(voxels=[[voxels, (0.2, 1000, 1000 - voxels[2])]] * 6, prefix=fold).steps)
        told = {f"{fold}-{place}": Quality(value, value, 5.0) for place, value in enumerate(true)}
        parts[fold] = replace(found, quality={name: dict.fromkeys(REGIONS, each) for name, each in told.items()})
    judged = Judged(parts, ("a", "b"), "Net", "MC dropout")
    of_a, of_b = (math.log(4) / math.log(odds) for odds in (1.5, 7 / 3))
    scale = judged.changes(Region.WT)
    assert [scale[name].content()["temperature"] for name in ("a-0", "b-0")] == pytest.approx([of_b, of_a], abs=1e-3)
    found = triage(judged)
    assert found is not None
    for fold, other in (("a", "b"), ("b", "a")):
        median = float(np.median(parts[other].of("mean_tumour", Region.WT, ENTROPY)))
        assert found.studies.loc[f"{fold}-0", "threshold"] == pytest.approx(median)
    rows = triage_rows([Pair(judged, judged)])
    assert [row["score"] for row in rows[:2]] == ["mean entropy, nats", "1 − expected Dice"]
    assert expected_rows([Pair(judged, judged)])[0]["Spearman"]["mean"] > 0.9
    alone = Judged({"a": parts["a"]}, ("a",), "Net", "MC dropout")
    assert not alone.changes(Region.WT)
    assert triage(alone) is None
    assert calibration_rows([Pair(alone, alone)])[0]["T"] is None


def test_taking_p_for_being_right_comes_close_to_one() -> None:
    voxels: list[Voxels] = [[(0.0, 990, 0), (0.9, 10, 9)]]
    judged = pair(record(voxels=voxels)).mc
    assert mixed_error(judged, Region.ET, VoxelSet.BRAIN) == pytest.approx(0.99, abs=1e-4)


def test_published_figures_stand_beside_ours() -> None:
    numbers = {
        **dice([0.7, 0.728]),
        ("auroc", Region.WT, ENTROPY, VoxelSet.ALL): [0.96, 0.98],
        ("auroc", Region.WT, ENTROPY, VoxelSet.TUMOUR): [0.6, 0.7],
        ("dice_any_size", Region.ET, None, VoxelSet.ALL): [0.7, 0.728],
        ("ece_classwise", Region.ET, None, VoxelSet.UNION): [0.4, 0.5],
    }
    rows = {row["quantity"]: row for row in published_rows([pair(record(numbers))])}
    assert rows["AUROC of entropy, WT, all"]["Net"] == "0.970"
    assert rows["AUROC of entropy, WT, tumour"]["Net"] == "0.650"
    assert rows["AUROC of entropy, WT, brain"]["Net"] == ""
    assert rows["mean Dice ET"]["Net"] == "0.714"
    assert rows["ECE of ET, ET predicted or true, mean"]["Net"] == "0.450"
    bound = rows["largest ECE there that the mean Dice allows"]
    assert (bound["published"], bound["Net"]) == ("0.722 for 0.714", "0.722")
    assert rows["median Dice WT of certain studies"] == {
        "quantity": "median Dice WT of certain studies",
        "published": "0.925",
        "Net": "",
    }


def test_reliability_of_voxels_as_they_are_and_scaled() -> None:
    studies: list[Voxels] = [[(0.75, 100, 50)], [(0.75, 300, 240)]]
    calibration = record(voxels=[[(0.75, 1000, 600), (0.25, 1000, 400)]], prefix="other")  # 0.75 becomes 0.6
    judged = pair(record(voxels=studies), calibration=calibration).mc
    before, after = (curve_of(judged, Region.WT, scaled=scaled) for scaled in (False, True))
    curve, error, cases = before
    assert (curve.counts[11], curve.observed[11]) == (400, pytest.approx(290 / 400))  # 0.733 to 0.8
    assert cases[:, 11].tolist() == pytest.approx([0.5, 0.8])
    assert np.nansum(after[0].counts * after[0].claimed) == pytest.approx(400 * 0.6, abs=0.1)
    assert error == pytest.approx((0.25 + 0.05) / 2, abs=1e-3)


def test_tables_without_rows_are_not_written(tmp_path: Path) -> None:
    write_tables({"dice": dice_rows([pair(record(dice([0.5, 0.6])))]), "triage": []}, tmp_path / "out", "Two studies. ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"dice.csv", "dice.md"}
    told = (tmp_path / "out" / "dice.md").read_text()
    assert told.startswith("Two studies. Dice")
    assert "None" not in told


@pytest.mark.slow
@pytest.mark.parametrize("patients", [False, True])
def test_case_study_writes_every_table_and_figure_and_goes_on(anatomies: Path, tmp_path: Path, patients: bool) -> None:
    out = tmp_path / "out"
    words = ["-o", out, "--config", "smoke", "--anatomies", anatomies]
    if patients:
        write_phantom_cases(anatomies, tmp_path / "cases", read_config("smoke"), 4, seed=8)
        words += ["--cases", tmp_path / "cases"]
    assert "run the same command" in run(case_study.main, *words, "--minutes", 0)
    assert "median Dice WT of certain studies" in run(case_study.main, *words)
    made = out / "case_study"
    written = {path.name for path in made.iterdir()}
    tables = {"dice", "ranking", "entropy", "calibration", "published"}
    assert {f"{name}.{kind}" for name in tables for kind in ("csv", "md")} <= written
    pictures = {f"reliability-{network}{scaled}.png" for network in case_study.NETWORKS for scaled in ("", "-scaled")}
    assert pictures | {"triage.png", "case_study.json"} <= written
    told = json.loads((made / "case_study.json").read_text())
    assert told["studies"] == dict.fromkeys(case_study.NETWORKS, 4 if patients else 3)
    assert str(tmp_path) not in (made / "case_study.json").read_text()
    measured = {path: path.stat().st_mtime_ns for path in out.glob("records/**/*.json")}
    assert len(measured) == 8
    run(case_study.main, *words)
    assert json.loads((made / "case_study.json").read_text()) == told
    assert {path: path.stat().st_mtime_ns for path in measured} == measured


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, math.nan, 0.6]), [1.0, math.nan, 1.0])
    assert holm([]).size == 0
    with pytest.raises(EvaluationError, match=r"outside 0\.\.1"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_keeps_the_order_and_forgets_the_positions(p, shuffle):
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    order = list(range(len(p)))
    shuffle.shuffle(order)
    np.testing.assert_allclose(holm(np.array(p)[order]), adjusted[order])
