"""The window that `uncseg view` and `uncseg demo` open, and the picture they take of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from napari_uncseg.cli import view, window
from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.inference import pipeline as batch
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import save_prediction
from napari_uncseg.io.study import Source, Study
from napari_uncseg.labels import MODALITIES


@pytest.fixture
def results(tiny_prediction: Prediction, tmp_path: Path) -> Path:
    save_prediction(tiny_prediction, tmp_path / "results")
    return tmp_path / "results"


def test_results_are_found_by_either_folder(tiny_study: Study, results: Path) -> None:
    for named in (results, results / tiny_study.id):
        found = view.result_of(tiny_study, named, ())
        assert found is not None
        prediction, folder = found
        assert (prediction.study_id, folder) == (tiny_study.id, results / tiny_study.id)
    assert view.result_of(tiny_study, None, [results / "nowhere", results]) is not None
    assert view.result_of(tiny_study, None, [results / "nowhere"]) is None


def test_named_results_that_are_not_there_are_an_error(tiny_study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        view.result_of(tiny_study, tmp_path, ())


def test_results_on_another_grid_are_refused(tiny_study: Study, results: Path) -> None:
    moved = replace(tiny_study, affine=tiny_study.affine + np.diag([0.5, 0, 0, 0]))
    with pytest.raises(StudyError):
        view.result_of(moved, results, ())


def test_the_result_of_another_patient_is_refused(tiny_study: Study, results: Path) -> None:
    sources = tuple(Source(role, Path(f"{role}.nii.gz"), "2" * 64) for role in MODALITIES)
    other = replace(tiny_study, sources=sources)
    with pytest.raises(StudyError):
        view.result_of(other, results, ())
    assert view.result_of(other, None, [results]) is None


@pytest.mark.parametrize("command", ["view", "demo", "review"])
def test_no_picture_is_saved_over_an_image(command: str, study_folder: Path, uncseg) -> None:
    image = study_folder / f"{study_folder.name}-t1c.nii.gz"
    before = image.read_bytes()
    uncseg(command, study_folder, "--screenshot", image, code=2)
    assert image.read_bytes() == before


def test_view_refuses_a_folder_of_many(study_folder: Path, tmp_path: Path, uncseg) -> None:
    for name in ("a", "b"):
        shutil.copytree(study_folder, tmp_path / "cohort" / name)
    result = uncseg("view", tmp_path / "cohort", code=1)
    assert "2 studies" in result.stderr


def test_view_says_how_to_open_results(results: Path, tiny_study: Study, uncseg) -> None:
    own = results / tiny_study.id
    for named, there in ((own, own), (own / f"{tiny_study.id}_seg.nii.gz", own), (results, results)):
        result = uncseg("view", named, code=1)
        assert str(named) in result.stderr
        assert f"--results {there}" in result.stderr


def test_view_takes_no_study_for_results(study_folder, tiny_prediction, tmp_path, uncseg):
    cohort = tmp_path / "cohort"
    for name in ("a", "b"):
        shutil.copytree(study_folder, cohort / name)
        save_prediction(replace(tiny_prediction, study_id=name), cohort)
    assert view.results_instead(cohort) is None
    assert view.results_instead(cohort / "a") is None
    assert view.results_instead(cohort / "a" / "typo.nii.gz") is None
    assert "holds 2 studies" in uncseg("view", cohort, code=1).stderr


def test_a_failed_picture_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UncsegError, match="nowhere"):
        window.picture_elsewhere(["view", str(tmp_path / "nowhere")], tmp_path / "demo.png")
    assert not (tmp_path / "demo.png").exists()


def test_a_machine_without_xvfb_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: False)
    monkeypatch.setattr(window.shutil, "which", lambda name: None)
    with pytest.raises(UncsegError, match="xvfb"):
        window.run_windowed(["-c", ""], timeout=1.0)


def test_a_blind_platform_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not window.has_display()
    monkeypatch.delenv("QT_QPA_PLATFORM")
    monkeypatch.setenv("XAUTHORITY", "/tmp/xvfb-run.Zq3/Xauthority")
    assert not window.is_watched()


@pytest.mark.parametrize("name", ["", ":987", "unix:987.0", "localhost:9870", "nonsense"])
def test_a_display_that_does_not_answer_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", name)
    assert not window.has_display()


def test_a_window_that_never_opens_is_given_up_with_its_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: False)
    mark = f"mark_{os.getpid()}"
    with pytest.raises(UncsegError):
        window.run_windowed(["-c", f"import time; {mark} = 1; time.sleep(60)"], timeout=3.0)
    end = time.monotonic() + 10
    while mark in (left := subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout):
        assert time.monotonic() < end, left
        time.sleep(0.05)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_always_have_a_display(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(window.sys, "platform", system)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert window.has_display()


def test_a_window_is_given_up_where_there_are_no_groups_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window.sys, "platform", "win32")
    monkeypatch.delattr(window.os, "killpg")
    with pytest.raises(UncsegError):
        window.run_windowed(["-c", "import time; time.sleep(60)"], timeout=1.0)


@pytest.mark.slow
def test_demo_saves_a_picture_in_which_all_is_seen(study_folder, tiny_prediction, tmp_path, monkeypatch, uncseg):
    class Quick:
        def check(self, **_: object) -> None:
            pass

        def provenance(self, study: Study, command: str | None = None) -> dict[str, object]:
            return {**tiny_prediction.provenance, "inputs": study.inputs, "command": command}

        def predict(self, study: Study, **_: object) -> Prediction:
            return replace(tiny_prediction, provenance=self.provenance(study))

    monkeypatch.setattr(batch, "make_predictor", lambda settings, notify: Quick())
    monkeypatch.chdir(tmp_path)
    # As on a server: the command has to provide a display itself.
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    result = uncseg("demo", study_folder)
    assert f"saved as {tmp_path / 'demo.png'}" in result.stdout
    assert "DISPLAY" not in os.environ
    with Image.open(tmp_path / "demo.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    assert pixels.shape == (1000, 1600, 3)
    canvas = pixels[150:850, 450:1100]
    # Not the black canvas of a display without OpenGL: grey brain, and the coloured tumour upon it. In the tiny study
    # the enhancing tumour takes the bright end of the T1c window, so its brain is a dark grey.
    grey = np.ptp(canvas, axis=2) < 12
    assert (grey & (canvas.mean(axis=2) > 20)).mean() > 0.2
    assert 0.01 < (np.ptp(canvas, axis=2) > 60).mean() < 0.5


def test_where_napari_may_not_write_is_said_before_there_is_a_window(monkeypatch):
    """Its import writes icons; a home that is read-only is met there."""

    class ReadOnly(ModuleType):
        def __getattr__(self, name):
            raise PermissionError(13, "Permission denied", "/home/.cache/napari")

    monkeypatch.setitem(sys.modules, "napari.qt", ReadOnly("napari.qt"))
    with pytest.raises(UncsegError, match=r"/home/\.cache/napari.*XDG_CACHE_HOME"), window.splash("opening"):
        pass
