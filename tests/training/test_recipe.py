"""The whole recipe on a handful of phantoms: every step runs, nobody is judged on what he taught, and a cut goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_uncseg.io.results import find_results, read_result
from napari_uncseg.models.identity import CALIBRATION, identify
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from tests.training.conftest import head, uncseg_train
from tests.training.test_adapt import phantoms
from uncseg_training.phantom.anatomy import save_anatomies
from uncseg_training.train.recipe import RECIPES, Recipe, run_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five studies in two folders, and anatomies."""
    folder = tmp_path_factory.mktemp("recipe")
    save_anatomies([head()], folder / "anatomies.npz")
    phantoms(folder / "here", "HERE", 3, seed=6)
    phantoms(folder / "there", "THERE", 2, seed=7)
    return folder


def make(place: Path) -> str:
    words = ("-o", place / "out", "--config", "smoke", "--folds", 2, "--anatomies", place / "anatomies.npz")
    return uncseg_train("recipe", place / "here", place / "there", *words)


@pytest.fixture(scope="module")
def made(place: Path) -> Path:
    assert "Report:" in make(place)
    return place / "out"


def test_each_fold_is_a_cascade_that_never_saw_whom_it_holds_out(made: Path) -> None:
    splits = json.loads((made / "work" / "splits.json").read_text())
    for number, fold in enumerate(splits):
        provenance = json.loads((made / f"fold-{number}" / "provenance.json").read_text())
        assert provenance["trained_on"] == fold["train"]
        assert provenance["members"] == "tta:2"
        first = json.loads((made / f"fold-{number}" / "previous_stage" / "provenance.json").read_text())
        assert (first["trained_on"], first["config"]["start"]) == (fold["train"], str(made / "work" / "phantom"))
        plans = json.loads((made / f"fold-{number}" / "plans.json").read_text())
        assert plans["uncseg"]["stage_weights"] == {"WT": 0.5, "TC": 0.6, "ET": 0.8}
    results = made / "work" / "out-of-fold"
    hashes = {identify(made / "work" / "models" / str(fold)).sha256 for fold in (0, 1)}
    assert {read_result(path).provenance["model"]["sha256"] for path in find_results(results)} == hashes


def test_calibration_and_evaluation_are_those_of_all_studies(made: Path) -> None:
    for fold in (0, 1):
        calibration = load_calibration(made / f"fold-{fold}" / CALIBRATION)
        calibration.check(identify(made / f"fold-{fold}").sha256, "tta:2")
        assert len(calibration.provenance["studies"]) == 5
        assert calibration.controls["WT"].alpha == 0.1
    summary = json.loads((made / "evaluation" / "summary.json").read_text())
    assert sorted(summary["studies"]) == ["HERE-000", "HERE-001", "HERE-002", "THERE-000", "THERE-001"]
    assert summary["command"].startswith("uncseg-train recipe")


def test_what_is_done_is_kept(place: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = made / "work"
    kept = [*work.rglob("*.nii.gz"), *work.rglob("*.npz"), *(made / "evaluation" / "studies").iterdir()]
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    steps: list[int] = []
    monkeypatch.setattr("uncseg_training.train.trainer._train_step", lambda *a, **k: steps.append(1))
    make(place)
    assert not steps
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps


@pytest.mark.parametrize("name", [path.stem for path in sorted(RECIPES.glob("*.yaml"))])
def test_every_recipe_is_one_network_from_the_phantoms_on(name: str) -> None:
    recipe = Recipe.read(name)
    alone, first = recipe.config("phantom"), recipe.config("lowres", cases="x", start="y")
    assert (alone.features, alone.encoder, alone.decoder) == (first.features, first.encoder, first.decoder)
    second = recipe.config("fullres", cases="x", phantoms="x", previous_stage="x")
    assert second.snapshots > 1, "its snapshots are averaged"


@pytest.mark.parametrize("content", ["phantoms: 1", "[", "phantom: {config: smoke}"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    for source in (str(tmp_path / "own.yaml"), "nothing"):
        with pytest.raises(ValueError, match="recipe"):
            Recipe.read(source)


def test_folds_of_other_studies_and_too_few_studies_are_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps([{"train": [], "val": ["HERE-000"]}]))
    both, anatomies = [place / "here", place / "there"], place / "anatomies.npz"
    with pytest.raises(ValueError, match="does not hold each study out once"):
        run_recipe(both, tmp_path / "out", anatomies, Recipe.read("smoke"), splits=tmp_path / "splits.json")
    with pytest.raises(ValueError, match="at least 5"):
        run_recipe(both[:1], tmp_path / "out", anatomies, Recipe.read("smoke"))
    with pytest.raises(ValueError, match="nowhere"):
        run_recipe(both, tmp_path / "out", anatomies, Recipe.read("smoke"), start=place / "nowhere")
    assert not (tmp_path / "out").exists()
