"""``uncseg calibrate`` from the outside: prints, the file and exit codes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from napari_uncseg.evaluation.calibration_studies import FitSettings, calibrate_pairs
from napari_uncseg.evaluation.matching import match
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import Region
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from napari_uncseg.uncertainty.recalibration.models import Temperature


@pytest.fixture
def folder(tmp_path: Path, add_study, tiny_prediction: Prediction) -> Path:
    """Three studies with predictions that differ a little."""
    for number, name in enumerate(("first", "second", "third")):
        shifted = np.roll(tiny_prediction.probabilities, number, axis=2)
        add_study(tmp_path, name, replace(tiny_prediction, probabilities=shifted))
    return tmp_path


@pytest.fixture
def run(uncseg):
    """Run the command on a folder."""

    def calibrate(folder: Path, *words: object, code: int = 0) -> Result:
        places = (folder / "pred", "--reference", folder / "ref", "-o", folder / "calibration.json")
        return uncseg("calibrate", *places, *words, code=code)

    return calibrate


def test_fits_saves_and_tells(folder, tiny_prediction, run):
    result = run(folder, "--alpha", "0.3")
    assert RESEARCH_USE_ONLY in result.stdout
    calibration = load_calibration(folder / "calibration.json")
    calibration.check("0" * 64, "single")
    assert all(isinstance(change, Temperature) for change in calibration.maps.values())
    told = calibration.provenance
    assert (told["voxel_set"], told["method"]) == ("brain", "temperature")
    assert set(told["studies"]) == {"first", "second", "third"}
    assert all(len(hash_) == 64 for files in told["studies"].values() for hash_ in files.values())
    assert all(f"note: {note}" in result.stdout for note in told["notes"])
    assert any("first" in note and "second" in note for note in told["notes"]), "copies of one study are told"
    sentences = [note.partition(": ")[2] for note in told["notes"] if note.startswith(("WT", "TC", "ET"))]
    assert len(sentences) == len(set(sentences)), "what holds for several regions is told once"
    assert "--alpha 0.3" in told["command"]
    figures = told["figures"]["regions"]["WT"]
    assert set(figures["after"]) == set(figures["before"]) == {"nll", "brier", "ece_classwise"}
    assert figures["studies_with_region"] == 3
    control = calibration.controls[Region.WT]
    assert control.studies == 3
    assert control.threshold is not None
    assert f"WT: {control.words()}" in result.stdout.replace("\n", " ")
    assert calibration.apply(tiny_prediction.probabilities).shape == tiny_prediction.probabilities.shape


@pytest.mark.parametrize("text", ["mine", "[1]", '{"schema": 1, "research_use_only": "a result"}'])
def test_what_is_no_calibration_is_never_replaced(text, folder, run):
    (folder / "calibration.json").write_text(text)
    for words in ((), ("--overwrite",)):
        result = run(folder, "--voxels", "tumour", *words, code=1)
        assert str(folder / "calibration.json") in result.stderr
    assert (folder / "calibration.json").read_text() == text


def test_a_calibration_that_stands_there_is_kept_unless_told_otherwise(folder, run):
    run(folder, "--voxels", "tumour")
    before = (folder / "calibration.json").read_text()
    result = run(folder, "--voxels", "tumour", code=1)
    assert "--overwrite" in result.stderr
    assert (folder / "calibration.json").read_text() == before
    run(folder, "--voxels", "tumour", "--method", "platt", "--overwrite")
    content = json.loads((folder / "calibration.json").read_text())
    assert content["regions"]["WT"]["kind"] == "platt"
    assert set(content["conformal"]["regions"]) == {"WT", "TC", "ET"}


def test_too_few_studies_for_an_alpha_are_told(folder, run):
    result = run(folder, "--voxels", "all")
    control = load_calibration(folder / "calibration.json").controls[Region.WT]
    assert control.threshold is None
    assert control.reason in result.stdout


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
def test_predictions_that_do_not_belong_together(folder, add_study, provenance, words, run):
    add_study(folder, "fourth", **provenance)
    result = run(folder, code=1)
    assert words in result.stderr
    assert not (folder / "calibration.json").exists()


def test_label_files_have_no_probabilities(folder, study_folder, run):
    shutil.copy(study_folder / f"{study_folder.name}-seg.nii.gz", folder / "pred" / "fourth.nii.gz")
    result = run(folder, code=1)
    assert "fourth.nii.gz" in result.stderr


def test_several_members_are_bound(folder, add_study, run):
    shutil.rmtree(folder / "pred")
    shutil.rmtree(folder / "ref")
    add_study(folder, "first", settings=SETTINGS)
    run(folder, "--voxels", "tumour")
    calibration = load_calibration(folder / "calibration.json")
    assert calibration.ensemble == "tta:8"
    assert calibration.provenance["figures"]["regions"]["WT"]["after"]["nll"] is None, "no other study judges it"


def test_a_failed_study_is_named_and_the_others_are_used(folder, run):
    shutil.rmtree(folder / "ref" / "second")
    result = run(folder, "--voxels", "tumour", code=1)
    assert result.stderr.count("error: second") == 1
    told = load_calibration(folder / "calibration.json").provenance
    assert set(told["studies"]) == {"first", "third"}
    assert any("second" in note for note in told["notes"])


def test_without_images_the_brain_is_not_known(folder, run):
    for image in (folder / "ref").glob("*/*-t2w.nii.gz"):
        image.unlink()
    run(folder, code=1)
    assert not (folder / "calibration.json").exists()
    run(folder, "--voxels", "tumour")


@pytest.mark.parametrize("alpha", ["0", "1", "-0.1"])
def test_an_alpha_that_is_no_share(folder, alpha, run):
    result = run(folder, "--alpha", alpha, code=2)
    assert "--alpha" in result.stderr


def test_a_folder_is_no_file(folder, run):
    (folder / "calibration.json").mkdir()
    result = run(folder, code=1)
    assert str(folder / "calibration.json") in result.stderr


def test_stopping_writes_nothing(folder):
    from napari_uncseg.errors import Cancelled

    pairs = match(folder / "pred", folder / "ref").pairs
    with pytest.raises(Cancelled):
        calibrate_pairs(pairs, FitSettings(), cancelled=lambda: True)
