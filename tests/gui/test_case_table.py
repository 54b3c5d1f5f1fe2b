"""What the table of the case browser tells of a study besides its cells."""

import pytest

from napari_uncseg.review.verdicts import Decision, Status, StudyVerdict, now
from napari_uncseg.review.worklist import CaseList, ListedCase
from napari_uncseg.widgets.case_browser.table import STATUS, CaseTable


@pytest.fixture
def table(qtbot):
    table = CaseTable()
    qtbot.addWidget(table)
    return table


def tip_of(table, case):
    table.show_list(CaseList((case,)))
    return table.item(0, STATUS).toolTip().splitlines()


def test_a_verdict_on_an_earlier_result_is_told_as_such(table):
    earlier = StudyVerdict("a", "R1", now(), Decision.ACCEPT, result="old")
    assert "accepted by R1, of an earlier result" in tip_of(table, ListedCase("a", earlier=earlier))
    judged = ListedCase("a", status=Status.REJECTED, reviewer="R2", earlier=earlier)
    assert "rejected by R2" in tip_of(table, judged)
    assert not any("earlier" in line for line in tip_of(table, judged))


def test_the_status_says_when_a_study_is_flagged(table):
    tip = table.horizontalHeaderItem(STATUS).toolTip()
    assert "flagged: findings were judged real errors or unsure" in tip
    assert all(status in tip for status in Status)
