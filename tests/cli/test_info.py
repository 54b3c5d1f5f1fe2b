"""What `uncseg info` says of versions, of the model and of the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from napari_uncseg.cli import info, window
from napari_uncseg.cli.info import Check


def test_versions_and_the_model_are_printed(uncseg, tiny_model_folder: Path) -> None:
    result = uncseg("info", "--model", tiny_model_folder)
    for word in ("torch", "sha256", str(tiny_model_folder), "PlainConvUNet", "with an uncertainty channel"):
        assert word in result.stdout
    assert "window" not in result.stdout


def test_versions_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "PACKAGES", ("numpy", "no-such-package"))
    assert info.package_versions()["no-such-package"] == "not installed"


@pytest.mark.parametrize("works", [True, False])
def test_a_check_of_the_machine_decides_the_exit_code(uncseg, tiny_model_folder, monkeypatch, works):
    monkeypatch.setattr(info, "check_machine", lambda: iter([Check("memory", works, "little"), Check("a", True, "")]))
    result = uncseg("info", "--model", tiny_model_folder, "--check", code=0 if works else 1)
    assert ("PROBLEM: little" in result.stdout) is not works


@pytest.mark.parametrize(("free", "works"), [(1.5, False), (12.0, True), (None, True)])
def test_too_little_memory_is_a_problem(monkeypatch: pytest.MonkeyPatch, free: float | None, works: bool) -> None:
    monkeypatch.setattr(info, "available_memory_gib", lambda: free)
    monkeypatch.setattr(info, "check_window", lambda: Check("window", True, ""))
    found = {check.subject: check for check in info.check_machine()}
    assert found["device"].works
    assert found["memory"].works is works


def test_memory_is_told_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise OSError

    free = info.available_memory_gib()
    assert free is not None
    assert 0.1 < free < 1e5
    monkeypatch.setattr(psutil, "virtual_memory", unknown)
    assert info.available_memory_gib() is None


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_not_told_of_debians_packages(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    crashed = subprocess.CompletedProcess([], -6, stdout="", stderr="Aborted")
    monkeypatch.setattr(window, "run_windowed", lambda arguments, timeout: crashed)
    monkeypatch.setattr(info.sys, "platform", system)
    assert "apt-get" not in info.check_window().detail


def test_qt_that_ends_its_process_is_a_problem_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = subprocess.CompletedProcess([], -6, stdout="", stderr="qt.qpa: could not load xcb\nAborted")
    monkeypatch.setattr(window, "run_windowed", lambda arguments, timeout: crashed)
    found = info.check_window()
    assert not found.works
    assert "Aborted" in found.detail
    assert "libxcb-icccm4" in found.detail


def test_no_display_and_no_xvfb_is_a_problem_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: False)
    monkeypatch.setattr(window.shutil, "which", lambda name: None)
    assert "apt-get install xvfb" in info.check_window().detail


def test_a_real_window_opens() -> None:
    found = info.check_window()
    assert found.works, found
    assert "OpenGL" in found.detail


@pytest.mark.parametrize(
    ("words", "instead"),
    [(["doctor"], "uncseg info --check"), (["tune-injection", "a", "--count", "3"], "uncseg_training.experiments")],
)
def test_a_retired_command_says_what_to_use(uncseg, words: list[str], instead: str) -> None:
    result = uncseg(*words, code=2)
    assert instead in result.stderr
    assert words[0] not in uncseg("--help").stdout
