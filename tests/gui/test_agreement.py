"""The panel *Two reviewers*: what they said, where they differ, and the way to the study."""

import csv
import dataclasses

import pytest
from qtpy.QtCore import Qt

from napari_uncseg.errors import StudyError
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.review.verdicts import Decision, FindingVerdict, Judgement, StudyVerdict, append, log_path, now
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.orientation import world_of
from napari_uncseg.widgets.agreement.panel import CLOSED, AgreementWidget, log_of
from napari_uncseg.widgets.case_browser.panel import CaseBrowserWidget

PATIENCE = 60000
VOXEL = (16, 25, 20)

pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def panel(qtbot, viewer):
    widget = AgreementWidget(viewer)
    qtbot.addWidget(widget)
    return widget


def verdict(study, reviewer, decision, difficulty=None):
    return StudyVerdict(study, reviewer, now(), decision, difficulty)


def judgement(study, reviewer, said):
    return FindingVerdict(study, reviewer, now(), said, "unc_output", "WT", VOXEL, 0.25, 1.5, 0.9)


def log_in(folder):
    """Path of the log of a folder of results."""
    folder.mkdir()
    return log_path(folder)


@pytest.fixture
def logs(tmp_path):
    """Logs of R1 and R2: they differ on the verdict of b, the difficulty of a and a finding of a."""
    one, two = log_in(tmp_path / "one"), log_in(tmp_path / "two")
    append(one, *(verdict(study, "R1", Decision.ACCEPT, 2) for study in ("a", "b", "c", "d")))
    append(one, judgement("a", "R1", Judgement.FINE))
    append(two, verdict("a", "R2", Decision.ACCEPT, 4), verdict("b", "R2", Decision.REJECT))
    append(two, verdict("c", "R2", Decision.ACCEPT), judgement("a", "R2", Judgement.REAL_ERROR))
    return one, two


def rows(panel):
    table = panel.table
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]


def test_it_says_what_to_do_and_what_is_wrong(panel, logs, tmp_path):
    assert panel.hint.isVisibleTo(panel)
    assert not panel.csv_button.isVisibleTo(panel)
    panel.show_logs(tmp_path / "nowhere.jsonl")
    assert panel.failure.code == StudyError.code
    assert not panel.hint.isVisibleTo(panel)
    panel.show_logs(logs[0])
    assert "R1" in panel.failure.text()
    assert not panel.table.isVisibleTo(panel)
    panel.show_logs(*logs)
    assert not panel.failure.isVisibleTo(panel)
    panel.people[1].setCurrentText("R1")
    assert not panel.table.isVisibleTo(panel)


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-this-name/log.jsonl", "a\0b"])
def test_a_path_that_nobody_can_look_at_is_told_as_any_other(panel, path):
    panel.show_logs(path)
    assert panel.failure.code == StudyError.code
    assert not panel.table.isVisibleTo(panel)


def test_two_logs_or_a_folder_are_compared(panel, logs):
    panel.show_logs(logs[0].parent, logs[1])
    assert panel.reviewers == ("R1", "R2")
    verdicts, difficulty, findings, alone = panel.summary.text().splitlines()
    assert verdicts == "Verdicts: the same for 2 of 3 studies (67%); Cohen's kappa 0.00."
    assert difficulty == "Difficulty: the same for 0 of 1 studies (0%); weighted kappa 0.00."
    assert findings == "Findings: the same for 0 of 1 findings (0%); Cohen's kappa 0.00."
    assert alone == "Studies decided 1 by R1 alone are not compared."
    assert rows(panel) == [
        ["a", "difficulty", "2", "4"],
        ["a", "finding", "fine", "real error"],
        ["b", "verdict", "accept", "reject"],
    ]
    panel.only_different.setChecked(False)
    assert len(rows(panel)) == 5


def test_an_undefined_kappa_says_why(panel, tmp_path):
    log = log_in(tmp_path / "both")
    append(log, verdict("a", "R1", Decision.ACCEPT), verdict("a", "R2", Decision.ACCEPT))
    panel.show_logs(log)
    verdicts, difficulty, _ = panel.summary.text().splitlines()
    assert "kappa is undefined, because both always said “accept”" in verdicts
    assert difficulty == "Difficulty: weighted kappa is undefined, because there is no difficulty that both gave."
    assert not panel.table.isVisibleTo(panel)


def test_the_log_of_the_review_is_followed(panel, viewer, logs):
    session_of(viewer).open_log(logs[0].parent)
    assert log_of(panel.logs[0]) == logs[0]
    append(logs[0], verdict("d", "R2", Decision.REJECT))
    session_of(viewer).open_log(logs[0].parent)
    assert rows(panel) == [["d", "verdict", "accept", "reject"]]


def test_all_answers_are_exported(panel, logs, tmp_path):
    panel.show_logs(*logs)
    panel.export(str(tmp_path / "two.csv"))
    assert "Saved as" in panel.message.text()
    with (tmp_path / "two.csv").open(encoding="utf-8-sig", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["study"], row["about"], row["same"]) for row in read] == [
        *(("a", "verdict", "yes"), ("a", "difficulty", "no"), ("a", "finding", "no")),
        *(("b", "verdict", "no"), ("c", "verdict", "yes")),
    ]


def test_a_row_opens_its_study_at_the_finding(qtbot, panel, viewer, logs, tmp_path, tiny_prediction):
    panel.show_logs(*logs)
    panel.table.setCurrentCell(1, 0)
    panel.open_button.click()
    assert panel.failure.text() == CLOSED
    for name in ("a", "b"):
        save_prediction(dataclasses.replace(tiny_prediction, study_id=name), tmp_path / "results")
    browser = CaseBrowserWidget(viewer)
    qtbot.addWidget(browser)
    browser.show_folders(tmp_path / "results")
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: browser.shown == "a", timeout=PATIENCE)
    there = world_of(VOXEL, tiny_prediction.segmentation.shape, tiny_prediction.affine)
    assert viewer.dims.point == pytest.approx(there)
    viewer.dims.point = (0, 0, 0)
    panel.table.cellDoubleClicked.emit(1, 0)  # it is open: only gone to
    assert viewer.dims.point == pytest.approx(there)
    panel.table.cellDoubleClicked.emit(2, 0)
    qtbot.waitUntil(lambda: browser.shown == "b", timeout=PATIENCE)
    session_of(viewer).study_requested.emit("elsewhere", None)
    assert "elsewhere" in browser.failure.text()
