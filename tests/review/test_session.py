"""The session: who hears of what, and what is there again after a restart."""

import json
import subprocess
import sys

import pytest

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.review.findings import find
from napari_uncseg.review.session import Session
from napari_uncseg.review.state import STATE_NAME, Draft
from napari_uncseg.review.verdicts import Decision, Judgement, log_path, read_log
from napari_uncseg.review.watershed import build_watershed


@pytest.fixture
def findings(shell_prediction):
    return find(build_watershed(shell_prediction, MapName("unc_output")), 0.3)


@pytest.fixture
def session(tmp_path, findings):
    session = Session(tmp_path / "state")
    session.look_at("shell", "f" * 64)
    session.change(map="unc_output", threshold=0.3)
    session.present(findings)
    return session


def test_state_is_there_again(tmp_path, session, findings):
    session.reviewer = " R1 "
    session.change(voxel_set=VoxelSet.TUMOUR)
    session.redraft(comment="half a sent", difficulty=3)
    session.go_to(findings.items[1])
    again = Session(tmp_path / "state")
    assert again.reviewer == "R1"
    again.look_at("shell", "f" * 64)
    assert again.state == session.state
    assert again.state.thresholds == {"unc_output": 0.3}
    assert again.draft.comment == "half a sent"
    again.present(findings)
    assert again.current == findings.items[1]
    again.look_at("another")
    assert again.draft.comment == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "reviewer": "", "studies": {"a": 1}}'])
def test_a_damaged_state_is_told_and_ignored(tmp_path, text):
    (tmp_path / STATE_NAME).write_text(text)
    session = Session(tmp_path)
    assert str(tmp_path / STATE_NAME) in session.problem
    session.look_at("a")
    assert session.state.map == ""


def test_a_state_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    session = Session(tmp_path / "file")
    session.look_at("a")
    session.redraft(comment="x")
    assert session.draft.comment == "x"
    assert "not remembered" in session.problem


def test_stepping_goes_round(session, findings):
    heard = []
    session.current_changed.connect(heard.append)
    for by in (1, 1, 1, -1):
        session.step(by)
    assert [finding.rank for finding in heard] == [1, 2, 1, 2]
    session.present(None)
    session.step(1)
    assert len(heard) == 4


def test_a_verdict_needs_a_name_a_folder_and_a_study(tmp_path, session):
    with pytest.raises(SaveError, match="No reviewer is named"):
        session.decide(Decision.ACCEPT)
    session.reviewer = "R1"
    with pytest.raises(SaveError, match="No folder for verdicts"):
        session.decide(Decision.ACCEPT)
    session.open_log(tmp_path)
    session.look_at("")
    with pytest.raises(SaveError, match="No study"):
        session.decide(Decision.ACCEPT)
    assert not log_path(tmp_path).exists()


def test_verdicts_are_on_disk_at_once_and_belong_to_result_and_reviewer(tmp_path, session, findings):
    session.reviewer = "R1"
    session.open_log(tmp_path)
    session.redraft(comment="draft", difficulty=4)
    session.decide(Decision.REJECT, 4, "draft")
    assert read_log(log_path(tmp_path)).records[-1].comment == "draft"
    assert session.verdict().decision is Decision.REJECT
    assert session.draft.comment == ""
    session.judge(findings.items[0], Judgement.FINE)
    assert session.judgement_of(findings.items[0]) is Judgement.FINE
    assert session.judgement_of(findings.items[1]) is None
    session.reviewer = "R2"
    assert session.judgement_of(findings.items[0]) is None
    assert session.verdict() is None
    session.reviewer = "R1"
    session.look_at("shell", "e" * 64)
    assert session.verdict() is None
    session.look_at("shell", "f" * 64)
    session.decide(None)
    assert session.verdict() is None


def test_a_judgement_is_found_again_at_another_threshold(tmp_path, session, shell_prediction, findings):
    session.reviewer = "R1"
    session.open_log(tmp_path)
    session.judge(findings.items[1], Judgement.REAL_ERROR)
    session.present(find(build_watershed(shell_prediction, MapName("unc_output")), 0.62))
    assert [session.judgement_of(each) for each in session.findings.items] == [None, Judgement.REAL_ERROR]


def test_a_log_that_cannot_be_read_changes_nothing(tmp_path, session):
    session.open_log(tmp_path)
    bad = tmp_path / "bad"
    log_path(bad).mkdir(parents=True)
    with pytest.raises(StudyError):
        session.open_log(bad)
    assert session.results == tmp_path


def test_after_a_kill_every_verdict_and_the_draft_are_there(tmp_path):
    """A reviewer types while the process is killed without warning."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from napari_uncseg.review.session import Session\n"
        "from napari_uncseg.review.verdicts import Decision\n"
        "folder = Path(sys.argv[1]); session = Session(folder)\n"
        "session.reviewer = 'R1'; session.open_log(folder)\n"
        "session.look_at('a'); session.decide(Decision.ACCEPT)\n"
        "session.look_at('b')\n"
        "for end in range(1, 8): session.redraft(comment='comment'[:end])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    again = Session(tmp_path)
    again.open_log(tmp_path)
    again.look_at("a")
    assert again.verdict().decision is Decision.ACCEPT
    again.look_at("b")
    assert again.draft.comment == "comment"
    assert json.loads((tmp_path / STATE_NAME).read_text())["reviewer"] == "R1"


def test_a_draft_belongs_to_the_result_it_speaks_of(tmp_path, session):
    session.redraft(comment="of the first", decision=Decision.REJECT)
    session.look_at("shell", "e" * 64)
    assert session.draft == Draft()
    session.redraft(comment="of the second")
    assert session.state.map == "unc_output"
    again = Session(tmp_path / "state")
    again.look_at("shell", "f" * 64)
    assert again.draft == Draft(Decision.REJECT, comment="of the first")
    again.redraft(decision=None, comment="")
    assert dict(again.state.drafts) == {"e" * 64: Draft(comment="of the second")}


def test_a_draft_of_an_earlier_version_is_still_there(tmp_path):
    place = {"map": "entropy", "voxel_set": "all", "thresholds": {}, "voxel": None}
    draft = {"decision": "reject", "difficulty": 2, "comment": "old"}
    content = {"schema": 1, "reviewer": "R1", "studies": {"a": {**place, **draft}}}
    (tmp_path / STATE_NAME).write_text(json.dumps(content))
    session = Session(tmp_path)
    session.look_at("a", "f" * 64)
    assert session.problem == ""
    assert session.draft == Draft(Decision.REJECT, 2, "old")
    session.redraft(comment="new")
    assert dict(session.state.drafts) == {"f" * 64: Draft(Decision.REJECT, 2, "new")}


def test_a_judgement_on_another_result_hides_none_of_this_one(tmp_path, session, findings):
    session.reviewer = "R1"
    session.open_log(tmp_path)
    session.judge(findings.items[0], Judgement.FINE)
    session.look_at("shell", "e" * 64)
    session.present(findings)
    assert session.judgements() == {}
    session.judge(findings.items[0], Judgement.REAL_ERROR)
    session.look_at("shell", "f" * 64)
    session.present(findings)
    assert session.judgements() == {1: Judgement.FINE}
