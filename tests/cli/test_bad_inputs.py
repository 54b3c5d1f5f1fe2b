"""Bad inputs through the command line: each is refused in one sentence that names it, and nothing is lost."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_uncseg.cli.app import app
from napari_uncseg.inference import pipeline as batch
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study


class NeverAsked:
    """Stands for the network where a study must be refused before it is asked."""

    def check(self, **_: object) -> None:
        pass

    def provenance(self, study: Study, command: str | None = None) -> dict[str, object]:
        raise AssertionError(f"{study.id} was read")

    def predict(self, study: Study, **_: object) -> Prediction:
        raise AssertionError(f"{study.id} was predicted")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(*words: object) -> str:
    """The one sentence with which a command ends."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1, result.output
    errors = [line for line in result.stderr.splitlines() if not line.startswith("[")]  # without progress
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert errors[0].endswith(".")
    assert "unexpected" not in errors[0]
    return errors[0]


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the values of a file."""
    image = nib.load(path)
    nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine).to_filename(path)


def of(shape: tuple[int, ...]) -> Callable[[Path], None]:
    """Put an image of another shape into a file's place."""
    return lambda path: rewrite(path, lambda _: np.ones(shape, dtype=np.int16))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing modality": ("t1n", Path.unlink),
    "two files for one modality": (
        "t1n",
        lambda path: shutil.copy(path, path.with_name(path.name.replace("t1n", "T1"))),
    ),
    "different grids": ("t2w", lambda path: rewrite(path, lambda values: values[:-2])),
    "truncated gzip": ("t2f", lambda path: path.write_bytes(path.read_bytes()[:3000])),
    "text renamed": ("t2f", lambda path: path.write_text("T1 of patient 7")),
    "all zero": ("t1c", lambda path: rewrite(path, np.zeros_like)),
    "all NaN": (
        "t1c",
        lambda path: rewrite(path, lambda values: np.full(values.shape, np.nan, dtype=np.float32)),
    ),
    "a mask": ("t1c", lambda path: rewrite(path, lambda values: (values > 0).astype(np.uint8))),
    "2-D": ("t2w", of((40, 44))),
    "5-D": ("t2w", of((8, 8, 8, 2, 3))),
    "unknown labels": ("seg", lambda path: rewrite(path, lambda values: values * 5)),
}


@pytest.mark.parametrize(("token", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_bad_study_is_refused(token, damage, study_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "make_predictor", lambda settings, notify: NeverAsked())
    damage(study_folder / f"{study_folder.name}-{token}.nii.gz")
    before = contents(tmp_path)
    sentence = refusal("predict", study_folder, "-o", tmp_path / "out")
    assert study_folder.name in sentence
    assert token in sentence.lower(), "the file at fault is named"
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_an_unwritable_output_is_refused(study_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    before = contents(tmp_path)
    sentence = refusal("predict", study_folder, "-o", tmp_path / "file" / "out")
    assert str(tmp_path / "file") in sentence
    assert contents(tmp_path) == before


NO_SPACE = """
import resource, sys
from napari_uncseg.cli.app import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
sys.argv[0] = "uncseg"
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files.")
def test_no_space_left_is_told(study_folder: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    before = contents(tmp_path)
    words = ["predict", study_folder, "-o", tmp_path / "out", "--model", tiny_model_folder, "--device", "cpu"]
    command = [sys.executable, "-B", "-c", NO_SPACE, *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert study_folder.name in sentence
    assert "Traceback" not in result.stderr
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["predict", "", "-o", "out"], ["predict", "a", "-o", ""], ["view", ""]])
def test_an_empty_word_does_not_stand_for_the_folder_one_is_in(words, study_folder, monkeypatch):
    monkeypatch.chdir(study_folder)
    before = contents(study_folder)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "empty" in result.output
    assert contents(study_folder) == before


def test_a_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "folder" in refusal("predict", "P1", "-o", "out")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [_flip, lambda path: path.write_bytes(pickle.dumps({"a": 1}))],
    ids=["flipped byte", "pickle"],
)
def test_a_bad_model_is_refused(damage, study_folder, tmp_path, tiny_model_folder):
    weights = tiny_model_folder / "weights.safetensors"
    damage(weights)
    before = contents(tmp_path)
    for words in (["predict", study_folder, "-o", tmp_path / "out"], ["info"]):
        sentence = refusal(*words, "--model", tiny_model_folder)
        assert str(weights) in sentence
    assert contents(tmp_path) == before
