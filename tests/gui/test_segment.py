"""The panel *Segment with uncertainty*: run, cancel, fail, run again, save, and go away in the middle."""

import dataclasses
import errno
import gc
import re
import weakref
from pathlib import Path

import pytest
from qtpy.QtCore import QThreadPool

from napari_uncseg.errors import ModelError, StudyError, UncsegError
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.io.results import load_prediction
from napari_uncseg.labels import MODALITIES
from napari_uncseg.viewer.layers import add_study
from napari_uncseg.viewer.tags import open_predictions, open_studies, tag_of
from napari_uncseg.viewer.volumes import volume_layers
from napari_uncseg.widgets.job import STOPPED
from napari_uncseg.widgets.preferences import Preferences, read_preferences
from napari_uncseg.widgets.segment.choices import CUSTOM, FLIPS, FOLDER, SNAPSHOTS
from napari_uncseg.widgets.segment.panel import OWN_FOLDER, SegmentWidget

PATIENCE = 30000


@pytest.fixture
def panel(viewer, dock, network):
    widget = SegmentWidget(viewer)
    widget.network = network
    return dock(widget)


@pytest.fixture
def ready(viewer, panel, tiny_study):
    """The panel with the layers of a study."""
    add_study(viewer, tiny_study)
    panel.study.refresh()
    return panel


def finish(qtbot, panel):
    panel.network.may_answer.set()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)


def run(qtbot, panel):
    panel.run()
    finish(qtbot, panel)


def stop(qtbot, panel):
    panel.run()
    qtbot.waitUntil(panel.network.started.is_set, timeout=PATIENCE)
    panel.bar.cancel()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)


def test_a_run_on_open_layers(qtbot, viewer, panel, tiny_study, tiny_prediction):
    add_study(viewer, tiny_study)
    qtbot.waitUntil(lambda: panel.study.boxes["t1c"].currentText() == "T1c", timeout=PATIENCE)
    panel.run()
    qtbot.waitUntil(panel.network.started.is_set, timeout=PATIENCE)
    assert panel.running
    assert panel.bar.cancel_button.isEnabled()
    assert not panel.bar.run_button.isEnabled()
    qtbot.waitUntil(lambda: "Looking at the brain" in panel.bar.status.text(), timeout=PATIENCE)
    assert (panel.bar.progress.value(), panel.bar.progress.maximum()) == (1, 4)
    finish(qtbot, panel)
    assert panel.network.studies == [tiny_study]
    assert panel.network.asked == [{}]
    assert list(open_predictions(viewer)) == [tiny_study.id]
    assert len(viewer.layers) == 11
    assert "The tiles were made smaller." in panel.bar.warnings.text()
    assert f"{tiny_prediction.provenance['volumes_ml']['WT']:.1f} mL" in panel.results.table.text()
    assert panel.results.isVisibleTo(panel)
    assert panel.bar.run_button.isEnabled()
    assert not panel.bar.cancel_button.isEnabled()
    run(qtbot, panel)
    assert len(viewer.layers) == 11, "another run replaces the first"


def test_a_run_is_of_the_study_that_was_opened_last(qtbot, viewer, panel, tiny_study):
    for study in (tiny_study, dataclasses.replace(tiny_study, id="second", images=tiny_study.images * 2)):
        add_study(viewer, study)
    newest = {tag_of(layer).name: layer for layer in viewer.layers if tag_of(layer).study_id == "second"}
    qtbot.waitUntil(lambda: panel.study.layers() == {each: newest[each] for each in MODALITIES}, timeout=PATIENCE)
    # What is chosen by hand stays until another study is opened.
    first = next(layer.name for layer in viewer.layers if tag_of(layer).study_id == tiny_study.id)
    panel.study.boxes["t1n"].setCurrentText(first)
    viewer.layers[1].name = "renamed"
    panel.study.refresh()
    assert panel.study.boxes["t1n"].currentText() == first


def test_a_run_on_a_folder_opens_the_study(qtbot, viewer, panel, study_folder):
    panel.study.source.setCurrentIndex(FOLDER)
    panel.study.folder.line.setText(str(study_folder))
    run(qtbot, panel)
    assert list(open_studies(viewer)) == [study_folder.name]
    assert str(study_folder.parent) in panel.results.folder.line.text()


def test_a_run_on_four_files_adopts_their_layers(qtbot, viewer, panel, study_folder):
    for modality in ("t2w", "t1c", "t2f", "t1n"):
        for layer in volume_layers(read_volume(study_folder / f"{study_folder.name}-{modality}.nii.gz")):
            viewer.add_layer(layer)
    panel.study.refresh()
    assert panel.study.boxes["t2f"].currentText() == f"{study_folder.name}-t2f"
    run(qtbot, panel)
    assert not panel.bar.failure.isVisibleTo(panel), panel.bar.failure.text()
    assert list(open_studies(viewer)) == [study_folder.name]
    assert sum(layer.name.endswith(("t1c", "T1c")) for layer in viewer.layers) == 1


