"""The list of studies: what is told of each, its order, and where the reviewer stopped."""

import dataclasses
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.errors import StudyError
from napari_uncseg.inference.jobs import find_jobs, job_of_files
from napari_uncseg.inference.pipeline import PredictionSettings
from napari_uncseg.io.command import option_words
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import MODALITIES, REGIONS, Region
from napari_uncseg.review.opened_case import open_case
from napari_uncseg.review.state import LISTS_NAME, recall_case, remember_case
from napari_uncseg.review.verdicts import (
    Decision,
    FindingVerdict,
    Judgement,
    Status,
    StudyVerdict,
    append,
    log_path,
    now,
)
from napari_uncseg.review.worklist import (
    ListedCase,
    in_order,
    list_cases,
    map_names,
    results_root,
    with_verdicts,
)


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


def decide(results, study, decision, reviewer="R1"):
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
    assert listed.case("empty").reviewer == "R1"


def test_a_judged_finding_flags_a_study_and_leaves_it_open(results):
    finding = FindingVerdict("sure", "R1", now(), Judgement.UNSURE, "unc_output", "WT", (1, 2, 3), 0.3, 0.1, 0.9)
    append(log_path(results), finding)
    case = list_cases(results).case("sure")
    assert case.status is Status.FLAGGED
    assert case.is_open


def test_status_may_be_that_of_one_reviewer(results):
    decide(results, "sure", Decision.ACCEPT, "R1")
    assert list_cases(results, reviewer="R2").case("sure").status is Status.NEW
    assert list_cases(results, reviewer="R1").case("sure").status is Status.ACCEPTED


def test_ties_and_studies_without_a_result():
    scored = [ListedCase(name, result=name, volumes_ml={Region.WT: 1}, triage_score=0.2) for name in ("b", "a")]
    without_score = ListedCase("c", result="c", volumes_ml={Region.WT: 1})
    bare = ListedCase("0")
    assert [case.id for case in in_order([bare, without_score, *scored])] == ["a", "b", "c", "0"]


def expected(value: float) -> dict[str, object]:
    regions = {region: {"value": value, "low": 0.1, "high": 0.9} for region in map(str, REGIONS)}
    reason = {"code": "low_expected_dice", "text": "It is low."}
    return {"expected_dice": regions, "needs_review": [reason] if value < 0.6 else []}


def test_expected_dice_orders_what_tells_it(results, tiny_prediction):
    for name, value in {"good": 0.85, "poor": 0.4, "fair": 0.7}.items():
        saved(tiny_prediction, results, name, triage_score=0.9, **expected(value))
    listed = list_cases(results)
    assert [case.id for case in listed.cases] == ["empty", "poor", "fair", "good", "unsure", "sure"]
    assert listed.case("poor").reasons == ("It is low.",)
    assert str(listed.case("fair").expected_dice) == "0.70 (0.10 to 0.90)"


@pytest.mark.parametrize("told", [{"WT": 0.5}, {"WT": {"value": 2, "low": 0, "high": 1}}, "high"])
def test_an_expected_dice_that_is_none_is_not_trusted(results, tiny_prediction, told):
    path = saved(tiny_prediction, results, "odd") / "odd_uncseg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expected_dice": told}))
    assert str(path) in list_cases(results).case("odd").problem


def test_a_damaged_result_does_not_hide_the_others(results):
    (results / "unsure" / "unsure_uncseg.json").write_text("{")
    listed = list_cases(results)
    assert {case.id for case in listed.cases} == {"empty", "unsure", "sure"}
    assert "cannot be read as JSON" in listed.case("unsure").problem
    with pytest.raises(StudyError, match="cannot be read as JSON"):
        open_case(listed.case("unsure"))


def test_two_results_of_one_study_are_told(results):
    shutil.copytree(results / "sure", results / "sure (copy)")
    case = list_cases(results).case("sure")
    assert "(copy)" in case.problem
    with pytest.raises(StudyError):
        open_case(case)


def test_foreign_numbers_are_not_trusted(results, tiny_prediction):
    path = saved(tiny_prediction, results, "odd") / "odd_uncseg.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "triage_score": "high", "volumes_ml": {"WT": None, "TC": True, "ET": 3}}))
    case = list_cases(results).case("odd")
    assert str(path) in case.problem
    assert case.triage_score is None


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
    elsewhere = {**tiny_prediction.provenance, "command": "uncseg predict elsewhere -o out"}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=elsewhere), results)
    assert list_cases(results).cases[0].files is None
    listed = list_cases(results, study_folder.parent / study_folder.name)
    opened = open_case(listed.cases[0])
    assert opened.study.id == opened.prediction.study_id == tiny_prediction.study_id
    assert opened.notes == ()


