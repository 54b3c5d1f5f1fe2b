"""The command that a result saved from the window names."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.inference.jobs import FROM_LAYERS, command_of
from napari_uncseg.inference.pipeline import PredictionSettings
from napari_uncseg.io.loading import load_study
from napari_uncseg.labels import MODALITIES


@pytest.fixture
def study(study_folder):
    return load_study(study_folder)


def words_of(study, out, device="cpu", model=None, **settings):
    return shlex.split(command_of(study, PredictionSettings(out, device=device, model=model, **settings).options))


def test_a_folder_that_holds_one_study(study, study_folder, tmp_path):
    words = words_of(study, tmp_path / "my results", "auto", tmp_path / "model")
    assert words[:3] == ["uncseg", "predict", str(study_folder)]
    assert words[3:] == ["-o", str(tmp_path / "my results"), "--device", "auto", "--model", str(tmp_path / "model")]


def test_files_that_are_no_folder_of_their_own_are_named_one_by_one(study, study_folder, tmp_path):
    other = dataclasses.replace(study, id="mine")
    words = words_of(other, tmp_path, resample=True)
    for modality in MODALITIES:
        file = study_folder / f"{study_folder.name}-{modality}.nii.gz"
        assert words[words.index(f"--{modality}") + 1] == str(file)
    assert words[words.index("--reference") + 1].endswith("-seg.nii.gz")
    assert words[words.index("--id") + 1] == "mine"
    assert words[-1] == "--resample"


def test_members_are_named_unless_they_are_the_usual_one(study, tmp_path):
    words = words_of(study, tmp_path, ensemble=parse_ensemble("tta:8"))
    assert words[-2:] == ["--members", "tta:8"]
    assert "--members" not in words_of(study, tmp_path)


def test_a_calibration_is_named_as_it_was_chosen(study, tmp_path):
    for calibration, word in ((tmp_path / "c.json", str(tmp_path / "c.json")), (Path("bundled"), "bundled")):
        words = words_of(study, tmp_path, calibration=calibration)
        assert words[-2:] == ["--calibration", word]


def test_layers_without_files_have_no_command(tiny_study):
    assert command_of(tiny_study, {}) == FROM_LAYERS
