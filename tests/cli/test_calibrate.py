"""``uncseg calibrate`` from the outside: prints, the file and exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from napari_uncseg.cli.calibrate import FitSet
from napari_uncseg.evaluation.calibration_studies import FitSettings, calibrate_pairs
from napari_uncseg.evaluation.matching import match
from napari_uncseg.evaluation.recalibration import FIT_SETS
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Region
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from napari_uncseg.uncertainty.recalibration.models import Temperature


@pytest.fixture
def folder(tmp_path: Path, study_folder: Path, tiny_prediction: Prediction) -> Path:
    """Three studies with predictions that differ a little."""
    for number, name in enumerate(("first", "second", "third")):
        shifted = np.roll(tiny_prediction.probabilities, number, axis=2)
        add_study(tmp_path, study_folder, replace(tiny_prediction, probabilities=shifted), name)
    return tmp_path


def add_study(folder: Path, study: Path, prediction: Prediction, name: str, **provenance: Mapping[str, Any]) -> None:
    """A study under another name in `folder/ref`, and its prediction in `folder/pred`."""
    copy = folder / "ref" / name
    copy.mkdir(parents=True)
    for file in study.iterdir():
        shutil.copy(file, copy / file.name.replace(study.name, name))
    told = {**prediction.provenance, "study": name, **provenance}
    save_prediction(replace(prediction, study_id=name, provenance=told), folder / "pred")


@pytest.fixture
def run(uncseg):
    """Run the command on a folder."""

    def calibrate(folder: Path, *words: object) -> Result:
        return uncseg(
            "calibrate", folder / "pred", "--reference", folder / "ref", "-o", folder / "calibration.json", *words
        )

    return calibrate


def test_fits_saves_and_tells(folder, tiny_prediction, run):
    result = run(folder, "--alpha", "0.3")
    assert result.exit_code == 0, result.output
    assert RESEARCH_USE_ONLY in result.stdout
    assert "only 3 studies have the region" in result.stdout
    assert "have the same reference" in result.stdout, "three copies of one study are told"
    calibration = load_calibration(folder / "calibration.json")
    calibration.check("0" * 64, "single")
    assert all(isinstance(change, Temperature) for change in calibration.maps.values())
    told = calibration.provenance
    assert (told["voxel_set"], told["method"]) == ("brain", "temperature")
    assert set(told["studies"]) == {"first", "second", "third"}
    assert all(len(hash_) == 64 for files in told["studies"].values() for hash_ in files.values())
    assert told["command"].startswith("uncseg calibrate")
    assert "--alpha 0.3" in told["command"]
    figures = told["figures"]["regions"]["WT"]
    assert set(figures["after"]) == set(figures["before"]) == {"nll", "brier", "ece_classwise"}
    worse = figures["after"]["nll"] > figures["before"]["nll"]
    assert ("WT: studies left out are predicted no better" in result.stdout) == worse
    assert figures["studies_with_region"] == 3
    control = calibration.controls[Region.WT]
    assert control.studies == 3
    assert control.threshold is not None
    assert f"WT: above a threshold of {control.threshold:.3g}" in result.stdout
    assert calibration.apply(tiny_prediction.probabilities).shape == tiny_prediction.probabilities.shape


def test_what_stands_there_is_kept_unless_told_otherwise(folder, run):
    (folder / "calibration.json").write_text("mine")
    result = run(folder, "--voxels", "tumour")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (folder / "calibration.json").read_text() == "mine"
    assert run(folder, "--voxels", "tumour", "--method", "platt", "--overwrite").exit_code == 0
    content = json.loads((folder / "calibration.json").read_text())
    assert content["regions"]["WT"]["kind"] == "platt"
    assert "conformal" not in content


def test_too_few_studies_for_an_alpha_are_told(folder, run):
    result = run(folder, "--alpha", "0.1", "--voxels", "all")
    assert result.exit_code == 0, result.output
    assert "note: WT: An alpha of 0.1 needs at least 9 studies that have the region; there are 3." in result.stdout
    assert load_calibration(folder / "calibration.json").controls[Region.WT].threshold is None


OTHER = {"name": "another", "sha256": "5" * 64}
SETTINGS = {"device": "cpu", "members": 8, "method": "tta:8"}


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({"model": OTHER}, "555555555555"),
        ({"model": {"name": "lost"}}, "fourth"),
        ({"settings": SETTINGS}, "tta:8"),
        ({"settings": {"members": 8}}, "fourth"),
        ({"settings": {"members": 1, "calibration": "7" * 64}}, "fourth"),
        ({"members": {"members_done": 3, "members_wanted": 8}}, "fourth"),
    ],
)
def test_predictions_that_do_not_belong_together(folder, study_folder, tiny_prediction, provenance, words, run):
    add_study(folder, study_folder, tiny_prediction, "fourth", **provenance)
    result = run(folder)
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (folder / "calibration.json").exists()


def test_label_files_have_no_probabilities(folder, study_folder, run):
    shutil.copy(study_folder / f"{study_folder.name}-seg.nii.gz", folder / "pred" / "fourth.nii.gz")
    result = run(folder)
    assert result.exit_code == 1
    assert "fourth.nii.gz" in result.stderr


def test_several_members_are_bound(folder, study_folder, tiny_prediction, run):
    shutil.rmtree(folder / "pred")
    shutil.rmtree(folder / "ref")
    add_study(folder, study_folder, tiny_prediction, "first", settings=SETTINGS)
    result = run(folder, "--voxels", "tumour")
    assert result.exit_code == 0, result.output
    assert "one study leaves no other" in result.stdout
    assert load_calibration(folder / "calibration.json").members == "tta:8"


def test_a_failed_study_is_named_and_the_others_are_used(folder, run):
    shutil.rmtree(folder / "ref" / "second")
    result = run(folder, "--voxels", "tumour")
    assert result.exit_code == 1
    assert "error: second has no reference" in result.stderr
    assert "error: 1 of 3 studies failed" in result.stderr
    told = load_calibration(folder / "calibration.json").provenance
    assert set(told["studies"]) == {"first", "third"}
    assert any("Not used" in note and "second" in note for note in told["notes"])


def test_without_images_the_brain_is_not_known(folder, run):
    for image in (folder / "ref").glob("*/*-t2w.nii.gz"):
        image.unlink()
    result = run(folder)
    assert result.exit_code == 1
    assert not (folder / "calibration.json").exists()
    assert run(folder, "--voxels", "tumour").exit_code == 0


@pytest.mark.parametrize("alpha", ["0", "1", "-0.1"])
def test_an_alpha_that_is_no_share(folder, alpha, run):
    result = run(folder, "--alpha", alpha)
    assert result.exit_code == 2
    assert "--alpha" in result.stderr


def test_a_folder_is_no_file(folder, run):
    (folder / "calibration.json").mkdir()
    result = run(folder)
    assert result.exit_code == 1
    assert str(folder / "calibration.json") in result.stderr


def test_the_command_offers_the_sets_that_can_be_fitted_on():
    assert {member.value for member in FitSet} == {str(member) for member in FIT_SETS}


def test_stopping_writes_nothing(folder):
    from napari_uncseg.errors import Cancelled

    pairs = match(folder / "pred", folder / "ref").pairs
    with pytest.raises(Cancelled, match="nothing was written"):
        calibrate_pairs(pairs, FitSettings(), cancelled=lambda: True)
