"""The command of a result, as it is kept where folders may not be told."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from napari_uncseg.io.command import seen_from


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Anna/OUT", "."),
        ("Anna/OUT/s1/prepared/s1-t1c.nii.gz", "s1/prepared/s1-t1c.nii.gz"),
        ("Anna/prepared study", "../prepared study"),
        ("Anna/models/mine", "mine"),
        ("elsewhere/mine", "mine"),
    ],
)
def test_no_folder_above_the_results_is_kept(tmp_path: Path, given: str, kept: str) -> None:
    command = shlex.join(["uncseg", "predict", str(tmp_path / given), "--members", "tta:4"])
    words = shlex.split(seen_from(tmp_path / "Anna" / "OUT", command))
    assert words == ["uncseg", "predict", kept, "--members", "tta:4"]


def test_networks_of_an_ensemble_are_told_by_their_names(tmp_path: Path) -> None:
    members = f"ensemble:{tmp_path / 'a'},{tmp_path / 'OUT' / 'b'}"
    command = shlex.join(["uncseg", "predict", "s1", "--members", members])
    assert shlex.split(seen_from(tmp_path / "OUT", command))[-1] == "ensemble:../a,b"
    assert seen_from(tmp_path, f"uncseg predict '{tmp_path}") == ""
