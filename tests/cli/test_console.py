"""Printing never decides what becomes of the work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_uncseg.cli.errors import NO_MEMORY, report
from napari_uncseg.errors import StudyError

CODE = """
from pathlib import Path
import sys
from napari_uncseg.cli import console, errors
errors.protect_streams()
with console.study_progress("one") as progress:
    for step in range(2000):
        progress(step, 2000, f"step {step}")
console.print_table(["study"], [["\\u0141ukasz"]])
console.note("done")
Path(sys.argv[1]).write_text("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="The shell of Windows redirects otherwise.")
@pytest.mark.parametrize(
    ("redirect", "codec"),
    [
        ("2>&-", "utf-8"),
        (">&- 2>&-", "utf-8"),
        ("2>/dev/full >/dev/full", "utf-8"),
        ("2>&1 | true", "utf-8"),
        ("", "cp1252"),
    ],
)
def test_work_is_done_whatever_becomes_of_the_streams(redirect: str, codec: str, tmp_path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    command = f"{sys.executable} {tmp_path / 'code.py'} {tmp_path / 'out'} {redirect}"
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": codec}
    done = subprocess.run(command, shell=True, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "done"
    assert b"Exception ignored" not in done.stderr
    if not redirect:
        assert b"?ukasz" in done.stdout


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("[enforce] DefaultCPUAllocator: no")]
)
def test_lack_of_memory_is_one_sentence(error: Exception, capsys) -> None:
    report(error, debug=False, study="a")
    assert capsys.readouterr().err == f"error: a: {NO_MEMORY}\n"


def test_a_study_is_named_once(capsys) -> None:
    report(StudyError("/cohort/b/b-t1c.nii.gz is empty."), debug=False, study="b")
    assert capsys.readouterr().err == "error: /cohort/b/b-t1c.nii.gz is empty.\n"


def test_a_table_too_wide_for_the_terminal_is_turned_over(monkeypatch, capsys):
    from napari_uncseg.cli import console

    monkeypatch.setattr(console, "_WIDE", 40)
    console.print_table(["region", *(f"metric number {n}" for n in range(4))], [["WT", *"1234"], ["TC", *"5678"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["region", "WT", "TC"]
    assert lines[1] == ["metric", "number", "0", "1", "5"]
