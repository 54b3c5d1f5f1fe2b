"""``uncseg tune-injection`` from the outside: prints and exit codes."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from napari_uncseg.cli.app import app
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY


@pytest.fixture
def cohort(study_folder: Path, tmp_path: Path) -> Path:
    """A folder of one study; the model folder stands elsewhere."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    shutil.move(study_folder, folder)
    return folder


def tune(*words: object) -> Result:
    """Run the command; no traceback may be seen and no exception may escape."""
    result = CliRunner().invoke(app, ["tune-injection", *(str(word) for word in words)])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_prints_a_table_and_the_words_to_use(cohort: Path, tiny_model_folder: Path) -> None:
    result = tune(cohort, "--model", tiny_model_folder, "--candidates", "0.3,0.05", "--count", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    head, one_pass, *rows = result.stdout.splitlines()[:4]
    assert head.split()[:3] == ["p", "NLL,", "nats"]
    assert one_pass.startswith("one pass")
    assert [row.split()[0] for row in rows] == ["0.05", "0.3"]
    (starred,) = (row.split()[0] for row in rows if " * " in row)
    assert f"Use: --members dropout_injection:2,p={starred}\n" in result.stdout
    assert result.stdout.endswith(f"{RESEARCH_USE_ONLY}\n")


def test_studies_that_cannot_be_used_are_named_and_left_out(cohort: Path, tiny_model_folder: Path) -> None:
    (study,) = cohort.iterdir()
    other = cohort / "without"
    other.mkdir()
    for file in study.iterdir():
        if "-seg" not in file.name:
            shutil.copy(file, other / file.name.replace(study.name, "without"))
    result = tune(cohort, "--model", tiny_model_folder, "--candidates", "0.1", "--count", 1, "--device", "cpu")
    assert result.exit_code == 1
    assert "error: without has no reference" in result.stderr
    assert "error: 1 of 2 studies failed: without" in result.stderr
    assert "of 1 study together" in result.stdout


def test_interrupt_is_clean(cohort: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Predictor.predict

    def interrupted(self: Predictor, *args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return predict(self, *args, **options)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = tune(cohort, "--model", tiny_model_folder, "--device", "cpu")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("candidates", ["", "0.1,x", "0.1,1", "0.1,0.1"])
def test_wrong_candidates_are_wrong_usage(cohort: Path, candidates: str) -> None:
    result = tune(cohort, "--candidates", candidates)
    assert result.exit_code == 2
    assert "--candidates" in result.stderr


def test_an_unknown_device_is_wrong_usage(cohort: Path) -> None:
    result = tune(cohort, "--device", "gpu")
    assert result.exit_code == 2
    assert "Invalid value for '--device': 'gpu' is not one of 'auto', 'cpu', 'cuda'" in result.stderr
