"""``uncseg evaluate`` from the outside: prints, files and exit codes."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from napari_uncseg.evaluation import summary as summaries
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.reporting import evaluation_report as report
from napari_uncseg.reporting.plots import reliability_of


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "RESAMPLES", 50)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of a report, and are looked at elsewhere."""
    monkeypatch.setattr(report, "illustrate", lambda summary: {})


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first figure alone, for the same reason."""
    monkeypatch.setattr(report, "illustrate", lambda summary: {"reliability": reliability_of(summary)})


@pytest.fixture
def folder(tmp_path: Path, study_folder: Path, tiny_prediction: Prediction) -> Path:
    """Two studies with predictions, copies of one."""
    for name in ("first", "second"):
        add_study(tmp_path, study_folder, tiny_prediction, name)
    return tmp_path


def add_study(folder: Path, study: Path, prediction: Prediction, name: str) -> None:
    """A study under another name in `folder/ref`, and its prediction in `folder/pred`."""
    copy = folder / "ref" / name
    copy.mkdir(parents=True)
    for file in study.iterdir():
        shutil.copy(file, copy / file.name.replace(study.name, name))
    save_prediction(replace(prediction, study_id=name), folder / "pred")


@pytest.fixture
def evaluate(uncseg):
    """Run the command on a folder."""

    def run(folder: Path, *words: object, out: str = "out") -> Result:
        places = (folder / "pred", "--reference", folder / "ref", "-o", folder / out)
        return uncseg("evaluate", *places, "--workers", 1, *words)

    return run


def test_all_is_written_and_a_second_run_keeps_the_studies(folder, study_folder, tiny_prediction, evaluate):
    names = ["first", "second", "third"]
    add_study(folder, study_folder, tiny_prediction, "third")
    result = evaluate(folder)
    assert result.exit_code == 0, result.output
    out = folder / "out"
    assert {file.name for file in out.iterdir()} == {"metrics.csv", "summary.json", "figures", "studies", "report.html"}
    assert RESEARCH_USE_ONLY in result.stdout
    assert str(out / "report.html") in result.stdout
    assert "one reference twice" in result.stdout, "three copies of one study are told"
    with (out / "metrics.csv").open(newline="") as file:
        dice = [row for row in csv.DictReader(file) if row["metric"] == "dice" and row["aggregation"] == "case"]
    assert [row["case"] for row in dice if row["region"] == "WT"] == names
    content = json.loads((out / "summary.json").read_text())
    assert content["command"].startswith("uncseg evaluate")
    assert set(content["studies"]) == set(names)

    before = (out / "report.html").read_bytes()
    again = evaluate(folder)
    assert again.exit_code == 0
    assert "3 of 3 studies were measured before and kept" in again.stderr
    assert (out / "report.html").read_bytes() == before


@pytest.mark.usefixtures("without_figures")
def test_a_failed_study_is_named_and_the_others_are_told(folder, evaluate):
    shutil.rmtree(folder / "ref" / "second")
    result = evaluate(folder)
    assert result.exit_code == 1
    assert "error: second has no reference" in result.stderr
    assert result.stderr.count("has no reference") == 1, "why it failed is told once"
    assert "error: 1 of 2 studies failed" in result.stderr
    content = json.loads((folder / "out" / "summary.json").read_text())
    assert set(content["studies"]) == {"first"}
    assert set(content["failed"]) == {"second"}
    (folder / "ids.txt").write_text("second\n")
    result = evaluate(folder, "--calibration-ids", folder / "ids.txt")
    assert result.exit_code == 1


def test_nothing_to_evaluate_writes_nothing(folder, evaluate):
    shutil.rmtree(folder / "ref")
    (folder / "ref").mkdir()
    result = evaluate(folder)
    assert result.exit_code == 1
    assert not (folder / "out").exists()


@pytest.mark.usefixtures("without_figures")
def test_calibration_studies_by_id_are_counted_in_nothing_else(folder, evaluate):
    ids = folder / "ids.txt"
    ids.write_text("# for thresholds\nfirst\n\n")
    result = evaluate(folder, "--calibration-ids", ids)
    assert result.exit_code == 0, result.output
    content = json.loads((folder / "out" / "summary.json").read_text())
    assert set(content["studies"]) == {"second"}
    assert set(content["calibration"]) == {"first"}
    assert "leakage" in {check["rule"] for check in content["sanity_checks"]}, "the studies are copies of one another"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frist\n", "frist"),
        ("\n# none\n", "ids.txt"),
        ("first\nsecond\n", "ids.txt"),
    ],
)
def test_a_list_of_calibration_studies_that_cannot_be_right(folder, text, words, evaluate):
    (folder / "ids.txt").write_text(text)
    result = evaluate(folder, "--calibration-ids", folder / "ids.txt")
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (folder / "out").exists()


def test_a_list_of_calibration_studies_that_is_not_there(folder, evaluate):
    result = evaluate(folder, "--calibration-ids", folder / "none.txt")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {folder / 'none.txt'}")


@pytest.mark.usefixtures("without_figures")
def test_calibration_from_an_earlier_evaluation(folder, evaluate):
    assert evaluate(folder, out="earlier").exit_code == 0
    shutil.copytree(folder / "earlier" / "studies", folder / "out" / "studies")
    result = evaluate(folder, "--calibration", folder / "earlier")
    assert result.exit_code == 0, result.output
    assert "leakage" in result.stdout
    result = evaluate(folder, "--calibration", folder / "pred")
    assert result.exit_code == 1
    assert "holds no evaluation" in result.stderr
    assert evaluate(folder, "--calibration", folder, "--calibration-ids", folder / "ids.txt").exit_code == 2


@pytest.mark.usefixtures("without_figures")
def test_a_foreign_report_is_kept_unless_told_otherwise(folder, evaluate):
    (folder / "out").mkdir()
    (folder / "out" / "metrics.csv").write_text("mine\n")
    result = evaluate(folder)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (folder / "out" / "metrics.csv").read_text() == "mine\n"
    assert evaluate(folder, "--overwrite").exit_code == 0
