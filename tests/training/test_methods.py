"""The experiment ``methods``: how a method is judged, and that it goes on where it was cut."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.evaluation.recalibration import ProbabilitySteps
from napari_uncseg.evaluation.table import to_frame
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.recalibration.models import Temperature
from tests.training.conftest import run
from uncseg_training.data.cases import write_phantom_cases
from uncseg_training.experiments import methods
from uncseg_training.experiments.harness import CUT, Clock, Size, TimeOver, alone, is_finished, train_all
from uncseg_training.experiments.judging import calibration_error
from uncseg_training.experiments.networks import ENSEMBLE, config_of, order_of, parts_of, plan_of
from uncseg_training.experiments.records import Record, Source, Task, case_of, metrics_of, record_of, scaled
from uncseg_training.train.config import read_config
from uncseg_training.train.schedule import cycles, learning_rate
from uncseg_training.train.trainer import fit


def cube(study_id: str = "cube") -> tuple[Prediction, Study]:
    """A cube of 4 voxels a side and its prediction, one voxel off, with p = 0.9 and 0.1."""
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[4:8, 4:8, 4:8] = 3
    found = np.roll(reference, 1, axis=0)
    probabilities = np.repeat(np.where(found > 0, 0.9, 0.1).astype(np.float32)[None], 3, axis=0)
    wrong = ((found > 0) ^ (reference > 0)).astype(np.float32)
    entropy = wrong * np.float32(math.log(2))
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    study = Study(study_id, np.ones((4, 12, 12, 12), np.float32), affine, np.ones((12,) * 3, bool), reference=reference)
    prediction = Prediction(
        study_id=study_id, segmentation=found, probabilities=probabilities, maps={"entropy": entropy}, affine=affine
    )
    return prediction, study


def record() -> Record:
    prediction, study = cube()
    case = case_of(prediction, study)
    values = []
    for metric in metrics_of(case):
        metric.add(case)
        values += metric.per_case()
    return Record(to_frame(values), {}, passes=1, seconds=2.0)


def test_a_map_is_judged_by_hand_on_the_scale_of_probabilities() -> None:
    found = record()
    assert found.studies() == ["cube"]
    assert found.of("dice_any_size", Region.WT) == [pytest.approx(0.75)]
    # The map is ln 2 where the prediction fails and 0 elsewhere: 1 and 0 once it is scaled.
    assert found.of("rmsd", Region.WT, scaled("entropy"), VoxelSet.TUMOUR) == [pytest.approx(0, abs=1e-7)]
    for voxels in (VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR):
        assert found.of("auroc", Region.WT, scaled("entropy"), voxels) == [pytest.approx(1)]
    assert math.isnan(found.of("auroc", Region.WT, "unit_variance", VoxelSet.TUMOUR)[0])


def test_what_has_no_reference_is_not_judged() -> None:
    prediction, study = cube()
    without = Study(study.id, study.images, study.affine, study.brain)
    with pytest.raises(ValueError, match="has no reference"):
        case_of(prediction, without)


def test_calibration_error_by_hand() -> None:
    prediction, study = cube()
    metric = ProbabilitySteps(Region.WT, VoxelSet.BRAIN)
    metric.add(case_of(prediction, study))
    found = Record(to_frame([]), {(Region.WT, VoxelSet.BRAIN): metric}, 1, 1.0)
    inside, outside, voxels = 48 / 64, 16, 12**3
    by_hand = (64 * abs(0.9 - inside) + (voxels - 64) * abs(0.1 - outside / (voxels - 64))) / voxels
    assert calibration_error(found, Region.WT, VoxelSet.BRAIN, {}) == pytest.approx((by_hand, by_hand), abs=1e-4)
    cooler = calibration_error(found, Region.WT, VoxelSet.BRAIN, {"cube": Temperature(0.5)})
    p = 1 / (1 + math.exp(-2 * math.log(9)))
    by_hand = (64 * abs(p - inside) + (voxels - 64) * abs(1 - p - outside / (voxels - 64))) / voxels
    assert cooler == pytest.approx((by_hand, by_hand), abs=1e-4)


def test_selective_risk_puts_an_empty_prediction_last() -> None:
    dice, score = [0.9, 0.5, 0.0], [0.1, 0.3, math.nan]
    by_hand = methods.selective_risk(dice, [0.1, 0.3, 0.9])
    assert methods.selective_risk(dice, score) == pytest.approx(by_hand)
    assert methods.selective_risk(dice, [0.9, 0.3, 0.1]) > by_hand


def test_networks_differ_in_one_thing(tmp_path: Path) -> None:
    plan = plan_of(Size.CPU)
    names = [*ENSEMBLE[:2], "dropout", "gaussian", "auxiliary", "snapshots"]
    first, second, dropped, gaussian, auxiliary, later = (config_of(plan, tmp_path, name) for name in names)

    def differ(other: object) -> set[str]:
        fields = type(first).__dataclass_fields__
        return {name for name in fields if getattr(first, name) != getattr(other, name)} - {"name"}

    assert differ(second) == {"seed"}
    assert differ(dropped) == {"dropout"}
    assert differ(gaussian) == {"head", "uncertainty"}
    assert differ(auxiliary) == {"head"}
    assert differ(later) == {"steps", "snapshots", "cycle", "decay"}
    assert cycles(later)[0] == first.steps
    same = [learning_rate(config, step) for config in (first, later) for step in (0, 300, first.steps - 1)]
    assert same[:3] == pytest.approx(same[3:])
    strong, weak = (config_of(plan, tmp_path, name) for name in ("segresnet", "unet_res"))
    assert strong.volume == weak.volume == plan.config.volume, "one cohort serves all"
    assert weak.steps < strong.steps == first.steps


def test_a_training_that_is_done_is_not_done_again(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke", name="one", steps=2, validation=0, snapshots=1)
    said: list[str] = []
    words = [config], tmp_path / "runs", anatomies
    with pytest.raises(TimeOver):
        train_all(*words, Clock(0), said.append)
    assert not said
    assert not is_finished(tmp_path / "runs" / "one")
    train_all(*words, Clock(None), said.append)
    assert "step 2 of 2" in said[-1]
    train_all(*words, Clock(None), lambda words: pytest.fail(words))


def test_one_command_leaves_to_another_what_it_is_training(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke", name="one", steps=2, validation=0, snapshots=1)
    with alone(tmp_path / "runs" / "one") as mine:
        assert mine
        with pytest.raises(TimeOver):
            train_all([config], tmp_path / "runs", anatomies, Clock(None), pytest.fail)
    assert not is_finished(tmp_path / "runs" / "one")


def test_folds_of_patients_come_fold_by_fold(anatomies: Path, tmp_path: Path) -> None:
    cases = write_phantom_cases(anatomies, tmp_path, read_config("smoke"), 4, seed=8)
    plan = plan_of(Size.SMOKE, tmp_path)
    parts = parts_of(plan, tmp_path)
    assert sorted(name for part in parts for name in part.source.names or ()) == list(cases.names)
    for part in parts:
        config = config_of(plan, tmp_path, "unet-1", part.suffix)
        assert cases.split(config.folds, config.fold)[1] == part.source.names
        assert [study.id for study in part.source] == list(part.source.names or ())
    expected = [("segresnet", "-0"), ("unet_res", "-0"), ("segresnet", "-1"), ("unet_res", "-1")]
    assert order_of(plan, ["segresnet", "unet_res"], ["unet_res"]) == expected
    with pytest.raises(ValueError, match="--cases"):
        plan_of(Size.PATIENTS)


def test_a_record_is_measured_once(anatomies: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    config = read_config("smoke")
    cases = write_phantom_cases(anatomies, tmp_path / "cases", config, 2, seed=8)
    task = Task(
        tiny_model_folder, "tta:2", ("entropy", "variance"), Source(tmp_path / "cases", config, cases.names[:1])
    )
    first = record_of(task, tmp_path / "record")
    assert first.passes == 2
    assert set(first.values["map"]) >= {scaled("entropy"), scaled("variance")}
    again = record_of(Task(tmp_path / "nowhere", "single", ("entropy",), task.source), tmp_path / "record")
    assert again.of("dice_any_size", Region.WT) == first.of("dice_any_size", Region.WT)
    assert again.quality == first.quality
    for key, steps in first.steps.items():
        np.testing.assert_array_equal(steps.total()["count"], again.steps[key].total()["count"])


@pytest.mark.slow
@pytest.mark.parametrize("patients", [False, True])
def test_methods_writes_every_table_and_figure_and_goes_on(anatomies: Path, tmp_path: Path, patients: bool) -> None:
    out = tmp_path / "out"
    words = ["-o", out, "--config", "smoke", "--anatomies", anatomies]
    if patients:
        cases, first = tmp_path / "cases", tmp_path / "first"
        write_phantom_cases(anatomies, cases, read_config("smoke"), 4, seed=8)
        fit(anatomies, first, config_of(plan_of(Size.SMOKE, cases), cases, ENSEMBLE[0], "-1"))
        words += ["--cases", cases, "--first-stage", first]
    assert CUT in run(methods.main, *words, "--minutes", 0)
    run(methods.main, *words)
    told = json.loads((out / "methods.json").read_text())
    assert [row["method"] for row in told["calibration"][:: len(REGIONS)]] == [
        "one pass",
        "test-time augmentation",
        "dropout injection",
        "snapshots",
        "ensemble",
        "one pass, trained with dropout",
        "MC dropout",
        "Gaussian logits",
        "auxiliary head",
    ]
    written = {path.name for path in out.iterdir()}
    assert {"maps.csv", "calibration.md", "figure.png"} <= written
    assert ("maps.png" in written) is not patients, "no image of a patient is drawn"
    assert str(tmp_path) not in (out / "methods.json").read_text()
    before = {path: path.stat().st_mtime_ns for path in (out / "records").rglob("record.json")}
    assert len(before) == 18
    run(methods.main, *words)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "records").rglob("record.json")}
    assert json.loads((out / "methods.json").read_text()) == told
