"""Experiments name what they cannot use and go on, and end in a sentence when nothing is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_uncseg.errors import StudyError
from uncseg_training.experiments.studies import require_studies, usable


@pytest.fixture
def cohort(study_folder: Path, tmp_path: Path) -> Path:
    """Three studies: a good one, one without a reference, one with a file that is no image."""
    folder = tmp_path / "cohort"
    for name in ("good", "without", "broken"):
        shutil.copytree(study_folder, folder / name)
        for file in sorted((folder / name).iterdir()):
            file.rename(file.with_name(file.name.replace(study_folder.name, name)))
    next((folder / "without").glob("*-seg*")).unlink()
    next((folder / "broken").glob("*-t1c*")).write_bytes(b"no image")
    return folder


def test_one_bad_study_costs_only_itself(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [study.id for study in usable(cohort)] == ["good"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("left out: ")
    assert "broken-t1c" in told[0]
    assert told[1] == "left out: without has no reference."


def test_none_left_is_an_error_before_hours_go_by(cohort: Path) -> None:
    shutil.rmtree(cohort / "good")
    with pytest.raises(StudyError, match="no study with a reference; name another folder"):
        require_studies(cohort)
    require_studies(None)


def test_a_wrong_folder_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "uncseg_training.experiments.limits", str(tmp_path / "nowhere")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {tmp_path / 'nowhere'} does not exist; check how it is written."
