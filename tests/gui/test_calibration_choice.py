"""The calibration of a run in the panel: what is offered, whether it fits is said at once, and what comes of it."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest
from qtpy.QtCore import Qt

from napari_uncseg.errors import CalibrationError
from napari_uncseg.inference.ensemble_spec import SINGLE, parse_ensemble
from napari_uncseg.inference.ensembling import plan_ensemble
from napari_uncseg.io.results import load_prediction
from napari_uncseg.labels import REGIONS
from napari_uncseg.models import identity
from napari_uncseg.models.identity import NO_BUNDLED, identify, joint_sha256
from napari_uncseg.models.model import load_model, save_model
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.uncertainty.recalibration.models import Temperature
from napari_uncseg.widgets.segment.choices import CUSTOM, FOLDER, NONE, OWN_FILE, SHIPPED, CalibrationChoice
from napari_uncseg.widgets.segment.panel import BUNDLED, OWN_FOLDER, SegmentWidget

PATIENCE = 60000
FITS = "Fits this model with the members {}; the segmentation stays as it is."


@pytest.fixture
def bundle(monkeypatch, tmp_path):
    """Folder that stands in for that of the bundled model: the same model, without a calibration."""
    folder, real = tmp_path / "models" / "bundled", identity.bundled_model_folder()
    folder.mkdir(parents=True)
    shutil.copy(real / identity.PROVENANCE, folder)
    monkeypatch.setattr(identity, "bundled_model_folder", lambda: folder)
    return folder


@pytest.fixture
def choice_of(qtbot, bundle):
    """The form alone, looking at a single pass of the bundled model."""

    def build():
        choice = CalibrationChoice()
        qtbot.addWidget(choice)
        choice.look_at(None, SINGLE)
        return choice

    return build


@pytest.fixture
def panel(viewer, dock, network, bundle):
    widget = dock(SegmentWidget(viewer))
    widget.network = network
    return widget


def calibration_of(sha256, members="single", **provenance):
    return Calibration(dict.fromkeys(REGIONS, Temperature(2.0)), sha256, members, provenance=provenance)


@pytest.fixture
def file(tmp_path):
    """Calibration of the bundled model as it is judged."""
    path = tmp_path / "mine.json"
    calibration_of(identify().sha256, identify().ensemble).save(path)
    return path


def choose(choice, path):
    choice.box.setCurrentIndex(OWN_FILE)
    choice.file.line.setText(str(path))


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_good_bundled_one_the_choice_is_off_and_says_why(choice_of, bundle, damaged):
    if damaged:
        (bundle / "calibration.json").write_text("{")
    choice = choice_of()
    box = choice.box
    assert box.currentIndex() == NONE
    assert not box.model().item(SHIPPED).isEnabled()
    why = box.itemData(SHIPPED, Qt.ItemDataRole.ToolTipRole)
    assert (why == NO_BUNDLED) is not damaged
    assert why


def test_the_bundled_one_belongs_to_the_bundled_model(choice_of, bundle, tiny_model_folder):
    calibration_of(identify().sha256, studies={"a": {}, "b": {}}).save(bundle / "calibration.json")
    choice = choice_of()
    assert choice.box.model().item(SHIPPED).isEnabled()
    choice.box.setCurrentIndex(SHIPPED)
    assert choice.note.text() == FITS.format("single, fitted on 2 studies")
    assert choice.chosen_for(None, SINGLE) == Path("bundled")
    choice.look_at(tiny_model_folder, SINGLE)
    assert choice.note.code == CalibrationError.code


def test_snapshots_are_counted_and_auto_is_what_the_model_says(choice_of, tmp_path, tiny_model_folder):
    model = load_model(tiny_model_folder)
    save_model(model, tmp_path / "model", snapshots=[model.network.state_dict()] * 2)
    calibration_of(identify(tmp_path / "model").sha256, "snapshots:3").save(tmp_path / "c.json")
    choice = choice_of()
    choose(choice, tmp_path / "c.json")
    choice.look_at(tmp_path / "model", SINGLE)
    assert choice.note.code == CalibrationError.code
    choice.look_at(tmp_path / "model", parse_ensemble("snapshots"))
    assert choice.note.text() == FITS.format("snapshots:3")
    calibration_of(identify().sha256, identify().ensemble).save(tmp_path / "own.json")
    choose(choice, tmp_path / "own.json")
    choice.look_at(None, parse_ensemble("auto"))
    assert choice.note.text() == FITS.format(identify().ensemble)


def test_an_ensemble_is_known_by_its_folders(choice_of, tiny_model_folder, tmp_path):
    folders = [tiny_model_folder, tmp_path / "other"]
    shutil.copytree(*folders)
    members = parse_ensemble(f"ensemble:{folders[0]},{folders[1]}")
    sha256 = joint_sha256([identify(tiny_model_folder).sha256] * 2)
    assert plan_ensemble(members, load_model(tiny_model_folder)).identity["sha256"] == sha256
    calibration_of(sha256, members.method).save(tmp_path / "c.json")
    choice = choice_of()
    choose(choice, tmp_path / "c.json")
    choice.look_at(None, members)
    assert choice.note.text() == FITS.format("ensemble:2")


def test_a_file_that_is_none_is_said_at_once(choice_of, tmp_path):
    choice = choice_of()
    choice.box.setCurrentIndex(OWN_FILE)
    assert choice.note.text() == ""  # nothing typed yet is no failure
    with pytest.raises(CalibrationError):
        choice.chosen_for(None, SINGLE)
    choice.file.line.setText(str(tmp_path / "none.json"))
    assert choice.note.code == CalibrationError.code


def test_the_panel_says_what_does_not_fit_and_never_starts_it(panel, file, tiny_model_folder):
    choice = panel.calibration
    choose(choice, file)
    assert choice.note.text() == FITS.format(identify().ensemble)
    panel.model_folder.line.setText(str(tiny_model_folder))
    panel.model.setCurrentIndex(OWN_FOLDER)
    assert choice.note.code == CalibrationError.code
    panel.model.setCurrentIndex(BUNDLED)
    panel.members.preset.setCurrentIndex(CUSTOM)
    assert choice.note.text() == ""  # no members are said yet
    panel.members.words.setText("tta:8")
    sentence = choice.note.text()
    assert choice.note.code == CalibrationError.code
    panel.study.source.setCurrentIndex(FOLDER)
    panel.study.folder.line.setText("somewhere")
    panel.run()
    assert not panel.running
    assert panel.bar.failure.text() == sentence
    assert panel.network.studies == []


def test_a_recalibrated_run_is_told_and_remade_with_its_calibration(
    qtbot, panel, study_folder, tiny_prediction, file, tmp_path
):
    settings = {**tiny_prediction.provenance["settings"], "calibration": "a" * 64}
    provenance = {**tiny_prediction.provenance, "settings": settings}
    panel.network.prediction = dataclasses.replace(tiny_prediction, provenance=provenance)
    panel.study.source.setCurrentIndex(FOLDER)
    panel.study.folder.line.setText(str(study_folder))
    choose(panel.calibration, file)
    panel.network.may_answer.set()
    panel.run()
    qtbot.waitUntil(lambda: not panel.running, timeout=PATIENCE)
    assert not panel.bar.failure.isVisibleTo(panel), panel.bar.failure.text()
    (asked,) = panel.network.asked
    assert asked["calibration"].model_sha256 == identify().sha256
    assert "The probabilities are recalibrated." in panel.results.summary.text()
    panel.results.folder.line.setText(str(tmp_path / "out"))
    panel.results.save()
    qtbot.waitUntil(panel.results.save_button.isEnabled, timeout=PATIENCE)
    command = shlex.split(load_prediction(tmp_path / "out" / study_folder.name).provenance["command"])
    assert command[-2:] == ["--calibration", str(file)]
