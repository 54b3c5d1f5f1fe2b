"""The experiments run, go on where they were cut, and print what they claim to measure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.study import Study
from napari_uncseg.models.model import load_model
from tests.training.conftest import head, run
from uncseg_training.data.cases import Cases, write_phantom_cases
from uncseg_training.experiments import (
    ablation,
    harness,
    input_checks,
    limits,
    outline,
    paper1,
    paper1_judging,
    phantom_statistics,
    phantoms,
)
from uncseg_training.experiments.paper1_figures import drawn_cases
from uncseg_training.experiments.paper1_tables import compare
from uncseg_training.experiments.studies import mean_dice, region_dice
from uncseg_training.paper1.variance import Reading
from uncseg_training.phantom.anatomy import Anatomy, save_anatomies
from uncseg_training.phantom.cohort import Phantoms, write_phantom
from uncseg_training.train.config import Config, read_config


def test_statistics_of_a_ball_by_hand() -> None:
    axis = np.arange(-20, 21)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    labels = np.where(distance <= 8, 2, 0).astype(np.uint8)
    images = np.where(labels > 0, 2.0, 0.5)[None].repeat(4, axis=0).astype(np.float32)
    numbers = phantom_statistics.describe(images, labels, distance <= 19)
    assert numbers["t2f ED median"] == 2.0
    assert numbers["t1n normal median"] == 0.5
    assert numbers["t2w outline step"] == pytest.approx(1.5)
    assert numbers["ED mL"] == pytest.approx((labels > 0).sum() * 8 / 1000)
    assert numbers["WT sphericity"] == pytest.approx(1.0, abs=0.06)
    assert "t1c ET median" not in numbers


def test_statistics_compare_phantoms_with_studies(anatomies: Path, study_folder: Path, tmp_path: Path) -> None:
    phantoms = Phantoms([head()], seed=99)
    assert phantoms.spacing == phantom_statistics.SPACING
    words = study_folder, "-o", tmp_path / "out", "--anatomies", anatomies, "-n", 10
    output = run(phantom_statistics.main, *words)
    assert "t2f ED median" in output
    assert "between the 5th and 95th percentile of 10 phantoms" in output
    content = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert content["phantoms"] == 10
    assert (tmp_path / "out" / "statistics.png").stat().st_size > 10000


def study_that_fades(*, margin: float) -> Study:
    """A ball of oedema of 22 mm around a small core; FLAIR ends in a slope of 2 mm, so many mm within the outline."""
    axis = np.arange(-38, 39)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    reference = np.select([radius <= 3, radius <= 22], [1, 2], 0).astype(np.uint8)
    flair = 3 + 2 * norm.cdf((22 - margin - radius) / 2)
    images = np.stack([np.full(radius.shape, 3.0)] * 2 + [flair, np.full(radius.shape, 3.0)]).astype(np.float32)
    return Study("ball", images, np.eye(4), radius <= 38, reference=reference)


@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_the_end_of_oedema_is_measured_from_its_outline(margin: float) -> None:
    contrasts = outline.profiles(study_that_fades(margin=margin))
    assert set(contrasts) == {"t2f"}, "in T2w there is nothing to measure"
    place = np.array(outline.PLACES)
    slope = norm.cdf(-(place + margin) / 2)
    expected = (slope - slope[-1]) / (slope[place == -4] - slope[-1])
    assert np.allclose(contrasts["t2f"], expected, atol=0.06)


def test_the_end_of_oedema_is_left_out_where_none_stands_out() -> None:
    study = study_that_fades(margin=0.0)
    assert study.reference is not None
    assert not outline.profiles(replace(study, reference=np.zeros_like(study.reference)))
    assert not outline.profiles(replace(study, reference=np.where(study.reference == 2, 1, 0).astype(np.uint8)))
    beyond = replace(study, brain=study.reference > 0)
    assert not outline.profiles(beyond), "nothing left 6 mm within the brain"


def test_outlines_of_folders_are_compared(study_folder: Path, tmp_path: Path) -> None:
    phantoms = Phantoms([head()], seed=3, spacing=2.0, shape=(64, 64, 64), prior="matched")
    chosen = [i for i in range(12) if int((phantoms[i].labels == 2).sum()) > 1500][:2]
    for number in chosen:
        write_phantom(phantoms[number], tmp_path / "matched", f"UNCSEG-phantom-{number:05d}", 2.0)
    output = run(outline.main, study_folder.parent, tmp_path / "matched", "-o", tmp_path / "out")
    assert "matched, t2f" in output
    content = json.loads((tmp_path / "out" / "outline.json").read_text())
    assert [row["modality"] for row in content["rows"]] == ["t2f", "t2w"] * 2
    found = next(row for row in content["rows"] if row["folder"] == "matched" and row["studies"])
    assert found["median"][content["millimetres"].index(-4)] == 1.0
    assert (tmp_path / "out" / "outline.png").stat().st_size > 10000


def test_ablation_varies_one_factor_at_a_time() -> None:
    rows = ablation.variants(Config())
    assert len({row.name for row in rows}) == len(rows)
    assert {row.factor for row in rows} == {"base", "seed", "anatomy", "contrast", "resolution", "network", "patches"}
    assert all(len(row.changes) <= 3 for row in rows if row.factor != "patches")
    fine = next(row for row in rows if row.level == "1 mm")
    assert fine.changes["volume"] == (160, 192, 160)
    assert fine.changes["patch"] == (128, 160, 128)
    assert "1 mm" not in {row.level for row in ablation.variants(Config(), finest=1.5) if row.factor == "resolution"}


def test_fine_patches_cost_what_the_base_costs() -> None:
    base = Config(steps=800, spacing=4.0, volume=(48, 48, 48), patch=(32, 32, 32))
    fine = {row.level: base_with(base, row) for row in ablation.variants(base) if row.factor == "patches"}
    assert set(fine) == {"1.5 mm", "1 mm"}
    assert fine["1 mm"].volume == (192, 192, 192)
    assert all(config.patch == base.volume and config.whole_from == 1.0 for config in fine.values())
    assert fine["1 mm"].steps == 100  # (1 / 4) ** 1.5 = 1 / 8
    assert not [row for row in ablation.variants(replace(base, spacing=1.0)) if row.factor == "patches"]


def base_with(base: Config, row: ablation.Variant) -> Config:
    return replace(base, **row.changes)  # type: ignore[arg-type]


def test_ablation_goes_on_where_it_was_cut(study_folder: Path, tmp_path: Path) -> None:
    template = Anatomy(ablation.ICBM, head(40).tissues)
    save_anatomies([template, head()], tmp_path / "both.npz")
    words = [study_folder.parent, "-o", tmp_path / "out", "--anatomies", tmp_path / "both.npz", "--size", "smoke"]
    assert "run the same command to go on" in run(ablation.main, *words, "--only", "anatomy", "--minutes", 0.0001)
    output = run(ablation.main, *words, "--only", "anatomy")
    assert "label maps only" in output
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text())["rows"]
    assert [row["level"] for row in rows] == ["base", "icbm only", "label maps only"]
    assert len({row["M parameters"] for row in rows}) == 1
    before = (tmp_path / "out" / "base-base.json").stat().st_mtime_ns
    run(ablation.main, *words, "--only", "anatomy")
    assert (tmp_path / "out" / "base-base.json").stat().st_mtime_ns == before


def test_coarse_to_fine_starts_from_the_coarse_weights(anatomies: Path, tmp_path: Path) -> None:
    base = replace(read_config("smoke"), steps=4, validation=0, snapshots=1)
    variant = next(row for row in ablation.variants(base) if row.starts_at is not None)
    coarse, fine = ablation.train_variant(variant, base, anatomies, tmp_path, harness.Clock(None))
    assert (coarse.config.spacing, fine.config.spacing) == (6.0, 4.0)
    assert fine.step == fine.config.steps == 2
    assert fine.config.start.endswith(coarse.config.name)


def test_a_model_is_judged_on_phantoms_and_goes_on(
    anatomies: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantoms, "SHAPE", (48, 48, 48))
    words = ("-o", tmp_path, "--anatomies", anatomies, "--model", tiny_model_folder, "--count", 3, "--without", 2)
    assert "heads" in run(phantoms.main, *words)
    told = json.loads((tmp_path / "phantoms.json").read_text())["tables"]
    assert (told["dice"][0]["phantoms"], told["tumour-free"][0]["heads"]) == (3, 2)
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    kinds = {path.name[:4] for path in records}
    assert (len(records), kinds) == (5, {"tumo", "none"})
    volumes = {path.name: json.loads(path.read_text())["WT"]["volume_reference"] for path in records}
    assert all((volume == 0) == name.startswith("none") for name, volume in volumes.items())
    run(phantoms.main, *words)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()} == records


def test_false_alarms_in_heads_without_a_tumour_are_counted() -> None:
    found = {
        f"{n}": {"WT": {"volume_prediction": ml}, "needs_review": ["x"] * (n % 2)} for n, ml in enumerate((0, 0, 2, 5))
    }
    row = phantoms.tumour_free_row(found)
    assert (row["median mL"], row["more than 1 mL"], row["largest, mL"]) == (1.0, 2, 5.0)
    assert row["of those over 1 mL sent to review"] == "1 of 2"


def test_means_of_dice_leave_small_regions_out() -> None:
    reference = np.zeros((20, 20, 20), np.uint8)
    reference[5:15, 5:15, 5:15] = 2
    reference[8:10, 5:15, 5:15] = 1
    predicted = np.where(np.arange(20)[:, None, None] < 10, reference, 0)
    found = region_dice(predicted, reference, 0.008)
    assert (found["WT"], found["TC"]) == (pytest.approx(2 * 5 / 15), 1.0)
    assert np.isnan(found["ET"])
    assert np.isnan(region_dice(predicted, reference, 0.0001)["WT"])
    assert mean_dice([found, {**found, "WT": 1.0}])["WT"] == (pytest.approx((2 / 3 + 1) / 2), 2)


def test_a_grid_of_its_own_voxels_keeps_the_reference_and_a_coarse_one_does_not(tiny_study: Study) -> None:
    plan = InputPlan((32, 32, 32), tiny_study.spacing, None, (True,) * 4, (1, 1, 1))
    assert set(limits.through_grid(tiny_study, plan, fractions=False).values()) == {1.0}
    coarse = replace(plan, spacing=tuple(3 * size for size in tiny_study.spacing))
    labels, fractions = (limits.through_grid(tiny_study, coarse, fractions=known) for known in (False, True))
    assert all(0.3 < dice < 0.95 for dice in labels.values())
    assert fractions["WT"] > labels["WT"]


def test_limits_of_grid_and_threshold_are_told(study_folder: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "limits.json"
    output = run(limits.main, study_folder.parent, "--model", tiny_model_folder, "--out", out)
    assert "resolution" in output
    assert "threshold" in output
    told = json.loads(out.read_text())[study_folder.parent.name]
    assert told["resolution"]["1.5 mm, labels"]["WT"][1] == 1
    study = load_study(study_folder)
    at_half = Predictor(load_model(tiny_model_folder)).predict(study).segmentation
    assert told["threshold"]["0.5"]["WT"][0] == pytest.approx(
        region_dice(at_half, study.reference, study.voxel_ml)["WT"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("patients", [False, True])
def test_paper1_writes_every_table_and_figure_and_goes_on(anatomies: Path, tmp_path: Path, patients: bool) -> None:
    out = tmp_path / "out"
    words = ["-o", out, "--config", "smoke", "--anatomies", anatomies]
    if patients:
        write_phantom_cases(anatomies, tmp_path / "cases", read_config("smoke"), 4, seed=8)
        words += ["--cases", tmp_path / "cases"]
    assert "run the same command" in run(paper1.main, *words, "--minutes", 0)
    output = run(paper1.main, *words, "--variant", "detached")
    assert "two seeds without" in output
    tables = {
        f"{name}.{kind}" for name in ("table1", "table2", "readings", "variants", "published") for kind in ("csv", "md")
    }
    pictures = {"figure1.png", "figure3.png", "diagnosis.png"} | ({"private"} if patients else {"figure2.png"})
    written = {path.name for path in out.iterdir()}
    assert tables | pictures | {"paper1.json"} <= written
    assert ("figure2.png" in written) is not patients, "what shows a patient stays in the folder that says so"
    told = json.loads((out / "paper1.json").read_text())
    assert str(tmp_path) not in json.dumps(told)
    assert {row["target"] for row in told["readings"]} == {"error map, held out", "final failure, held out"}
    maps = {row["map"] for row in told["readings"] if row["target"] == "error map, held out"}
    assert maps == {"unc_output", *Reading}
    assert "unc_output, sound" in {row["map"] for row in told["readings"]}
    assert {row["folds"] for row in told["table1"]} == {"all", "0", "1"}
    assert [(row["channel"], row["folds"]) for row in told["variants"]] == [
        ("head", "0"),
        ("head", "the others"),
        ("published", "0"),
        ("warm_up", "0"),
        ("detached", "0"),
        ("detached", "the others"),
        ("crossentropy", "0"),
    ]
    assert len(told["published"]) == 4
    checkpoint = out / "runs" / "head-0" / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns
    run(paper1.main, *words, "--variant", "detached", "--first-stage", out / "runs" / "plain-0")
    assert checkpoint.stat().st_mtime_ns == before
    again = json.loads((out / "paper1.json").read_text())
    assert [row["within 0.03"] for row in again["gate"]] == ["yes"]
    assert {name: again[name] for name in ("table1", "table2", "readings")} == {
        name: told[name] for name in ("table1", "table2", "readings")
    }


def test_paper1_trains_a_fold_with_and_without_the_channel_first() -> None:
    plan = paper1.plan_of(harness.Size.PATIENTS, Path("cases"))
    assert (plan.config.steps, plan.config.share, plan.config.augmentation, plan.config.splits) == (
        4000,
        0.65,
        "strong",
        "gliomas",
    )
    runs = paper1.runs_of(plan, "detached")
    assert runs[:3] == [("head", 0), ("plain", 0), ("head", 1)]
    assert runs[10:12] == [("again", 0), ("again", 1)]
    assert runs[-4:] == [("detached", fold) for fold in range(1, 5)]
    head_, plain = (paper1.of_arm(plan.config, arm, 2) for arm in ("head", "plain"))
    assert {key for key in vars(plain) if getattr(plain, key) != getattr(head_, key)} == {"name", "uncertainty"}


def test_paper1_compares_by_hand() -> None:
    reference = np.zeros((9, 9, 9), np.uint8)
    reference[3:6, 3:6, 3:6] = 2
    predicted = np.roll(reference, 1, axis=0)
    wrong = ((reference > 0) ^ (predicted > 0)).astype(np.float32)
    case = case_from_arrays(predicted, reference, maps={"right": wrong, "half": wrong / 2}, spacing=(5.0, 5.0, 5.0))
    right, half = (compare(case, key, "failure") for key in ("right", "half"))
    assert [right[name] for name in ("pearson", "rmsd", "auroc", "auprc", "ratio")] == pytest.approx([1, 0, 1, 1, 1])
    assert half["pearson"] == pytest.approx(1)
    assert half["ratio"] == pytest.approx(0.5)
    assert half["rmsd"] == pytest.approx(0.5 * np.sqrt(wrong[case.tumour].mean()))
    aimed = compare(case, "half", "error map", target=wrong / 4)
    assert aimed["ratio"] == pytest.approx(2)
    assert np.isnan(aimed["auroc"])


def test_paper1_predicts_where_the_network_lies(anatomies, tmp_path, monkeypatch):
    cases = write_phantom_cases(anatomies, tmp_path / "cases", read_config("smoke"), 1, seed=8)
    asked: list[str] = []

    def predict(_network: object, _cases: Cases, name: str, device: torch.device) -> torch.Tensor:
        asked.append(device.type)
        return torch.full((5, *cases.labels(name).shape), 0.5)

    monkeypatch.setattr(paper1_judging, "predict_case", predict)
    assert (
        "unc_output"
        in paper1_judging.see(torch.nn.Linear(1, 1, device="meta"), cases, cases.names[0], 4.0, {}).case.maps
    )
    assert asked == ["meta"]


def test_six_cases_are_drawn_from_the_smallest_tumour_to_the_largest() -> None:
    volumes = {f"{volume}": volume for volume in (0, 11, 3, 8, 1, 6, 4, 10, 2, 7, 9, 5)}
    assert drawn_cases(volumes) == ["1", "3", "5", "7", "9", "11"]
    assert drawn_cases({"a": 5, "b": 0, "c": 1}) == ["c", "a"]
    assert drawn_cases({"b": 0}) == []


def test_faults_put_into_studies_are_counted_and_kept(study_folder: Path, tmp_path: Path) -> None:
    run(input_checks.main, study_folder, "-o", tmp_path)
    told = json.loads((tmp_path / "input_checks.json").read_text())
    assert told["studies"] == 1
    assert {row["check"] for row in told["faults"]} >= {"modalities_swapped", "unfamiliar_input"}
    (record,) = (tmp_path / "records").iterdir()
    before = record.stat().st_mtime_ns
    run(input_checks.main, study_folder, "-o", tmp_path)
    assert record.stat().st_mtime_ns == before
