"""The panel *Verdict*: decide, correct, report; close and find everything again."""

import dataclasses
import json

import numpy as np
import pytest
from npe2 import PluginManager

from napari_uncseg.errors import SaveError
from napari_uncseg.io.results import load_prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.labels import Label
from napari_uncseg.review.corrections import corrections_in
from napari_uncseg.review.verdicts import Decision, Status, log_path, read_log, status_of
from napari_uncseg.viewer.corrections import correction_layer
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.widgets.verdict.panel import VerdictWidget

PATIENCE = 120000


pytestmark = pytest.mark.usefixtures("no_memory")


@pytest.fixture
def results(tmp_path, tiny_prediction):
    """Folder of results with the tiny one in it."""
    save_prediction(tiny_prediction, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def panel(viewer, dock, results, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    add_prediction(viewer, tiny_prediction)
    widget = dock(VerdictWidget(viewer))
    widget.folder.line.setText(str(results))
    widget.folder.line.editingFinished.emit()
    widget.reviewer.setText("R1")
    widget.reviewer.editingFinished.emit()
    return widget


def decide(panel, decision):
    panel.decision_buttons[decision].click()


def judge(panel, decision):
    decide(panel, decision)
    panel.save_button.click()


def test_without_a_result_it_says_what_to_do(viewer, dock):
    panel = dock(VerdictWidget(viewer))
    assert panel.hint.isVisibleTo(panel)
    assert not panel.save_button.isVisibleTo(panel)


def test_a_verdict_is_on_disk_and_in_words(panel, results, tiny_study):
    assert not panel.save_button.isEnabled()
    assert "new" in panel.status.text()
    decide(panel, Decision.NEEDS_CORRECTION)
    panel.difficulty.setCurrentIndex(4)
    panel.comment.setPlainText("cyst left out")
    panel.save_button.click()
    record = read_log(log_path(results)).records[-1]
    assert (record.study, record.reviewer, record.decision) == (tiny_study.id, "R1", Decision.NEEDS_CORRECTION)
    assert (record.difficulty, record.comment) == (4, "cyst left out")
    assert len(record.result) == 64
    assert "needs correction, difficulty 4. “cyst left out”" in panel.status.text()
    assert panel.comment.toPlainText() == ""
    assert not any(button.isChecked() for button in panel.decision_buttons.values())
    assert status_of(read_log(log_path(results)).records, tiny_study.id) is Status.NEEDS_CORRECTION


def test_a_verdict_can_be_taken_back_and_given_again(panel, results):
    decide(panel, Decision.REJECT)
    panel.comment.setPlainText("motion")
    panel.save_button.click()
    panel.withdraw_button.click()
    assert read_log(log_path(results)).records[-1].decision is None
    assert panel.comment.toPlainText() == "motion"
    assert panel.decision_buttons[Decision.REJECT].isChecked()
    assert not panel.withdraw_button.isEnabled()
    panel.save_button.click()
    assert len(read_log(log_path(results)).records) == 3


def test_what_is_missing_is_said_and_nothing_is_lost(viewer, dock, tiny_prediction):
    add_prediction(viewer, tiny_prediction)
    panel = dock(VerdictWidget(viewer))
    panel.reviewer.setText("R1")
    panel.reviewer.editingFinished.emit()
    decide(panel, Decision.ACCEPT)
    panel.comment.setPlainText("fine")
    panel.save_button.click()
    assert panel.message.code == SaveError.code
    assert panel.comment.toPlainText() == "fine"


def test_what_was_said_of_one_study_is_not_told_of_the_next(qtbot, viewer, panel, tiny_prediction):
    judge(panel, Decision.ACCEPT)
    assert "Saved: accept" in panel.message.text()
    add_prediction(viewer, dataclasses.replace(tiny_prediction, study_id="another"))
    qtbot.waitUntil(lambda: panel.study_choice.findText("another") >= 0, timeout=PATIENCE)
    assert panel.message.isVisibleTo(panel)
    panel.study_choice.setCurrentText("another")
    assert not panel.message.isVisibleTo(panel)


def test_a_verdict_on_the_result_before_is_told_and_does_not_count(qtbot, panel, tiny_study):
    judge(panel, Decision.ACCEPT)
    session = panel._session
    session.look_at(tiny_study.id, "e" * 64)
    panel._tell_status()
    assert panel.status.text() == f"{tiny_study.id}: new; an earlier result was accepted"
    assert not panel.withdraw_button.isEnabled()


def test_the_folder_on_show_is_where_verdicts_go(panel, tmp_path):
    panel._session.open_log(tmp_path)
    assert panel.folder.line.text() == str(tmp_path)


@pytest.mark.usefixtures("windowed")
def test_a_draft_survives_the_window(viewer, dock, panel, tmp_path, tiny_study):
    decide(panel, Decision.ACCEPT)
    panel.comment.setPlainText("half a sent")
    kept = json.loads((tmp_path / "state" / "review.json").read_text())
    (draft,) = kept["studies"][tiny_study.id]["drafts"].values()
    assert draft["comment"] == "half a sent"
    viewer.window.remove_dock_widget(panel)
    again = dock(VerdictWidget(viewer))
    assert again.comment.toPlainText() == "half a sent"
    assert again.decision_buttons[Decision.ACCEPT].isChecked()
    assert again.reviewer.text() == "R1"


def test_another_study_has_a_verdict_of_its_own(viewer, panel, tiny_prediction):
    judge(panel, Decision.ACCEPT)
    add_prediction(viewer, dataclasses.replace(tiny_prediction, study_id="other"))
    panel.refresh()
    panel.study_choice.setCurrentText("other")
    assert panel.status.text() == "other: new"
    assert session_of(viewer).study == "other"
    session_of(viewer).look_at(tiny_prediction.study_id)
    assert panel.study_choice.currentText() == tiny_prediction.study_id


@pytest.mark.usefixtures("windowed")
def test_a_result_that_was_opened_has_its_folder(qtbot, viewer, dock, results, tiny_prediction):
    manager = PluginManager.instance()
    if "napari-uncseg" not in manager:
        manager.discover()
    viewer.open(str(results / tiny_prediction.study_id), plugin="napari-uncseg")
    qtbot.waitUntil(lambda: viewer.canvas.overlays.scale_bar.visible, timeout=PATIENCE)
    panel = dock(VerdictWidget(viewer))
    assert panel.folder.path == results
    judge(panel, Decision.ACCEPT)
    assert len(read_log(log_path(results)).records) == 1


def test_a_result_of_another_patient_of_the_same_name_has_its_own_folder(viewer, panel, tiny_prediction, tmp_path):
    inputs = {name: {**each, "sha256": "2" * 64} for name, each in tiny_prediction.inputs.items()}
    other = dataclasses.replace(tiny_prediction, provenance={**tiny_prediction.provenance, "inputs": inputs})
    add_prediction(viewer, load_prediction(save_prediction(other, tmp_path / "elsewhere").folder))
    panel.refresh()
    assert session_of(viewer).results == panel.folder.path == tmp_path / "elsewhere"


def test_a_torn_log_is_told(viewer, panel, results):
    judge(panel, Decision.ACCEPT)
    log = log_path(results)
    log.write_bytes(log.read_bytes()[:-20])
    panel.folder.line.setText("")
    panel.folder.line.editingFinished.emit()
    panel.folder.line.setText(str(results))
    panel.folder.line.editingFinished.emit()
    assert "is torn" in panel.message.text()


def test_painting_is_tracked_saved_and_never_over_the_original(qtbot, viewer, panel, results, tiny_prediction):
    folder = results / tiny_prediction.study_id
    panel.correction.correct_button.click()
    layer = correction_layer(viewer, tiny_prediction)
    assert viewer.layers.selection.active.name == layer.name
    assert layer.mode == "paint"
    assert not viewer.layers["Segmentation"].visible
    assert panel.correction.told.text() == "Nothing is changed yet."
    layer.selected_label = int(Label.ET)
    layer.brush_size = 6
    layer.paint((5, 5, 5), int(Label.ET))
    qtbot.waitUntil(lambda: panel.correction.told.text().startswith("Changed:"), timeout=PATIENCE)
    changed = int((np.asarray(layer.data) != viewer.layers["Segmentation"].data).sum())
    assert f"({changed} voxels)" in panel.correction.told.text()
    assert (viewer.layers["Segmentation"].data == layer.data).mean() < 1, "the original was painted on"
    panel.correction.save_button.click()
    saved = corrections_in(folder, tiny_prediction.study_id)
    assert len(saved) == 1
    assert str(saved[0]) in panel.correction.message.text()
    assert (load_prediction(folder).segmentation == tiny_prediction.segmentation).all()
    told = json.loads(saved[0].with_name(saved[0].name.replace(".nii.gz", ".json")).read_text())
    assert told["changes"]["voxels"] == changed
    assert told["reviewer"] == "R1"
    layer.undo()
    qtbot.waitUntil(lambda: panel.correction.told.text() == "Nothing is changed yet.", timeout=PATIENCE)
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not panel.correction.save_button.isEnabled(), timeout=PATIENCE)
    panel.correction.correct_button.click()
    assert saved[0].name in panel.correction.message.text()
    assert f"({changed} voxels)" in panel.correction.told.text()


def test_painted_nonsense_is_refused_in_one_sentence(qtbot, viewer, panel, tiny_prediction):
    panel.correction.correct_button.click()
    correction_layer(viewer, tiny_prediction).paint((5, 5, 5), 7)
    panel.correction.save_button.click()
    assert panel.correction.message.code


def test_the_report_is_made(qtbot, viewer, panel, results, tiny_study):
    judge(panel, Decision.ACCEPT)
    panel.report_button.click()
    qtbot.waitUntil(lambda: not panel.report.running, timeout=PATIENCE)
    folder = results / tiny_study.id
    assert (folder / f"{tiny_study.id}_review.pdf").read_bytes().startswith(b"%PDF")
    assert "Verdict of R1" in (folder / f"{tiny_study.id}_review.html").read_text(encoding="utf-8")
    assert "_review.pdf" in panel.output_message.text()
    assert panel.report_button.isEnabled()


def test_a_report_needs_the_images(viewer, panel):
    for name in ("T1c", "T1n", "FLAIR (T2f)", "T2w", "Reference"):
        viewer.layers.remove(viewer.layers[name])
    panel.report_button.click()
    assert panel.output_message.isVisibleTo(panel)


def test_the_csv_is_written(panel, tmp_path):
    assert not panel.csv_button.isEnabled()
    judge(panel, Decision.ACCEPT)
    panel.export(str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text(encoding="utf-8-sig").count("\n") == 2
