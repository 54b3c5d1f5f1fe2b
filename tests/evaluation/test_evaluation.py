"""Cases evaluated in memory: which metrics are measured, and how their values are found and written."""

from __future__ import annotations

import csv
import doctest
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation import Case, Discrimination, Overlap, Region, VoxelSet, case_from_arrays, evaluate
from napari_uncseg.evaluation.evaluation import MEANINGS, default_metrics, entry_of, metric_of_key, metrics_for
from napari_uncseg.evaluation.table import COLUMNS, select
from napari_uncseg.uncertainty.expected_dice import Estimate


def test_default_metrics_cover_regions_maps_and_voxel_sets(case: Case):
    found = evaluate(case)
    for region in Region:
        assert len(found.select(metric="dice_any_size", region=region))
        for voxels in (VoxelSet.BRAIN, VoxelSet.TUMOUR):
            assert len(found.select(metric="auroc", region=region, map="entropy", voxel_set=voxels))
            assert len(found.select(metric="ece_classwise", region=region, voxel_set=voxels))
    assert len(found.select(metric="error_ece", map="unc_output", region=Region.WT))
    assert not len(found.select(map="unc_output", region=Region.TC))
    # Whatever is measured is explained, and nothing else.
    told = evaluate(replace(case, expected_dice=dict.fromkeys(Region, Estimate(0.8, 0.7, 0.9))))
    assert set(map(entry_of, told.table["metric"].unique())) == set(MEANINGS)


def test_the_documentation_explains_the_numbers_as_the_report_does():
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
    assert "\n".join(rows) in page
    with pytest.raises(KeyError):
        entry_of("magic")


def test_a_plain_segmentation_is_measured_by_overlap_alone(case: Case):
    plain = replace(case, probabilities=None, maps={})
    kinds = {metric.name for metric in metrics_for(plain)}
    assert kinds == {"overlap", "lesionwise_2023"}


def test_nothing_is_measured_over_a_brain_that_is_not_known(case: Case):
    unknown = (replace(case, brain=np.zeros_like(case.brain)), replace(case, brain_known=False))
    for without in unknown:
        metrics = metrics_for(without)
        assert all(getattr(metric, "voxel_set", None) is not VoxelSet.BRAIN for metric in metrics)
        assert "qubrats" not in {metric.name for metric in metrics}


def test_cases_with_other_maps_are_evaluated_together(cases: list[Case]):
    plain = replace(cases[1], probabilities=None, maps={})
    found = evaluate([cases[0], plain])
    assert found.value("dice_any_size", region=Region.WT, aggregation="mean").count == 2
    auroc = found.value("auroc", region=Region.WT, map="entropy", voxel_set=VoxelSet.TUMOUR, aggregation="mean")
    assert auroc.count == 1


@pytest.mark.parametrize(
    "cases_of", [lambda case: [], lambda case: [case, case], lambda case: case.reference, lambda case: 1]
)
def test_no_case_and_the_same_case_twice_are_refused(case: Case, cases_of):
    with pytest.raises(EvaluationError):
        evaluate(cases_of(case), metrics=[Overlap(Region.WT)])


def test_value_says_what_is_missing(case: Case):
    with pytest.raises(EvaluationError, match=r"dice_any_size.*TC"):
        evaluate(case, metrics=[Overlap(Region.WT)]).value("dice_any_size", region=Region.TC)


def test_select_tells_none_from_anything(case: Case):
    table = evaluate(case, metrics=[Overlap(Region.WT), Discrimination("entropy")]).table
    assert set(select(table, map=None)["metric"]) >= {"dice", "hd95"}
    assert set(select(table, map="entropy")["map"]) == {"entropy"}
    assert select(table).equals(table)


def test_csv_is_long_and_tells_undefined_numbers(tmp_path):
    empty = np.zeros((6, 6, 6), dtype=np.uint8)
    path = tmp_path / "metrics.csv"
    evaluate(case_from_arrays(empty, empty, id="a, b")).to_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["case"] == "a, b"
    undefined = [row for row in rows if row["metric"] == "dice" and row["aggregation"] == "case"]
    assert {row["value"] for row in undefined} == {"nan"}
    assert all("below 1 mL" in row["undefined"] for row in undefined)


@pytest.mark.parametrize(
    "metric", default_metrics(("entropy", "variance", "unc_output", "mine")), ids=lambda metric: metric.key
)
def test_every_metric_is_found_again_by_its_key(metric):
    again = metric_of_key(metric.key)
    assert type(again) is type(metric)
    assert again.settings() == metric.settings()


@pytest.mark.parametrize("key", ["", "{}", "[]", '{"metric": "magic"}', '{"metric": "overlap", "depth": 3}'])
def test_foreign_keys_are_refused(key):
    with pytest.raises(EvaluationError):
        metric_of_key(key)


def test_the_examples_of_the_documentation_run():
    page = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 15
    assert result.failed == 0


def test_the_example_of_evaluate_runs():
    result = doctest.testmod(sys.modules["napari_uncseg.evaluation.evaluation"])
    assert result.attempted > 0
    assert result.failed == 0
