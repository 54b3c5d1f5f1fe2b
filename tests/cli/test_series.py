"""``uncseg series``: a line per series, and an error when one of the four is missing."""

from __future__ import annotations

from pathlib import Path

from tests.dicom_writer import write_examination


def test_series_of_an_examination_are_listed(uncseg, tmp_path):
    result = uncseg("series", write_examination(tmp_path))
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    assert all(any(role in line for line in lines) for role in ("t1c", "t1n", "t2f", "t2w"))
    assert "104×100×84" in result.stdout
    uncseg("series", tmp_path, "--t1c", "2", "--t1n", "5")


def test_missing_series_is_one_sentence_after_the_list(uncseg, tmp_path):
    folder = write_examination(tmp_path)
    for path in Path(folder).glob("im04*"):
        path.unlink()
    result = uncseg("series", folder, code=1)
    assert len(result.stdout.splitlines()) == 4
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    uncseg("series", tmp_path / "nothing here", code=1)
