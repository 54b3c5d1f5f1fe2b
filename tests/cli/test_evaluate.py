"""``uncseg evaluate`` from the outside: prints, files and exit codes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import Result

from napari_uncseg.evaluation import summary as summaries
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
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
def folder(tmp_path: Path, add_study) -> Path:
    """Two studies with predictions, copies of one."""
    for name in ("first", "second"):
        add_study(tmp_path, name)
    return tmp_path


@pytest.fixture
def evaluate(uncseg):
    """Run the command on a folder."""

    def run(folder: Path, *words: object, out: str = "out", code: int = 0) -> Result:
        places = (folder / "pred", "--reference", folder / "ref", "-o", folder / out)
        return uncseg("evaluate", *places, "--workers", 1, *words, code=code)

    return run


def test_all_is_written_and_a_second_run_keeps_the_studies(folder, add_study, evaluate):
    names = ["first", "second", "third"]
    add_study(folder, "third")
    result = evaluate(folder)
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
    times = [path.stat().st_mtime_ns for path in sorted((out / "studies").iterdir())]
    again = evaluate(folder)
    assert "3 of 3 studies" in again.stderr
    assert times == [path.stat().st_mtime_ns for path in sorted((out / "studies").iterdir())]
    assert (out / "report.html").read_bytes() == before


@pytest.mark.usefixtures("without_figures")
def test_options_are_followed_and_told(folder, evaluate, without_figures):
    images = folder / "ref"
    evaluate(folder, "--images", images, "--review-below", 0.9, "--prediction-coding", "brats2021")
    content = json.loads((folder / "out" / "summary.json").read_text())
    assert content["settings"] == {"coding": None, "prediction_coding": "brats2021", "review_below": 0.9}
    assert content["folders"]["images"] == str(images)
    assert "--review-below 0.9" in content["command"]
    assert {study["brain"] for study in content["studies"].values()} == {"images"}


def test_a_failed_study_is_named_and_the_others_are_told(folder, evaluate):
    shutil.rmtree(folder / "ref" / "second")
    result = evaluate(folder, code=1)
    assert result.stderr.count("error: second") == 1, "why it failed is told once"
    content = json.loads((folder / "out" / "summary.json").read_text())
    assert set(content["studies"]) == {"first"}
    assert set(content["failed"]) == {"second"}
    (folder / "ids.txt").write_text("second\n")
    result = evaluate(folder, "--calibration-ids", folder / "ids.txt", code=1)


def test_nothing_to_evaluate_writes_nothing(folder, evaluate):
    shutil.rmtree(folder / "ref")
    (folder / "ref").mkdir()
    evaluate(folder, code=1)
    assert not (folder / "out").exists()


@pytest.mark.usefixtures("without_figures")
def test_calibration_studies_by_id_are_counted_in_nothing_else(folder, evaluate):
    ids = folder / "ids.txt"
    ids.write_text("# for thresholds\nfirst\n\n")
    evaluate(folder, "--calibration-ids", ids)
    content = json.loads((folder / "out" / "summary.json").read_text())
    assert set(content["studies"]) == {"second"}
    assert set(content["calibration"]) == {"first"}
    assert "leakage" in {check["rule"] for check in content["sanity_checks"]}, "the studies are copies of one another"


@pytest.mark.parametrize("text", ["frist\n", "\n# none\n", "first\nsecond\n", None])
def test_a_list_of_calibration_studies_that_cannot_be_right(folder, text, evaluate):
    if text is not None:
        (folder / "ids.txt").write_text(text)
    result = evaluate(folder, "--calibration-ids", folder / "ids.txt", code=1)
    assert result.stderr.startswith(f"error: {folder / 'ids.txt'}")
    assert not (folder / "out").exists()


@pytest.mark.usefixtures("without_figures")
def test_calibration_from_an_earlier_evaluation(folder, evaluate):
    evaluate(folder, out="earlier")
    shutil.copytree(folder / "earlier" / "studies", folder / "out" / "studies")
    result = evaluate(folder, "--calibration", folder / "earlier")
    assert "leakage" in result.stdout
    result = evaluate(folder, "--calibration", folder / "pred", code=1)
    assert str(folder / "pred") in result.stderr
    evaluate(folder, "--calibration", folder, "--calibration-ids", folder / "ids.txt", code=2)


@pytest.mark.usefixtures("without_figures")
def test_a_foreign_report_is_never_replaced(folder, evaluate):
    (folder / "out").mkdir()
    (folder / "out" / "metrics.csv").write_text("mine\n")
    for words in ((), ("--overwrite",)):
        result = evaluate(folder, *words, code=1)
        assert str(folder / "out" / "metrics.csv") in result.stderr
    assert (folder / "out" / "metrics.csv").read_text() == "mine\n"
