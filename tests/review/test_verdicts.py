"""The log of verdicts: nothing is lost, nothing is overwritten, and a torn line harms no other."""

import csv
import dataclasses
import io
import json
import math
import multiprocessing
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.review.agreement import (
    About,
    agreement_on,
    answers_of,
    cohen_kappa,
    merge_logs,
    reviewers_of,
    squared_distance,
)
from napari_uncseg.review.verdict_table import csv_text, export_answers, export_csv
from napari_uncseg.review.verdicts import (
    Decision,
    FindingVerdict,
    Judgement,
    Status,
    StudyVerdict,
    append,
    earlier_verdict,
    latest,
    log_path,
    now,
    read_log,
    status_of,
    verdict_of,
)


def verdict(study="a", reviewer="R1", decision=Decision.ACCEPT, **more):
    return StudyVerdict(study, reviewer, more.pop("time", now()), decision, **more)


def judgement(study="a", reviewer="R1", answer=Judgement.REAL_ERROR, voxel=(1, 2, 3), **more):
    return FindingVerdict(
        study, reviewer, more.pop("time", now()), answer, "unc_output", "WT", voxel, 0.25, 1.5, 0.9, **more
    )


@pytest.fixture
def log(tmp_path):
    (tmp_path / "results").mkdir()
    return log_path(tmp_path / "results")


def test_what_is_appended_is_read_in_order(log):
    records = [verdict(difficulty=4, comment='cyst, "dark"\nsecond line · é'), judgement(), verdict("b")]
    append(log, records[0])
    append(log, *records[1:])
    assert read_log(log).records == tuple(records)
    assert read_log(log).problems == ()
    assert len(log.read_text(encoding="utf-8").splitlines()) == 3


def test_no_log_is_an_empty_one(log):
    assert read_log(log).records == ()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_told_and_the_next_verdict_survives_it(log, cut):
    append(log, verdict("a"), verdict("b"))
    log.write_bytes(log.read_bytes()[:-cut])
    torn = read_log(log)
    lost = 0 if cut == 1 else 1  # without its line break alone the line is still whole
    assert len(torn.records) == 2 - lost
    assert len(torn.problems) == lost
    if lost:
        assert "is torn" in torn.problems[0]
    append(log, verdict("c"))
    after = read_log(log)
    assert [record.study for record in after.records] == [*["a", "b"][: 2 - lost], "c"]
    assert len(after.problems) == lost


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"schema": 2, "kind": "study"}',
        '{"schema": 1, "kind": "other"}',
        '{"schema": 1, "kind": "study", "study": "a", "reviewer": "k", "time": "x", "decision": "accept"}',
        '{"schema": 1, "kind": "study", "study": "a", "reviewer": "k", "time": "2026-01-01", "decision": "maybe"}',
        '{"schema": 1, "kind": "study", "study": 7, "reviewer": "k", "time": "2026-01-01", "decision": "accept"}',
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_a_foreign_line_is_told_and_harms_no_other(log, line):
    append(log, verdict("a"))
    with log.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    append(log, verdict("b"))
    read = read_log(log)
    assert [record.study for record in read.records] == ["a", "b"]
    assert len(read.problems) == 1
    assert "Line 2" in read.problems[0]


def write_some(path, reviewer):
    for number in range(25):
        append(Path(path), verdict(f"{number}", reviewer))


def test_two_writers_lose_nothing(log):
    append(log, verdict("first"))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_some, args=(str(log), name)) for name in ("R1", "R2")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(read_log(log).records) == 51
    assert read_log(log).problems == ()


def test_a_log_that_cannot_be_written_or_read_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        append(tmp_path, verdict())
    with pytest.raises(SaveError):
        append(tmp_path / "file" / "log.jsonl", verdict())
    with pytest.raises(StudyError):
        read_log(tmp_path)


def test_a_folder_that_is_gone_is_not_made_anew(tmp_path):
    with pytest.raises(SaveError, match="gone"):
        append(log_path(tmp_path / "results"), verdict())
    assert not (tmp_path / "results").exists()


OLD = """\
{"schema": 1, "kind": "study", "study": "P1", "reviewer": "R1", "time": "2026-05-01T10:00:00.000+00:00", \
"decision": "needs correction", "difficulty": 4, "comment": "", "result": ""}
{"schema": 1, "kind": "finding", "study": "P1", "reviewer": "R1", "time": "2026-05-01T10:01:00.000+00:00", \
"judgement": null, "map": "unc_output", "region": "WT", "voxel": [1, 2, 3], "threshold": 0.2, "volume_ml": 1, \
"peak": 0.5, "comment": "", "result": "ff"}
{"schema": 1, "kind": "study", "study": "P2", "reviewer": "R1", "time": "2026-05-01T10:02:00.000+00:00", \
"decision": null}
"""


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_log_of_an_earlier_version_is_read_whole(log, mark):
    log.write_text(mark + OLD, encoding="utf-8")
    read = read_log(log)
    assert read.problems == ()
    study, finding, withdrawn = read.records
    assert (study.decision, study.difficulty) == (Decision.NEEDS_CORRECTION, 4)
    assert (finding.voxel, finding.volume_ml, finding.result) == ((1, 2, 3), 1.0, "ff")
    assert withdrawn.decision is None


