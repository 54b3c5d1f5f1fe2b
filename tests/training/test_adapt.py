"""A site's own patients: the shipped stages go on, are judged out of fold and say how good they have become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_uncseg.evaluation.case import case_from_prediction
from napari_uncseg.evaluation.error_models import evidence_of
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.models.identity import CALIBRATION
from napari_uncseg.models.model import load_model
from napari_uncseg.review.corrections import save_correction
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from tests.training.conftest import head, refused, uncseg_train, write_phantoms
from uncseg_training.data.cases import Cases, write_study_cases
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.previous_stage import write_previous_stage
from uncseg_training.phantom.anatomy import save_anatomies
from uncseg_training.train.adapt import Settings, adapt
from uncseg_training.train.config import read_config
from uncseg_training.train.cross_validation import collect, fit_left_out, write_left_out
from uncseg_training.train.export import export_run
from uncseg_training.train.trainer import fit

SHAPE = (64, 80, 64)


def phantoms(folder: Path, prefix: str, count: int, seed: int) -> Path:
    return write_phantoms(folder, [f"{prefix}-{number:03d}" for number in range(count)], seed)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five studies, and a network of one stage that never saw them."""
    folder = tmp_path_factory.mktemp("site")
    save_anatomies([head()], folder / "anatomies.npz")
    phantoms(folder / "studies", "SITE", 5, seed=6)
    fit(folder / "anatomies.npz", folder / "run", read_config("smoke", snapshots=1, steps=3))
    export_run(folder / "run", folder / "model")
    return folder


@pytest.fixture(scope="module")
def adapted(site: Path) -> Path:
    settings = Settings(folds=2, steps=2)
    adapt([site / "studies"], site / "out", site / "anatomies.npz", model=site / "model", settings=settings)
    return site / "out"


def test_it_is_judged_on_studies_that_its_folds_never_saw(site: Path, adapted: Path) -> None:
    work = site / "out-training"
    folds = json.loads((work / "splits.json").read_text())
    for number, fold in enumerate(folds):
        provenance = json.loads((work / "models" / str(number) / "provenance.json").read_text())
        assert provenance["trained_on"] == fold["train"]
        assert not set(fold["val"]) & set(provenance["trained_on"])
    names = sorted(path.name for path in (site / "studies").iterdir())
    assert sorted(path.name for path in (work / "out-of-fold").iterdir()) == names
    assert load_model(adapted).provenance["trained_on"] == names
    assert "5 studies" in (adapted / "MODEL_CARD.md").read_text()


def test_it_says_how_good_it_is_for_its_own_members(site: Path, adapted: Path) -> None:
    calibration = load_calibration(adapted / CALIBRATION)
    assert (calibration.model_sha256, calibration.ensemble) == (load_model(adapted).sha256, "tta:2")
    study = load_study(site / "studies" / "SITE-000")
    prediction = Predictor(load_model(adapted), device="cpu").predict(study, ensemble="tta:2")
    assert (calibration.error_risk is None) == ("error_risk" not in prediction.maps)


def test_a_call_that_was_cut_goes_on(site: Path, adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_model(adapted).sha256
    steps = []
    monkeypatch.setattr("uncseg_training.train.trainer._train_step", lambda *a, **k: steps.append(1))
    settings = Settings(folds=2, steps=2)
    again = adapt([site / "studies"], site / "out", site / "anatomies.npz", model=site / "model", settings=settings)
    assert (again.sha256, steps) == (before, [])


@pytest.mark.parametrize("kept", [0, 4])
def test_fewer_than_five_studies_are_refused_before_anything_is_written(site: Path, tmp_path: Path, kept: int) -> None:
    for number in range(kept):
        (tmp_path / f"SITE-{number:03d}").symlink_to(site / "studies" / f"SITE-{number:03d}")
    words = ("--model", site / "model", "--anatomies", site / "anatomies.npz")
    told = refused("adapt", tmp_path, "-o", tmp_path / "out", *words)
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.glob("out*"))


