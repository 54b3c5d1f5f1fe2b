"""The share of channels that injected dropout drops, chosen on studies."""

import dataclasses
import shutil

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.models.model import load_model
from uncseg_training.experiments.tune_injection import Tried, Tuned, main, tune_injection


@pytest.fixture
def study(tiny_study):
    return dataclasses.replace(tiny_study, id="toy")


@pytest.fixture
def model(tiny_model_folder):
    return load_model(tiny_model_folder)


def tuned_of(*means, one_pass=1.0):
    """What comes of shares 0.1, 0.2 ... with such likelihoods, by the rule of the tuning."""
    rows = [Tried(0.1 * n, dict.fromkeys(REGIONS, mean), {}) for n, mean in enumerate(means, start=1)]
    best = min(rows, key=lambda row: row.mean_nll)
    members = parse_ensemble(f"dropout_injection:3,p={best.p}")
    return Tuned(members, tuple(rows), Tried(0.0, dict.fromkeys(REGIONS, one_pass), {}), ("a",))


def test_figures_are_those_of_the_predictions(model, study):
    studies = [study, dataclasses.replace(study, images=study.images[:, ::-1], id="other")]
    tuned = tune_injection(model, iter(studies), candidates=(0.3, 0.05), count=2, device="cpu")
    assert tuned.studies == ("toy", "other")
    assert [row.p for row in tuned.rows] == [0.05, 0.3]
    assert tuned.p == min(tuned.rows, key=lambda row: row.mean_nll).p
    assert str(tuned.members) == f"dropout_injection:2,p={tuned.p}"
    for row in (tuned.one_pass, *tuned.rows):
        words = f"dropout_injection:2,p={row.p}" if row.p else "single"
        predictions = [Predictor(model, device="cpu").predict(each, ensemble=words) for each in studies]
        for index, region in enumerate(REGIONS):
            p = np.concatenate([found.probabilities[index][study.brain] for found in predictions]).astype(float)
            y = np.concatenate([region_masks(each.reference)[index][each.brain] for each in studies])
            p = p.clip(2.0**-17, 1 - 2.0**-17)
            assert row.nll[region] == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), abs=1e-4)
            dice = np.mean([found.provenance["dice"][region] for found in predictions])
            assert row.dice[region] == pytest.approx(dice)


def test_the_same_again_gives_the_same(model, study):
    options = {"candidates": (0.1, 0.2), "count": 2, "device": "cpu"}
    assert tune_injection(model, [study], **options) == tune_injection(model, [study], **options)


def test_what_the_choice_does_not_tell_is_said():
    assert tuned_of(0.5, 0.4, 0.6).notes == ()
    assert tuned_of(0.4, 0.5).notes == ("p=0.1 is the smallest candidate; a smaller one may fit better still.",)
    assert tuned_of(0.5, 0.4).notes == ("p=0.2 is the largest candidate; a larger one may fit better still.",)
    assert tuned_of(0.4, one_pass=0.3).notes == (
        "One pass without dropout fits the references no worse; injection gains nothing here.",
    )


@pytest.mark.parametrize(
    ("candidates", "words"), [((), "one candidate or more"), ((0.1, 0.1), "each once"), ((0.0,), "0 is no share")]
)
def test_candidates_that_make_no_sense(model, study, candidates, words):
    with pytest.raises(EvaluationError, match=words):
        tune_injection(model, [study], candidates=candidates, device="cpu")


def test_studies_need_references(model, study):
    with pytest.raises(EvaluationError, match="There is no study"):
        tune_injection(model, [], device="cpu")
    with pytest.raises(EvaluationError, match="toy has no reference"):
        tune_injection(model, [dataclasses.replace(study, reference=None)], device="cpu")


def test_a_bad_study_is_reported_and_left_out(study_folder, tiny_model_folder, tmp_path, capsys):
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    shutil.copytree(study_folder, cohort / study_folder.name)
    (cohort / "without").mkdir()
    for file in study_folder.iterdir():
        if "-seg" not in file.name:
            shutil.copy(file, cohort / "without" / file.name.replace(study_folder.name, "without"))
    main([cohort], tiny_model_folder, "0.3,0.05", count=1, device="cpu")
    out, err = capsys.readouterr()
    assert "without has no reference" in err
    assert out.split()[:2] == ["p", "NLL"]
    assert "1 studies; use: uncseg predict --members dropout_injection:1,p=" in out