def test_the_last_word_stands_and_can_be_taken_back():
    records = [verdict(), verdict(decision=Decision.REJECT), judgement(), judgement(answer=Judgement.FINE)]
    assert latest(records) == [records[1], records[3]]
    assert verdict_of(records, "a") == records[1]
    records.append(verdict(decision=None))
    assert verdict_of(records, "a") is None
    assert latest(records) == [records[3]]


def test_status():
    assert status_of([], "a") is Status.NEW
    assert status_of([judgement(answer=Judgement.FINE)], "a") is Status.NEW
    assert status_of([judgement(answer=Judgement.UNSURE)], "a") is Status.FLAGGED
    assert status_of([judgement("b")], "a") is Status.NEW
    records = [judgement(), verdict(decision=Decision.NEEDS_CORRECTION)]
    assert status_of(records, "a") is Status.NEEDS_CORRECTION
    records.append(verdict(reviewer="R2", decision=Decision.ACCEPT))
    assert status_of(records, "a") is Status.ACCEPTED
    assert status_of(records, "a", "R1") is Status.NEEDS_CORRECTION
    records.append(verdict(reviewer="R2", decision=None))
    assert status_of(records, "a") is Status.NEEDS_CORRECTION


def test_what_was_said_of_another_result_does_not_count():
    records = [verdict(result="old"), judgement(result="old"), verdict("b", result="new")]
    assert verdict_of(records, "a") == verdict_of(records, "a", result="old") == records[0]
    assert status_of(records, "a", result="old") is Status.ACCEPTED
    assert verdict_of(records, "a", result="new") is None
    assert status_of(records, "a", result="new") is Status.NEW
    assert status_of(records, "a", result="") is Status.NEW
    records.append(judgement(answer=Judgement.FINE, result="new"))
    assert status_of(records[1:], "a", result="old") is Status.FLAGGED, "the same voxel of another result"
    records.append(verdict(decision=None, result="new"))
    assert verdict_of(records, "a", result="old") == records[0]


def test_a_verdict_that_names_no_result_counts_for_each():
    records = [verdict(), judgement("b")]
    assert verdict_of(records, "a", result="new") == records[0]
    assert status_of(records, "b", result="new") is Status.FLAGGED
    assert earlier_verdict(records, "a", "new") is None


def test_the_verdict_on_an_earlier_result():
    records = [verdict(result="old"), verdict(reviewer="R2", decision=Decision.REJECT, result="older")]
    assert earlier_verdict(records, "a", "new") == records[1]
    assert earlier_verdict(records, "a", "new", "R1") == records[0]
    assert earlier_verdict(records, "a", "older") == records[0]
    assert earlier_verdict(records, "b", "new") is None
    records.append(verdict(reviewer="R2", decision=None, result="older"))
    assert earlier_verdict(records, "a", "new") == records[0]


