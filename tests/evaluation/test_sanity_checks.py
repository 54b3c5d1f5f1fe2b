"""Each sanity check: that it fires on what it is for, and stays silent on sound evaluations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.error_models import OUT_OF_FOLD
from napari_uncseg.evaluation.sanity_checks import CohortEvidence, Severity, patient_of, run_checks
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.labels import Region, region_masks
from napari_uncseg.metrics.overlap import better_numbering, confusion, region_dice
from napari_uncseg.metrics.voxel_sets import VoxelSet

GOOD = [[10_000, 20, 60, 20], [30, 900, 10, 40], [80, 10, 3_000, 60], [20, 60, 40, 1_500]]
VOLUMES = {"reference": dict.fromkeys(Region, 5.0), "prediction": dict.fromkeys(Region, 5.0)}


def record(study: str = "a", **fields: Any) -> Record:
    checks = {"confusion": GOOD, "volumes_ml": VOLUMES, "agreement": dict.fromkeys(Region, 1.0)}
    inputs = {"prediction": f"p-{study}", "reference": f"r-{study}"} | fields.pop("inputs", {})
    return Record(study=study, inputs=inputs, brain=fields.pop("brain", "images"), checks=checks | fields)


EXPECTED = [MetricResult("expected_dice", 0.9, "case", "a", Region.WT)]
"""So that nothing is missing from the study a."""


def rules(*records: Record, **evidence: Any) -> dict[str, Severity]:
    """What is told of some studies, less that they are few and without expected Dice."""
    found = run_checks(CohortEvidence(to_frame(evidence.pop("values", ())), records, **evidence))
    return {result.rule: result.severity for result in found if result.rule not in ("few studies", "no expected Dice")}


def ece(value: float, voxels: VoxelSet = VoxelSet.UNION, metric: str = "ece_classwise") -> MetricResult:
    return MetricResult(metric, value, "case", "a", Region.ET, None, voxels, bins=15, count=100)


def auroc(value: float, voxels: VoxelSet, aggregation: str = "mean") -> MetricResult:
    case = "a" if aggregation == "case" else None
    return MetricResult("auroc", value, aggregation, case, Region.WT, "entropy", voxels, bins=4096, count=10)  # type: ignore[arg-type]


def test_a_sound_evaluation_is_left_alone():
    values = [ece(0.1), auroc(0.9, VoxelSet.BRAIN), auroc(0.85, VoxelSet.TUMOUR)]
    assert rules(record(), values=values) == {}


def test_the_published_contradiction_is_found():
    # A Dice of 0.714 on ET bounds the calibration error by 0.722; 0.915 was printed beside it.
    counts = [[1000, 0, 0, 286], [0, 0, 0, 0], [0, 0, 0, 0], [286, 0, 0, 714]]
    assert region_dice(counts)[Region.ET] == pytest.approx(0.714)
    assert rules(record(confusion=counts), values=[ece(0.915)])["impossible ECE"] is Severity.ERROR
    assert "impossible ECE" not in rules(record(confusion=counts), values=[ece(0.72)])
    assert "impossible ECE" not in rules(record(confusion=counts), values=[ece(0.915, VoxelSet.BRAIN)])
    assert "impossible ECE" not in rules(record(confusion=counts), values=[ece(math.nan)])


@pytest.mark.parametrize(("swapped", "words"), [((2, 1, 3), "NCR as ED, ED as NCR"), ((1, 3, 2), "ED as ET, ET as ED")])
def test_labels_that_were_mixed_up_are_found(swapped, words):
    mixed = np.array(GOOD)[:, [0, *swapped]].tolist()
    (result,) = (
        each
        for each in run_checks(CohortEvidence(to_frame([]), [record(confusion=mixed)]))
        if each.rule == "label mix-up"
    )
    assert result.severity is Severity.ERROR
    assert words in result.message


def test_one_mixed_up_study_among_many_is_a_warning():
    mixed = record("odd", confusion=np.array(GOOD)[:, [0, 2, 1, 3]].tolist())
    assert rules(*(record(str(number)) for number in range(6)), mixed)["label mix-up"] is Severity.WARNING


def test_a_poor_segmentation_is_no_mix_up():
    poor = np.array([[10_000, 50, 900, 200], [400, 100, 300, 100], [1500, 200, 600, 300], [500, 150, 300, 200]])
    assert better_numbering(poor)[1] < 0.15
    assert rules(record(confusion=poor.tolist())) == {}


def test_confusion_gives_the_dice_of_the_regions():
    generator = np.random.default_rng(3)
    prediction, reference = generator.integers(0, 4, (2, 7, 8, 9)).astype(np.uint8)
    found = region_dice(confusion(prediction, reference))
    for index, region in enumerate(Region):
        a, b = region_masks(prediction)[index], region_masks(reference)[index]
        assert found[region] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_references_that_are_no_references():
    assert rules(record(inputs={"reference": "p-a"}))["reference is the prediction"] is Severity.ERROR
    empty = record(inputs={"reference": "p-a"}, confusion=np.diag([100, 0, 0, 0]).tolist())
    assert "reference is the prediction" not in rules(empty)
    perfect = np.diag([100, 10, 10, 10]).tolist()
    assert rules(record(confusion=perfect))["identical segmentations"] is Severity.WARNING
    twins = (record("a", inputs={"reference": "r"}), record("b", inputs={"reference": "r"}))
    assert rules(*twins)["one reference twice"] is Severity.ERROR


@pytest.mark.parametrize(
    ("calibration", "severity"),
    [
        ({"BraTS-GLI-00001-000": "x"}, Severity.ERROR),
        ({"other": "r-BraTS-GLI-00001-000"}, Severity.ERROR),
        ({"BraTS-GLI-00001-001": "x"}, Severity.WARNING),
        ({"BraTS-GLI-00002-000": "x"}, None),
        ({}, None),
    ],
)
def test_leakage_between_calibration_and_test(calibration, severity):
    assert rules(record("BraTS-GLI-00001-000"), calibration=calibration).get("leakage") is severity


def test_patients_of_brats_have_visits():
    assert patient_of("BraTS-GLI-00001-001") == patient_of("BraTS-GLI-00001-000")
    assert patient_of("phantom-00001") != patient_of("phantom-00002")


def test_one_class_auroc_is_counted():
    values = [auroc(math.nan, VoxelSet.TUMOUR, "case")]
    assert rules(record(), values=values)["one-class AUROC"] is Severity.NOTE


def test_an_auroc_of_easy_voxels_is_told():
    values = [auroc(0.99, VoxelSet.BRAIN), auroc(0.61, VoxelSet.TUMOUR)]
    assert rules(record(), values=values) == {"all-voxel AUROC": Severity.NOTE}


def test_missing_regions_are_told():
    small = {"reference": {"WT": 5.0, "TC": 0.4, "ET": 0.0}, "prediction": {"WT": 5.0, "TC": 1.0, "ET": 0.5}}
    results = [
        each
        for each in run_checks(CohortEvidence(to_frame([]), [record(volumes_ml=small)]))
        if each.rule == "missing regions"
    ]
    assert len(results) == 2
    assert "smaller than 1 mL in 1 study" in results[0].message
    assert "the prediction finds some in 1 of those without" in results[1].message


def test_other_checks():
    assert rules(record(agreement={"WT": 0.5, "TC": 1.0, "ET": 1.0})) == {
        "segmentation and probabilities": Severity.WARNING
    }
    mixed = (record("a", model={"sha256": "1"}), record("b", model={"sha256": "2"}))
    assert rules(*mixed) == {"mixed predictions": Severity.WARNING}
    folds = [record(name, model={"sha256": name}, settings=OUT_OF_FOLD) for name in "ab"]
    assert rules(*folds) == {}, "the folds of a cross-validation"
    assert rules(record(brain="none")) == {"brain unknown": Severity.NOTE}
    assert rules(record(), unpredicted=["b"]) == {"references without a prediction": Severity.NOTE}


def test_a_score_that_follows_the_volume_is_told():
    def ranked(*rows):
        columns = ("score", "map", "spearman_volume", "spearman_dice", "count")
        return pd.DataFrame(rows, columns=columns).assign(region=Region.WT)

    entropy, leading = ("mean_tumour", "entropy", 0.9, -0.2, 40), ("expected_dice", "", -0.8, -0.9, 40)
    assert rules(record(), rankings=ranked(entropy)) == {"volume confounder": Severity.NOTE}
    assert rules(record(), rankings=ranked(entropy, leading)) == {"volume confounder": Severity.WARNING}
    for silent in (("volume", "", 1.0, -0.5, 40), ("x", "", 0.9, 0, 5), ("x", "", math.nan, 0, 50)):
        assert rules(record(), rankings=ranked(silent)) == {}


def test_a_result_that_tells_no_expected_dice_is_named():
    found = run_checks(CohortEvidence(to_frame(EXPECTED), [record("a"), record("old")]))
    assert {check.rule: check.studies for check in found}["no expected Dice"] == ("old",)


def test_errors_come_first():
    twins = [record("a", inputs={"reference": "r"}, brain="none"), record("b", inputs={"reference": "r"})]
    order = [result.severity for result in run_checks(CohortEvidence(to_frame([]), twins, unpredicted=["c"]))]
    assert order == sorted(order, key=list(Severity).index)
    assert order[0] is Severity.ERROR


def test_few_studies():
    assert [result.rule for result in run_checks(CohortEvidence(to_frame(EXPECTED), [record()]))] == ["few studies"]
    records = [record(str(number)) for number in range(10)]
    values = [MetricResult("expected_dice", 0.9, "case", str(number), Region.WT) for number in range(10)]
    assert run_checks(CohortEvidence(to_frame(values), records)) == []