def test_images_of_another_patient_are_not_shown_with_a_result(tmp_path, tiny_prediction, study_folder):
    inputs = {role: {**entry, "sha256": "1" * 64} for role, entry in tiny_prediction.provenance["inputs"].items()}
    other = {**tiny_prediction.provenance, "inputs": inputs}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=other), tmp_path / "results")
    opened = open_case(list_cases(tmp_path / "results", study_folder).cases[0])
    assert opened.study is None
    assert any("other files" in note for note in opened.notes)


def test_images_are_found_where_the_command_says_they_were(tmp_path, tiny_prediction, study_folder):
    provenance = {**tiny_prediction.provenance, "command": f"uncseg predict {study_folder} -o out --device cpu"}
    save_prediction(dataclasses.replace(tiny_prediction, provenance=provenance), tmp_path / "results")
    case = list_cases(tmp_path / "results").cases[0]
    assert case.files is not None
    assert open_case(case).study is not None


@pytest.mark.parametrize("near", ["results", "out/results", "out/of/results"])
def test_relative_words_of_a_command_are_tried_near_the_results(
    tmp_path, monkeypatch, tiny_prediction, study_folder, near
):
    """As the guide has it: run in one folder, reviewed from another."""
    saved(tiny_prediction, tmp_path / near, study_folder.name, command=f"uncseg predict {study_folder.name} -o {near}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    case = list_cases(tmp_path / near).cases[0]
    assert case.files.modalities["t1c"].parent == study_folder
    monkeypatch.chdir(tmp_path)
    assert list_cases(Path(near)).cases[0].files is not None


def test_commands_name_images_and_output_by_absolute_paths(tmp_path, monkeypatch, study_folder):
    monkeypatch.chdir(tmp_path)
    settings = PredictionSettings(Path("out"), calibration=Path("calibration.json"), device="cpu", model=Path("model"))
    options = settings.options
    assert option_words(options) == [
        *("-o", str(tmp_path / "out"), "--device", "cpu", "--model", str(tmp_path / "model")),
        *("--calibration", str(tmp_path / "calibration.json")),
    ]
    bundled = PredictionSettings(Path("out"), calibration=Path("bundled"))
    assert bundled.options["--calibration"] == Path("bundled")
    jobs, _ = find_jobs([Path(study_folder.name)], options)
    assert jobs[0].command == shlex.join(["uncseg", "predict", str(study_folder), *option_words(options)])
    files = {name: Path(study_folder.name) / f"{study_folder.name}-{name}.nii.gz" for name in MODALITIES}
    words = shlex.split(job_of_files(files, None, options).command)
    assert words[3:10:2] == [str(tmp_path / file) for file in files.values()]


@pytest.mark.parametrize("word", [".", "..", "/"])
def test_a_word_that_names_nothing_is_not_searched(tmp_path, monkeypatch, tiny_prediction, study_folder, word):
    saved(tiny_prediction, tmp_path / "results", study_folder.name, command=f"uncseg predict {word} -o results")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setattr("napari_uncseg.io.command.find_studies", lambda path: pytest.fail(f"{path} was searched"))
    assert list_cases(tmp_path / "results").cases[0].files is None


@pytest.mark.parametrize("absolute", [True, False])
def test_images_that_were_named_one_by_one_are_found(tmp_path, monkeypatch, tiny_prediction, study_folder, absolute):
    folder = study_folder if absolute else Path(study_folder.name)
    named = " ".join(f"--{name} {folder / study_folder.name}-{name}.nii.gz" for name in MODALITIES)
    saved(tiny_prediction, tmp_path / "results", "mine", command=f"uncseg predict {named} --id mine -o results")
    monkeypatch.chdir(tmp_path / "results")
    case = list_cases(tmp_path / "results").case("mine")
    assert case.files.id == "mine"
    assert open_case(case).study.id == "mine"
    (study_folder / f"{study_folder.name}-t2w.nii.gz").unlink()
    assert list_cases(tmp_path / "results").case("mine").files is None


@pytest.mark.parametrize("command", ["uncseg predict " + 5000 * "x", "uncseg predict 'a", "uncseg predict a\0b", "", 7])
def test_foreign_commands_do_no_harm(tmp_path, tiny_prediction, command):
    saved(tiny_prediction, tmp_path / "results", "odd", command=command)
    assert list_cases(tmp_path / "results").case("odd").files is None


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


def test_a_wrong_folder_of_images_is_told_and_the_results_are_listed(tmp_path, results):
    listed = list_cases(results, tmp_path / "nowhere")
    assert {case.id for case in listed.cases} == {"empty", "unsure", "sure"}
    assert len(listed.problems) == 1
    assert "nowhere does not exist" in listed.problems[0]
    decide(results, "sure", Decision.ACCEPT)
    assert with_verdicts(listed).problems == listed.problems
    with pytest.raises(StudyError, match="nowhere does not exist"):
        list_cases(None, tmp_path / "nowhere")


def test_a_wrong_folder_of_images_does_not_hide_those_that_the_results_tell(tmp_path, tiny_prediction, study_folder):
    saved(tiny_prediction, tmp_path / "results", study_folder.name, command=f"uncseg predict {study_folder} -o results")
    listed = list_cases(tmp_path / "results", tmp_path / "nowhere")
    assert listed.cases[0].files is not None
    assert listed.problems


def test_a_folder_of_studies_given_as_results_is_told_apart(study_folder):
    for folder in (study_folder, study_folder.parent):
        with pytest.raises(StudyError, match="holds studies, no results: choose it as Images"):
            list_cases(folder)


def test_the_result_of_one_study_may_be_chosen_and_the_log_stays_beside_all(results):
    decide(results, "sure", Decision.ACCEPT)
    listed = list_cases(results / "sure")
    assert [case.id for case in listed.cases] == ["sure"]
    assert listed.log == log_path(results)
    assert listed.cases[0].status is Status.ACCEPTED


def test_the_folder_of_all_results_is_told_from_that_of_one(results, monkeypatch):
    assert results_root(results) == results
    assert results_root(results / "sure") == results
    monkeypatch.chdir(results / "sure")
    assert results_root(Path()) == results
    (results / "sure").rename(results / "renamed")  # no place that a study's folder would be looked for
    assert results_root(results / "renamed") == results / "renamed"
    assert results_root(results / "nowhere") == results / "nowhere"


def test_a_verdict_on_a_result_that_was_replaced_does_not_count(results, tiny_prediction):
    before = list_cases(results).case("sure")
    log = log_path(results)
    append(log, StudyVerdict("sure", "R1", now(), Decision.ACCEPT, result=before.fingerprint))
    finding = FindingVerdict("sure", "R1", now(), Judgement.UNSURE, "unc_output", "WT", (1, 2, 3), 0.3, 0.1, 0.9)
    append(log, dataclasses.replace(finding, result=before.fingerprint))
    accepted = list_cases(results).case("sure")
    assert (accepted.status, accepted.reviewer, accepted.earlier) == (Status.ACCEPTED, "R1", None)
    replaced = dataclasses.replace(
        tiny_prediction,
        study_id="sure",
        provenance={**tiny_prediction.provenance, "study": "sure", "triage_score": 0.1, "settings": {"members": 8}},
    )
    save_prediction(replaced, results, overwrite=True)
    listed = list_cases(results)
    case = listed.case("sure")
    assert case.fingerprint != before.fingerprint
    assert (case.status, case.reviewer) == (Status.NEW, "")
    assert (case.earlier.decision, case.earlier.reviewer) == (Decision.ACCEPT, "R1")
    assert [each.id for each in listed.cases] == ["empty", "unsure", "sure"]
    assert list_cases(results, reviewer="R2").case("sure").earlier is None
    append(log, StudyVerdict("sure", "R2", now(), Decision.REJECT, result=case.fingerprint))
    judged = list_cases(results).case("sure")
    assert (judged.status, judged.earlier) == (Status.REJECTED, None)


def test_the_fingerprint_is_that_of_the_loaded_result(results):
    for case in list_cases(results).cases:
        assert case.fingerprint
        assert case.fingerprint == fingerprint(open_case(case).prediction.provenance)


def test_the_place_in_a_list_is_remembered(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert recall_case(tmp_path, one, None) == ""
    remember_case(tmp_path, one, None, "a")
    remember_case(tmp_path, two, one, "b")
    remember_case(tmp_path, one, None, "c")
    assert recall_case(tmp_path, one, None) == "c"
    assert recall_case(tmp_path, two, one) == "b"
    (tmp_path / LISTS_NAME).write_text("[1")
    assert recall_case(tmp_path, one, None) == ""
