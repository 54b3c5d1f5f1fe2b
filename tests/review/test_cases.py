"""The list of studies: what is told of each, its order, and where the reviewer stopped."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from napari_uncseg.errors import StudyError
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.review.cases import (
    ListedCase,
    in_order,
    list_cases,
    map_names,
    open_case,
)
from napari_uncseg.review.stops import STOPS_NAME, recall_stop, remember_stop
from napari_uncseg.review.verdict import (
    Decision,
    FindingVerdict,
    Judgement,
    Status,
    StudyVerdict,
    append,
    log_path,
    now,
)
from napari_uncseg.study.save import save_prediction


def saved(prediction, results, name, **provenance):
    """A result of a study of another name."""
    content = {**prediction.provenance, "study": name, **provenance}
    save_prediction(dataclasses.replace(prediction, study_id=name, provenance=content), results)
    return results / name


@pytest.fixture
def results(tmp_path, tiny_prediction):
    folder = tmp_path / "results"
    saved(tiny_prediction, folder, "sure", triage_score=0.05)
    saved(tiny_prediction, folder, "unsure", triage_score=0.4)
    empty = dataclasses.replace(tiny_prediction, segmentation=np.zeros_like(tiny_prediction.segmentation))
    saved(empty, folder, "empty", triage_score=None, volumes_ml=dict.fromkeys(map(str, REGIONS), 0.0))
    return folder


def decide(results, study, decision, reviewer="AB"):
    append(log_path(results), StudyVerdict(study, reviewer, now(), decision))


def test_what_needs_eyes_comes_first(results):
    assert [case.id for case in list_cases(results).cases] == ["empty", "unsure", "sure"]


def test_a_case_tells_volumes_score_and_maps(results, tiny_prediction):
    case = list_cases(results).case("unsure")
    told = tiny_prediction.provenance["volumes_ml"]
    assert case.volumes_ml == {region: pytest.approx(told[region]) for region in REGIONS}
    assert case.triage_score == 0.4
    assert set(map_names(case)) == set(tiny_prediction.maps)
    assert case.maps["segmentation"].is_file()
    assert list_cases(results).case("empty").is_empty


def test_decided_studies_go_to_the_end(results):
    decide(results, "empty", Decision.ACCEPT)
    decide(results, "unsure", Decision.NEEDS_CORRECTION)
    listed = list_cases(results)
    assert [(case.id, case.status) for case in listed.cases] == [
        ("sure", Status.NEW),
        ("unsure", Status.NEEDS_CORRECTION),
        ("empty", Status.ACCEPTED),
    ]
    assert listed.counts() == {Status.NEW: 1, Status.ACCEPTED: 1, Status.NEEDS_CORRECTION: 1}
    assert listed.case("empty").reviewer == "AB"


def test_a_judged_finding_flags_a_study_and_leaves_it_open(results):
    finding = FindingVerdict("sure", "AB", now(), Judgement.UNSURE, "unc_output", "WT", (1, 2, 3), 0.3, 0.1, 0.9)
    append(log_path(results), finding)
    case = list_cases(results).case("sure")
    assert case.status is Status.FLAGGED
    assert case.is_open


def test_status_may_be_that_of_one_reviewer(results):
    decide(results, "sure", Decision.ACCEPT, "AB")
    assert list_cases(results, reviewer="CD").case("sure").status is Status.NEW
    assert list_cases(results, reviewer="AB").case("sure").status is Status.ACCEPTED


def test_ties_and_studies_without_a_result():
    scored = [ListedCase(name, result=name, volumes_ml={Region.WT: 1}, triage_score=0.2) for name in ("b", "a")]
    without_score = ListedCase("c", result="c", volumes_ml={Region.WT: 1})
    bare = ListedCase("0")
    assert [case.id for case in in_order([bare, without_score, *scored])] == ["a", "b", "c", "0"]


def test_a_damaged_result_does_not_hide_the_others(results):
    (results / "unsure" / "unsure_uncseg.json").write_text("{")
    listed = list_cases(results)
    assert {case.id for case in listed.cases} == {"empty", "unsure", "sure"}
    assert "cannot be read as JSON" in listed.case("unsure").problem
    with pytest.raises(StudyError, match="cannot be read as JSON"):
        open_case(listed.case("unsure"))


def test_foreign_numbers_are_not_trusted(results, tiny_prediction):
    path = saved(tiny_prediction, results, "odd") / "odd_uncseg.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "triage_score": "high", "volumes_ml": {"WT": None, "TC": True, "ET": 3}}))
    case = list_cases(results).case("odd")
    assert case.triage_score is None
    assert case.volumes_ml == {Region.ET: 3.0}


def test_a_torn_log_is_told(results):
    decide(results, "sure", Decision.ACCEPT)
    with log_path(results).open("a") as log:
        log.write('{"schema": 1, "ki')
    listed = list_cases(results)
    assert len(listed.problems) == 1
    assert listed.case("sure").status is Status.ACCEPTED


def test_a_partial_result_says_so(results, tiny_prediction):
    saved(tiny_prediction, results, "half", members={"members_done": 3, "members_wanted": 20})
    assert list_cases(results).case("half").note == "Partial result: 3 of 20 members."


def test_images_are_found_beside_results(tmp_path, tiny_prediction, study_folder):
    results = tmp_path / "results"
    save_prediction(tiny_prediction, results)
    assert list_cases(results).cases[0].files is None
    listed = list_cases(results, study_folder.parent / study_folder.name)
    opened = open_case(listed.cases[0])
    assert opened.study.id == opened.prediction.study_id == tiny_prediction.study_id
    assert any("made from other files" in note for note in opened.notes)


def test_images_are_found_where_the_command_says_they_were(tmp_path, tiny_prediction, study_folder):
    provenance = {**tiny_prediction.provenance, "command": f"uncseg predict {study_folder} -o out --device cpu"}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path / "results")
    case = list_cases(tmp_path / "results").cases[0]
    assert case.files is not None
    assert open_case(case).study is not None


def test_studies_without_results_are_listed_and_opened(study_folder):
    listed = list_cases(None, study_folder)
    assert listed.log is None
    assert listed.cases[0].result is None
    opened = open_case(listed.cases[0])
    assert opened.study is not None
    assert opened.prediction is None


def test_results_without_images_are_opened_with_a_note(results):
    opened = open_case(list_cases(results).case("sure"))
    assert opened.study is None
    assert opened.prediction.study_id == "sure"
    assert "were not found" in opened.notes[0]


def test_folders_that_hold_nothing_are_told(tmp_path):
    with pytest.raises(StudyError, match="No folder is chosen"):
        list_cases(None)
    with pytest.raises(StudyError, match="is no folder"):
        list_cases(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="holds no result"):
        list_cases(tmp_path)


def test_the_place_in_a_list_is_remembered(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert recall_stop(tmp_path, one, None) == ""
    remember_stop(tmp_path, one, None, "a")
    remember_stop(tmp_path, two, one, "b")
    remember_stop(tmp_path, one, None, "c")
    assert recall_stop(tmp_path, one, None) == "c"
    assert recall_stop(tmp_path, two, one) == "b"
    (tmp_path / STOPS_NAME).write_text("[1")
    assert recall_stop(tmp_path, one, None) == ""


def test_listing_and_opening_need_no_torch(results):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from napari_uncseg.review.cases import list_cases, open_case\n"
        f"opened = open_case(list_cases(Path({str(results)!r})).case('sure'))\n"
        "assert opened.prediction.study_id == 'sure'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