def test_the_result_goes_to_its_study_whatever_is_selected_by_then(qtbot, viewer, ready, tiny_study):
    ready.run()
    qtbot.waitUntil(ready.network.started.is_set, timeout=PATIENCE)
    add_study(viewer, dataclasses.replace(tiny_study, id="another"))
    viewer.layers.selection.active = viewer.layers[-1]
    finish(qtbot, ready)
    assert list(open_predictions(viewer)) == list(open_studies(viewer)) == [tiny_study.id], "one is on show"
    assert tiny_study.id in ready.results.title.text()


def test_cancel_stops_and_changes_nothing(qtbot, viewer, ready):
    stop(qtbot, ready)
    assert ready.network.stopped.is_set()
    assert len(viewer.layers) == 5
    assert ready.bar.status.text() == STOPPED
    assert not ready.bar.failure.isVisibleTo(ready)
    assert ready.bar.run_button.isEnabled()


def partial(prediction, done, wanted):
    settings = {**prediction.provenance["settings"], "members": wanted, "method": f"tta:{wanted}"}
    members = {"members_done": done, "members_wanted": wanted}
    return dataclasses.replace(
        prediction, provenance={**prediction.provenance, "settings": settings, "members": members}
    )


def test_members_that_are_done_are_shown_as_a_partial_result(qtbot, viewer, ready, tiny_prediction):
    ready.network.partial = partial(tiny_prediction, 3, 8)
    ready.members.preset.setCurrentIndex(FLIPS)
    ready.run()
    qtbot.waitUntil(ready.network.started.is_set, timeout=PATIENCE)
    assert str(ready.network.asked[0]["ensemble"]) == "tta:8"
    ready.bar.cancel()
    qtbot.waitUntil(lambda: not ready.running, timeout=PATIENCE)
    assert "3 of 8 members" in ready.bar.status.text()
    assert "partial: 3 of 8 members (tta:8)" in ready.results.summary.text()
    assert viewer.layers[-2].name == "unc_output · partial: 3 of 8"
    assert "last run" not in ready.members.cost.text()


def test_what_members_cost_is_said_before_they_run(qtbot, ready):
    choice = ready.members
    assert choice.cost.text() == "2 passes: up to 2 times the time of one."  # what the bundled network is judged with
    choice.preset.setCurrentIndex(FLIPS)
    assert choice.cost.text() == "8 passes: up to 8 times the time of one."
    choice.preset.setCurrentIndex(SNAPSHOTS)
    assert choice.preset.currentText() == "Snapshots (none)"
    choice.preset.setCurrentIndex(CUSTOM)
    assert choice.words.isVisibleTo(ready)
    assert not choice.cost.isVisibleTo(ready)
    choice.words.setText("mc_dropout:20,p=2")
    assert choice.cost.code == UncsegError.code
    choice.preset.setCurrentIndex(0)
    run(qtbot, ready)
    assert re.fullmatch(r"Expected: about \d+ (s|min), as the last run went\.", choice.cost.text())
    choice.learn(parse_ensemble("single"), 12.0)
    choice.preset.setCurrentIndex(FLIPS)
    assert choice.cost.text() == "Expected: up to about 2 min, as the last run went."
    choice.learn(parse_ensemble("tta:8"), 60.0)
    assert choice.cost.text() == "Expected: about 60 s, as the last run went."


def test_wrong_words_for_members_are_said_at_once(panel):
    panel.members.preset.setCurrentIndex(CUSTOM)
    panel.members.words.setText("guess")
    panel.run()
    assert panel.bar.failure.code == UncsegError.code
    panel.members.words.setText("ensemble:a,b")
    panel.model.setCurrentIndex(OWN_FOLDER)
    panel.model_folder.line.setText("c")
    panel.run()
    assert panel.bar.failure.code == ModelError.code


def test_a_folder_without_snapshots_is_told(panel, tmp_path):
    panel.model.setCurrentIndex(OWN_FOLDER)
    panel.model_folder.line.setText(str(tmp_path))
    panel.members.preset.setCurrentIndex(SNAPSHOTS)
    assert panel.members.preset.currentText() == "Snapshots (none)"
    assert panel.members.cost.isVisibleTo(panel)
    for number in range(1, 5):
        (tmp_path / f"snapshot-{number}.safetensors").touch()
    panel.model_folder.line.setText(f"{tmp_path}/")
    assert panel.members.preset.currentText() == "Snapshots (5)"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("The model folder x is damaged."), "The model folder x is damaged."),
        (MemoryError(), "The memory of this computer does not suffice"),
        (OSError(errno.ENOMEM, "Cannot allocate"), "The memory of this computer does not suffice"),
        (ValueError("odd"), "The run failed unexpectedly (ValueError: odd)"),
    ],
)
def test_a_failure_is_one_sentence_that_can_be_copied(qtbot, ready, error, sentence):
    ready.network.error = error
    run(qtbot, ready)
    assert ready.bar.failure.text().startswith(sentence)
    assert "Traceback" not in ready.bar.failure.text()
    assert ready.bar.failure.textInteractionFlags() & ready.bar.failure.textInteractionFlags().TextSelectableByMouse
    assert ready.bar.run_button.isEnabled()


