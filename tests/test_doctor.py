"""The doctor: what it sees, and that it says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_uncseg.cli import display, doctor
from napari_uncseg.cli import info as about
from napari_uncseg.cli.app import app
from napari_uncseg.cli.doctor import Finding, Health
from napari_uncseg.errors import ModelError, UncsegError

LDD = """\
\tlinux-vdso.so.1 (0x00007ffc6f5f2000)
\tlibxcb-icccm.so.4 => not found
\tlibX11-xcb.so.1 => /lib/x86_64-linux-gnu/libX11-xcb.so.1 (0x00007f2f0c000000)
\tlibxcb-keysyms.so.1 => not found
\tlibxcb-icccm.so.4 => not found
"""


def test_missing_libraries_are_named_once() -> None:
    assert doctor.missing_libraries(LDD) == ["libxcb-icccm.so.4", "libxcb-keysyms.so.1"]
    assert doctor.missing_libraries("") == []


def test_missing_libraries_come_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor, "qt_platform_plugin", lambda: Path("libqxcb.so"))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, stdout=LDD, stderr="")
    )
    found = doctor.check_libraries()
    assert found.health is Health.FAIL
    assert "libxcb-icccm.so.4" in found.detail
    assert "apt-get install" in found.advice
    assert "libxcb-icccm4" in found.advice


@pytest.mark.parametrize(("free", "health"), [(1.5, Health.WARN), (12.0, Health.OK), (None, Health.OK)])
def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch, free: float | None, health: Health) -> None:
    monkeypatch.setattr(doctor, "available_memory_gib", lambda: free)
    assert doctor.check_memory().health is health


def test_a_damaged_model_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: object = None) -> None:
        raise ModelError("weights.safetensors was changed.")

    monkeypatch.setattr("napari_uncseg.models.model.load_model", refuse)
    found = doctor.check_model()
    assert (found.health, found.detail) == (Health.FAIL, "weights.safetensors was changed.")
    assert found.advice


def test_no_display_is_a_warning_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "has_display", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.check_display().health is Health.WARN
    assert "Xvfb" in doctor.check_display().advice
    assert doctor.check_window().health is Health.WARN


def test_qt_that_ends_its_process_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = subprocess.CompletedProcess([], -6, stdout="", stderr="qt.qpa: could not load xcb\nAborted")
    monkeypatch.setattr(doctor, "has_display", lambda: True)
    monkeypatch.setattr(doctor, "run_windowed", lambda arguments, timeout: crashed)
    found = doctor.check_window()
    assert found.health is Health.FAIL
    assert "Aborted" in found.detail


def test_exit_code_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding("memory", Health.WARN, "little", "Close something."), Finding("device", Health.OK, "cpu")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["warn memory: little", "     → Close something.", "ok   device: cpu"]
    findings.append(Finding("model", Health.FAIL, "gone"))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def test_a_check_that_fails_itself_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_nothing() -> Finding:
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "CHECKS", (check_nothing, lambda: Finding("last", Health.OK, "")))
    first, last = doctor.examine()
    assert (first.subject, first.health) == ("nothing", Health.FAIL)
    assert "no such thing" in first.detail
    assert last.subject == "last"


def test_versions_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "PACKAGES", ("numpy", "no-such-package"))
    found = doctor.check_versions()
    assert found.health is Health.FAIL
    assert "pip install no-such-package" in found.advice


def test_xvfb_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display.shutil, "which", lambda name: None)
    with pytest.raises(UncsegError, match="apt-get install xvfb"), display.virtual_display():
        pass


def test_a_blind_platform_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not display.has_display()
    monkeypatch.delenv("QT_QPA_PLATFORM")
    monkeypatch.setenv("XAUTHORITY", "/tmp/xvfb-run.Zq3/Xauthority")
    assert not display.is_watched()


def test_a_window_that_never_opens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "has_display", lambda: True)
    with pytest.raises(UncsegError, match="did not open within 0 s"):
        display.run_windowed(["-c", "import time; time.sleep(60)"], timeout=0.2)


def test_a_real_window_opens() -> None:
    found = doctor.check_window()
    assert found.health is Health.OK, found
    assert "OpenGL" in found.detail
