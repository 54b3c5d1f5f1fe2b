"""The second stage of a cascade: cases on two grids, what the first stage says of them, training and export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.inference.preprocessing import InputPlan
from napari_uncseg.io.loading import load_study
from napari_uncseg.models.model import load_model
from tests.training.conftest import head, refused, uncseg_train, write_phantoms
from uncseg_training.data.cases import Cases, fit_into, write_study_cases
from uncseg_training.data.patches import Patches
from uncseg_training.data.previous_stage import mirrored_probabilities, write_previous_stage
from uncseg_training.data.splits import write_splits
from uncseg_training.phantom.anatomy import save_anatomies
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.cross_validation import predict_out_of_fold
from uncseg_training.train.export import export_run
from uncseg_training.train.state import Training
from uncseg_training.train.trainer import fit

CPU = torch.device("cpu")
NAMES = [f"UNCSEG-{number:05d}" for number in range(3)]
SPLITS = [{"train": NAMES[:2], "val": NAMES[2:]}, {"train": NAMES[2:], "val": NAMES[:2]}]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies, their cases on two grids, folds, and a finished first stage."""
    folder = tmp_path_factory.mktemp("cascade")
    save_anatomies([head()], folder / "anatomies.npz")
    write_phantoms(folder / "studies", NAMES, seed=4)
    first, second = first_config(), second_config(folder)
    grids = {folder / "lowres": first, folder / "fullres": replace(second, previous_stage="", phantoms="")}
    write_study_cases(folder / "studies", grids)
    write_splits(SPLITS, folder / "splits.json")
    fit(folder / "anatomies.npz", folder / "run-lowres", replace(first, **cohort(folder, "lowres")))
    return folder


def cohort(folder: Path, grid: str) -> dict[str, object]:
    return {"cases": str(folder / grid), "splits": str(folder / "splits.json"), "folds": 2, "augmentation": "strong"}


def first_config() -> Config:
    return read_config("smoke", snapshots=1, steps=2)


def second_config(folder: Path, **changes: object) -> Config:
    grid = {"spacing": 2.0, "volume": (64, 80, 64), "patch": (16, 32, 16), "whole_from": 1.0}
    settings = {**cohort(folder, "fullres"), "previous_stage": str(folder / "previous"), "without_previous": 0.3}
    return read_config("smoke", **{**grid, "snapshots": 2, "steps": 4, **settings, **changes})


@pytest.fixture(scope="module")
def previous(work: Path) -> Path:
    training = Training.of_run(work / "run-lowres")
    first = Cases.open(work / "lowres", training.config)
    onto = Cases.open(work / "fullres", second_config(work, previous_stage=""))
    write_previous_stage(training.averaged, first, onto, work / "previous", CPU)
    return work / "previous"


def test_previous_stage_lies_on_the_grid_of_the_next_one(work: Path, previous: Path):
    training = Training.of_run(work / "run-lowres")
    cases = Cases.open(work / "lowres", training.config)
    onto = Cases.open(work / "fullres", second_config(work))
    for name in NAMES:
        case = onto.load(name)
        assert case.previous is not None
        assert case.previous.shape == (3, *case.labels.shape)
        coarse = mirrored_probabilities(training.averaged, cases, name, CPU)
        inner = fit_into(case.previous / 255, case.inner)
        # Means over the box agree: nothing was moved out of it or lost.
        np.testing.assert_allclose(
            inner.mean((1, 2, 3)), fit_into(coarse, cases.load(name).inner).mean((1, 2, 3)), atol=0.01
        )


def test_case_without_its_previous_stage_is_refused(work: Path, previous: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="predict-next-stage"):
        Cases.open(work / "fullres", second_config(work, previous_stage=str(tmp_path)))


def test_patches_hold_the_previous_stage_and_now_and_then_lack_it(work: Path, previous: Path):
    config = second_config(work, steps=40)
    cases = Cases.open(work / "fullres", config)
    patches = Patches(work / "anatomies.npz", config, 1, "cpu", 1, cases, NAMES)
    samples = [patches[index] for index in range(40)]
    assert {tuple(sample.images.shape) for sample in samples} == {(7, 16, 32, 16)}
    lacking = [not sample.images[4:].any() for sample in samples]
    assert 3 <= sum(lacking) <= 25
    assert all(sample.images[4:].min() >= 0 and sample.images[4:].max() <= 1 for sample in samples)


def test_second_stage_trains_is_exported_and_predicts_out_of_fold(work, previous, monkeypatch):
    run = work / "run-fullres"
    training = fit(work / "anatomies.npz", run, second_config(work))
    assert training.step == 4
    with pytest.raises(ValueError, match="first stage"):
        export_run(run, work / "model")
    model = export_run(run, work / "model", previous_stage=work / "run-lowres")
    assert model.provenance["trained_on"] == NAMES[:2]
    loaded = load_model(work / "model")
    assert loaded.previous_stage is not None
    assert loaded.snapshots == 2
    assert InputPlan.from_plans(loaded.plans).stage_weights == (1, 1, 1)
    shared = export_run(
        run, work / "shared", previous_stage=work / "run-lowres", stage_weights=(0.5, 0.7, 0.9), keep_snapshots=False
    )
    assert InputPlan.from_plans(shared.plans).stage_weights == (0.5, 0.7, 0.9)
    assert load_model(work / "shared").snapshots == 1
    # A model folder stands for the run it was exported from.
    assert Training.of_run(work / "model" / "previous_stage").patients() == tuple(NAMES[:2])
    start = replace(first_config(), start=str(work / "model" / "previous_stage"), name="next")
    began = Training.fresh(start).network.state_dict()
    first = Training.of_run(work / "run-lowres").averaged.state_dict()
    assert all(torch.allclose(began[name], first[name], atol=1e-3) for name in first)
    study = load_study(work / "studies" / NAMES[2])
    found = Predictor(loaded, device="cpu").predict(study, ensemble="snapshots")
    assert found.probabilities.shape == (3, *study.shape)
    done = predict_out_of_fold({0: work / "model"}, SPLITS, [work / "studies"], work / "oof")
    assert done == {NAMES[2]: 0}
    assert (work / "oof" / NAMES[2] / f"{NAMES[2]}_seg.nii.gz").is_file()
    with monkeypatch.context() as patched:  # what is there is kept
        patched.delattr(Predictor, "predict")
        assert predict_out_of_fold({0: work / "model"}, SPLITS, [work / "studies"], work / "oof") == done
    # A model that saw a patient never predicts it out of fold.
    with pytest.raises(ValueError, match="was trained on"):
        predict_out_of_fold({1: work / "model"}, SPLITS, [work / "studies"], work / "oof-wrong")
    assert not (work / "oof-wrong").exists()


def test_commands_of_the_cascade_say_what_is_wrong(work: Path, tmp_path: Path):
    refused("predict-folds", work / "model", "--studies", work / "studies", "-o", tmp_path / "o")
    uncseg_train("splits", work / "lowres", "-o", tmp_path / "s.json", "--config", "smoke", "--folds", 3)
    assert (tmp_path / "s.json").is_file()
