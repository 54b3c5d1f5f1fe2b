"""The report: everything in one file, whatever the studies are called, and whatever is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from tests.reporting.conftest import cohort_of, forecast

from napari_uncseg.errors import EvaluationError, ForeignFile
from napari_uncseg.evaluation import Case, case_from_arrays
from napari_uncseg.evaluation import expected_dice as forecasting
from napari_uncseg.evaluation import summary as summaries
from napari_uncseg.evaluation.expected_dice import bound_of
from napari_uncseg.evaluation.runner import Cohort, Failure
from napari_uncseg.evaluation.summary import Summary, summarise, summary_json
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.reporting import evaluation_report as report
from napari_uncseg.reporting.evaluation_report import CSV, HTML, JSON, Making, check_free, report_html, write_report
from napari_uncseg.reporting.plots import reliability_of
from napari_uncseg.reporting.tables import review_lines, study_grid

MAKING = Making("uncseg evaluate pred --reference ref -o out", {"numpy": "2"}, {"coding": None}, {"references": "ref"})


@pytest.fixture(autouse=True, scope="module")
def few_resamples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def cohort(cases: tuple[Case, ...]) -> Cohort:
    """Four studies; read by many tests and changed by none."""
    return cohort_of([forecast(case) for case in cases])


@pytest.fixture(scope="module")
def summary(cohort: Cohort) -> Summary:
    return summarise(cohort)


@pytest.fixture(scope="module")
def written(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of a report, the page last."""
    return write_report(summary, MAKING, tmp_path_factory.mktemp("report") / "out")


def html_of(summary: Summary) -> str:
    return report_html(summary, MAKING, {})


def test_a_report_is_one_file_that_loads_nothing(written):
    assert written[-1].name == HTML
    assert all(file.is_file() for file in written)
    page = written[-1].read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:image/png;base64,|#)""", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert page.count(RESEARCH_USE_ONLY) == 2
    figures = {file.stem for file in written if file.suffix == ".png"}
    assert figures == {"reliability", "errors-caught", "qubrats", "expected-dice", "risk-coverage"}
    assert page.count("data:image/png;base64,") == 5
    order = [page.index(f'id="{part}"') for part in ("answer", "first", "figures", "tables", "checks", "how")]
    assert order == sorted(order)
    assert MAKING.command in page
    assert "What the names of the numbers mean" in page


def test_the_same_cohort_gives_the_same_bytes(cases, summary, written, tmp_path, monkeypatch):
    again = summarise(cohort_of([forecast(case) for case in cases]))
    assert html_of(again) == html_of(summary)
    monkeypatch.setattr(report, "illustrate", lambda summary: {"reliability": reliability_of(summary)})
    before = {file.name: file.read_bytes() for file in written}
    for file in write_report(again, MAKING, tmp_path):
        assert file.name == HTML or file.read_bytes() == before[file.name], file.name


def test_names_of_studies_are_text_and_no_markup(cases):
    odd = "<img src=x onerror=alert(1)>"
    failure = Failure("<b>broken</b>", EvaluationError("<i>no</i>"))
    page = html_of(summarise(cohort_of([replace(cases[0], id=odd)], failures=(failure,))))
    assert odd not in page
    assert "&lt;img src=x" in page
    assert "<b>broken" not in page
    assert "<i>no" not in page


def test_plain_segmentations_get_a_report_too(cases, tmp_path):
    plain = [replace(case, probabilities=None, maps={}) for case in cases]
    summary = summarise(cohort_of(plain))
    write_report(summary, MAKING, tmp_path)
    page = (tmp_path / HTML).read_text()
    assert "tell no expected Dice" in page
    assert "AUROC of" not in page.split("How it was measured")[0]
    assert summary.leading_map is None


def test_a_single_study_without_a_tumour(tmp_path):
    empty = np.zeros((8, 8, 8), dtype=np.uint8)
    case = case_from_arrays(empty, empty, probabilities=np.zeros((3, 8, 8, 8)), brain=np.ones((8, 8, 8)), id="empty")
    summary = summarise(cohort_of([case]))
    write_report(summary, MAKING, tmp_path)
    content = json.loads((tmp_path / JSON).read_text())
    dice = [each for each in content["estimates"] if each["metric"] == "dice"]
    assert {(each["mean"], each["undefined"]) for each in dice} == {(None, "1 of 1 undefined")}
    assert (content["order"], content["review"]) == ([], None)


def test_the_lowest_expected_dice_comes_first(summary):
    assert summary.order.is_monotonic_increasing
    assert len(summary.order) == 4
    page = html_of(summary)
    assert page.index(summary.order.index[0]) < page.index(summary.order.index[-1])


def test_expected_dice_is_judged_where_results_tell_it(cases):
    mixed = summarise(cohort_of([*map(forecast, cases[:3]), cases[3]]), bound=0.75)
    content = summary_json(mixed, asdict(MAKING))
    json.dumps(content, allow_nan=False)
    whole, *_ = content["expected_dice"]["regions"]
    assert (whole["region"], whole["count"], whole["held"]["estimate"]) == ("WT", 3, 1.0)
    assert content["review"]["bound"] == 0.75
    assert [each["study"] for each in content["review"]["studies"]] == ["case-0", "case-1", "case-2"]
    assert {check.rule: check.studies for check in mixed.checks}["no expected Dice"] == ("case-3",)
    page = html_of(mixed)
    assert "Needs review (an expected Dice of the whole tumour below 0.75" in page
    rows = study_grid(mixed).rows
    assert rows[-1][1].text == "case-3", "what tells nothing comes last"
    assert rows[-1][2].text == "–"


def test_a_poor_study_that_is_not_marked_is_named(cases, monkeypatch):
    monkeypatch.setattr(forecasting, "POOR_WT", 0.999)
    lines = review_lines(summarise(cohort_of([forecast(case) for case in cases]), bound=0.0))
    assert sum(line.startswith("Slips through: case-") for line in lines) == 4


def test_means_come_with_intervals_counts_and_pooled_numbers(summary):
    content = summary_json(summary, asdict(MAKING))
    json.dumps(content, allow_nan=False)
    for each in content["estimates"]:
        if each["count"] < 4:
            assert each["interval"] == [None, None]
        else:
            low, high = each["interval"]
            assert low <= each["mean"] + 1e-12
            assert high >= each["mean"] - 1e-12
    auroc = [each for each in content["estimates"] if each["metric"] == "auroc"]
    assert all(each["pooled"] is not None and each["bins"] == 4096 for each in auroc)
    assert content["research_use_only"] == RESEARCH_USE_ONLY
    assert content["command"] == MAKING.command


def test_calibration_studies_fix_the_bound_and_leaks_are_told(cohort):
    fixing = cohort.without({"case-3"})
    summary = summarise(cohort, fixing)
    assert summary.review is not None
    assert summary.review.bound == bound_of(fixing.table)
    assert "leakage" in {check.rule for check in summary.checks}
    assert "the bound of needs review from 3 studies for calibration" in html_of(summary)


def test_files_of_others_are_not_replaced(written, tmp_path):
    (tmp_path / CSV).write_text("mine\n")
    for overwrite in (False, True):
        with pytest.raises(ForeignFile):
            check_free(tmp_path, [], overwrite=overwrite)
    out = written[-1].parent
    check_free(out, [f"case-{seed}" for seed in range(5)], overwrite=False)
    with pytest.raises(EvaluationError, match="case-0"):
        check_free(out, ["case-1", "case-2", "case-3"], overwrite=False)