def test_csv_has_a_row_per_record_and_runs_no_formula(tmp_path):
    records = [verdict(comment='=HYPERLINK("x")', difficulty=2), judgement(comment="a, b")]
    rows = list(csv.DictReader(io.StringIO(csv_text(records))))
    assert [row["kind"] for row in rows] == ["study", "finding"]
    assert rows[0]["comment"] == '\'=HYPERLINK("x")'
    assert rows[0]["decision"] == "accept"
    assert rows[1]["voxel"] == "1 2 3"
    assert rows[1]["judgement"] == "real error"
    export_csv(records, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8-sig") == csv_text(records)


def test_merged_logs_are_by_time_and_without_doubles():
    one = [verdict("a", time="2026-01-01T10:00:00+00:00"), verdict("b", time="2026-01-01T12:00:00+00:00")]
    two = [verdict("c", "R2", time="2026-01-01T11:00:00+00:00"), one[1]]
    merged = merge_logs(one, two)
    assert [record.study for record in merged] == ["a", "c", "b"]
    assert reviewers_of(merged) == ["R1", "R2"]


def test_kappa_of_cohens_own_kind_of_table():
    # 20 and 15 agreements, 5 and 10 disagreements: p_o = 0.7, p_e = 0.5, kappa = 0.4.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert cohen_kappa([("y", "y"), ("n", "n")]) == 1
    assert cohen_kappa([("y", "n"), ("n", "y")]) == -1
    assert math.isnan(cohen_kappa([]))
    assert math.isnan(cohen_kappa([("y", "y")] * 3))


def test_kappa_is_that_of_scikit_learn():
    pairs = [("a", "a"), ("a", "b"), ("c", "c"), ("b", "b"), ("c", "a"), ("a", "a"), ("b", "c")]
    assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    grades = [("1", "2"), ("3", "3"), ("5", "4"), ("2", "5"), ("4", "4"), ("1", "1")]
    expected = cohen_kappa_score(*zip(*grades, strict=True), weights="quadratic")
    assert cohen_kappa(grades, squared_distance) == pytest.approx(expected)


def test_two_reviewers_compared():
    records = [
        *(verdict(study, "R1") for study in "abcd"),
        verdict("a", "R2"),
        verdict("b", "R2", Decision.REJECT),
        verdict("b", "R2"),
        verdict("c", "R2", Decision.NEEDS_CORRECTION),
    ]
    answers = answers_of(records, "R1", "R2")
    agreement = agreement_on(About.VERDICT, answers)
    assert (agreement.count, agreement.agreed) == (3, 2)
    assert agreement.share == pytest.approx(2 / 3)
    assert agreement.table == {("accept", "accept"): 2, ("accept", "needs correction"): 1}
    assert agreement.kappa == 0
    assert agreement.why_undefined == ""
    assert [(each.study, each.first, each.second) for each in answers if not each.same] == [
        ("c", "accept", "needs correction")
    ]
    assert answers_of(records, "R1", "Nobody") == ()


def test_an_undefined_kappa_says_why():
    assert "no difficulty that both gave" in agreement_on(About.DIFFICULTY, ()).why_undefined
    alike = answers_of([verdict("a"), verdict("a", "R2"), verdict("b"), verdict("b", "R2")], "R1", "R2")
    agreement = agreement_on(About.VERDICT, alike)
    assert (agreement.share, agreement.why_undefined.split(",")[0]) == (1, "both always said “accept”")


def test_difficulties_are_compared_where_both_told_one():
    records = [
        *(verdict(study, "R1", difficulty=grade) for study, grade in zip("abc", (1, 3, 5), strict=True)),
        *(verdict(study, "R2", difficulty=grade) for study, grade in zip("abc", (1, 4, None), strict=True)),
    ]
    answers = answers_of(records, "R1", "R2")
    assert [(each.study, each.about) for each in answers] == [
        *(("a", About.VERDICT), ("a", About.DIFFICULTY), ("b", About.VERDICT), ("b", About.DIFFICULTY)),
        ("c", About.VERDICT),
    ]
    # Mean squared distances: 0.5 observed, (0 + 9 + 4 + 1) / 4 of independent raters.
    assert agreement_on(About.DIFFICULTY, answers).kappa == pytest.approx(1 - 0.5 / 3.5)


def test_verdicts_on_two_results_say_so():
    (answer,) = answers_of([verdict("a", result="x"), verdict("a", "R2", result="y")], "R1", "R2")
    assert not answer.same_result


def test_findings_are_compared_across_thresholds():
    mine = judgement()
    theirs = dataclasses.replace(mine, reviewer="R2", threshold=0.5, volume_ml=0.7)
    other = judgement(voxel=(9, 9, 9), reviewer="R2")
    (answer,) = answers_of([mine, theirs, other], "R1", "R2")
    assert answer.same
    assert answer.voxel == mine.voxel
    assert answer.question == f"finding in {mine.map} ({mine.region}) at 1 2 3"
    assert answers_of([mine, dataclasses.replace(theirs, result="another")], "R1", "R2") == ()


def test_answers_as_csv_run_no_formula(tmp_path):
    records = [verdict("a", comment="=1+1"), verdict("a", "R2", Decision.REJECT), judgement()]
    records.append(dataclasses.replace(records[-1], reviewer="R2"))
    answers = answers_of(records, "R1", "R2")
    export_answers(answers, "R1", "R2", tmp_path / "two.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "two.csv").read_text(encoding="utf-8-sig"))))
    assert [(row["study"], row["about"], row["same"]) for row in rows] == [
        ("a", "verdict", "no"),
        (records[-1].study, "finding", "yes"),
    ]
    assert (rows[0]["answer_1"], rows[0]["answer_2"], rows[0]["comment_1"]) == ("accept", "reject", "'=1+1")
    assert (rows[1]["voxel"], rows[1]["reviewer_2"]) == ("1 2 3", "R2")


def test_every_line_is_json_of_its_own(log):
    append(log, judgement())
    content = json.loads(log.read_text(encoding="utf-8"))
    assert content["voxel"] == [1, 2, 3]
    assert content["schema"] == 1