def test_nothing_chosen_is_said_at_once(panel):
    panel.study.source.setCurrentIndex(FOLDER)
    panel.run()
    assert panel.bar.failure.code == StudyError.code
    panel.study.folder.line.setText("somewhere")
    panel.model.setCurrentIndex(OWN_FOLDER)
    panel.run()
    assert panel.bar.failure.code == ModelError.code


def test_without_layers_the_panel_says_what_to_do(qtbot, panel):
    assert panel.study.hint.isVisibleTo(panel)
    panel.run()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert panel.bar.failure.code == StudyError.code


def save(qtbot, panel):
    panel.results.save()
    qtbot.waitUntil(panel.results.save_button.isEnabled, timeout=PATIENCE)
    return panel.results.message.text()


def test_save_results(qtbot, ready, tiny_study, tiny_prediction, tmp_path):
    run(qtbot, ready)
    ready.results.folder.line.setText(str(tmp_path / "out"))
    assert str(tmp_path / "out" / tiny_study.id) in save(qtbot, ready)
    saved = load_prediction(tmp_path / "out" / tiny_study.id)
    assert (saved.segmentation == tiny_prediction.segmentation).all()
    assert "there already" in save(qtbot, ready)
    # Another run with another model finds those files in its way.
    provenance = {**tiny_prediction.provenance, "model": {"name": "b", "sha256": "b" * 64}}
    ready.network.prediction = dataclasses.replace(tiny_prediction, provenance=provenance)
    run(qtbot, ready)
    assert "overwrite it" in save(qtbot, ready)
    ready.results.overwrite.setChecked(True)
    assert save(qtbot, ready).startswith("Saved")


def test_saved_results_name_the_command_that_remakes_them(qtbot, viewer, panel, study_folder, tmp_path):
    panel.study.source.setCurrentIndex(FOLDER)
    panel.study.folder.line.setText(str(study_folder))
    panel.device.setCurrentText("cpu")
    run(qtbot, panel)
    panel.results.folder.line.setText(str(tmp_path / "out"))
    save(qtbot, panel)
    saved = load_prediction(tmp_path / "out" / study_folder.name)
    assert saved.provenance["command"] == f"uncseg predict {study_folder} -o {tmp_path / 'out'} --device cpu"


def test_a_missing_modality_is_named(qtbot, viewer, panel, tiny_study):
    add_study(viewer, tiny_study)
    viewer.layers["T1c"].name = "renamed"
    viewer.layers.remove(viewer.layers["T1n"])
    qtbot.waitUntil(lambda: panel.study.boxes["t1c"].currentText() == "renamed", timeout=PATIENCE)
    assert panel.study.boxes["t1n"].currentText() == ""
    panel.run()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert panel.bar.failure.code == StudyError.code
    assert "T1n" in panel.bar.failure.text()


@pytest.mark.usefixtures("windowed")
def test_closing_the_viewer_during_a_run_leaves_nothing(qtbot, viewer, ready):
    ready.run()
    qtbot.waitUntil(ready.network.started.is_set, timeout=PATIENCE)
    viewer.close()
    qtbot.waitUntil(ready.network.stopped.is_set, timeout=PATIENCE)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=PATIENCE)
    qtbot.wait(50)


@pytest.mark.usefixtures("windowed")
def test_closing_the_dock_during_a_run_stops_it_and_frees_the_panel(qtbot, viewer, dock, network, tiny_study):
    add_study(viewer, tiny_study)
    panel = dock(SegmentWidget(viewer))
    panel.run()
    qtbot.waitUntil(network.started.is_set, timeout=PATIENCE)
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(network.stopped.is_set, timeout=PATIENCE)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=PATIENCE)
    qtbot.wait(50)
    gone = weakref.ref(panel)
    panel.deleteLater()
    del panel
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    viewer.add_points([[0, 0, 0]])  # no callback reaches for the panel
    qtbot.wait(50)


def test_the_form_starts_as_the_settings_say(viewer, monkeypatch):
    wanted = Preferences(device="cpu", model_folder="/models/mine", output_folder="/results")
    monkeypatch.setattr("napari_uncseg.widgets.segment.panel.read_preferences", lambda: wanted)
    panel = SegmentWidget(viewer)
    assert panel.device.currentText() == "cpu"
    assert panel.model.currentIndex() == OWN_FOLDER
    assert panel.model_folder.path == Path("/models/mine")
    panel.deleteLater()


@pytest.mark.usefixtures("windowed")
def test_the_manifest_gives_the_settings_their_defaults(viewer):
    from napari.settings import get_plugin_settings

    get_plugin_settings("napari-uncseg")  # known to napari, so none of the values below is a fallback
    assert read_preferences() == Preferences()