def test_a_study_that_the_model_was_trained_on_is_refused(site: Path, adapted: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trained on SITE-000"):
        adapt([site / "studies"], tmp_path / "out", site / "anatomies.npz", model=adapted)


def test_corrections_of_a_review_are_learnt_from(site: Path, tmp_path: Path) -> None:
    study = replace(load_study(site / "studies" / "SITE-001"), reference=None)
    prediction = Predictor(load_model(site / "model"), device="cpu").predict(
        study, command=f"uncseg predict {site / 'studies' / 'SITE-001'} -o {tmp_path}"
    )
    save_prediction(prediction, tmp_path)
    corrected = np.zeros(study.shape, np.uint8)
    corrected[20:30, 20:30, 20:30] = 3
    result = next((tmp_path / "SITE-001").glob("*_uncseg.json"))
    save_correction(load_prediction(result), corrected, result.parent, reviewer="R")
    (read,) = labelled_studies([tmp_path]).values()
    np.testing.assert_array_equal(read().reference, corrected)
    (cases,) = write_study_cases(tmp_path, {tmp_path / "cases": read_config("smoke")})
    assert Cases.load(cases, "SITE-001").labels.any()


def cascade(folder: Path, anatomies: Path) -> Path:
    """A model of two stages, trained on studies of nobody's site."""
    phantoms(folder / "others", "OTHER", 2, seed=9)
    first = read_config("smoke", snapshots=1, steps=2)
    grid = {"spacing": 2.0, "volume": SHAPE, "patch": (16, 32, 16), "whole_from": 1.0}
    second = read_config("smoke", **grid, snapshots=1, steps=2)
    coarse, fine = write_study_cases(folder / "others", {folder / "lowres": first, folder / "fullres": second})
    run = fit(anatomies, folder / "run-lowres", replace(first, cases=str(coarse.folder)))
    write_previous_stage(run.averaged, coarse, fine, folder / "previous", torch.device("cpu"))
    seen = {"cases": str(fine.folder), "previous_stage": str(folder / "previous")}
    fit(anatomies, folder / "run-fullres", replace(second, **seen))
    export_run(folder / "run-fullres", folder / "cascade", previous_stage=folder / "run-lowres")
    return folder / "cascade"


def test_both_stages_of_a_cascade_go_on(site: Path, tmp_path: Path) -> None:
    model = cascade(tmp_path, site / "anatomies.npz")
    settings = Settings(folds=2, steps=2, phantoms=1)
    adapt([site / "studies"], tmp_path / "out", site / "anatomies.npz", model=model, settings=settings)
    made, before = load_model(tmp_path / "out"), load_model(model)
    assert made.previous_stage is not None
    assert made.previous_stage.provenance["config"]["start"] == str(model / "previous_stage")
    assert {"OTHER-000", "SITE-000", "SITE-004"} <= set(made.provenance["trained_on"])
    assert made.plans["configurations"] == before.plans["configurations"]
    assert (tmp_path / "out-training" / "previous-stage" / "SITE-000.npy").is_file()


def test_each_result_is_told_by_what_was_fitted_without_it(site: Path, adapted: Path) -> None:
    results, studies = site / "out-training" / "out-of-fold", labelled_studies([site / "studies"])
    collected = collect(results, studies)
    # Of five studies in two folds no estimate leaves one out: as if there were ten, with errors to learn.
    samples = [
        replace(each, wrong=each.features[:, -3:] > np.median(each.features[:, -3:], 0)) for each in collected.samples
    ]
    samples = [replace(each, fold=number % 5) for number, each in enumerate(samples * 2)]
    left_out = fit_left_out(samples)
    assert sorted(left_out) == list(range(5))
    for told in ([replace(each, wrong=~each.wrong) for each in samples], samples):  # the second call replaces the first
        write_left_out(results, studies, told)
    for sample in samples[:5]:
        risk, prediction = left_out[sample.fold].error_risk, load_prediction(results / sample.id)
        assert risk is not None
        study = studies[sample.id]()
        case = case_from_prediction(prediction, study.reference, brain=study.brain, images=study.images)
        evidence, box = evidence_of(case)
        np.testing.assert_allclose(
            prediction.maps["error_risk-et"][box], risk.apply(evidence, case.brain[box])[2], atol=1e-4
        )


def test_the_release_is_calibrated_by_a_command(site: Path, adapted: Path) -> None:
    results = site / "out-training" / "out-of-fold"
    uncseg_train("calibrate-folds", results, adapted, "--studies", site / "studies", "--alpha", 0.3)
    calibration = load_calibration(adapted / CALIBRATION)
    assert (calibration.model_sha256, len(calibration.provenance["studies"])) == (load_model(adapted).sha256, 5)
    assert calibration.controls["WT"].alpha == 0.3
