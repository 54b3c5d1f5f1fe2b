"""Files at the edge: whatever the system says comes out as one sentence, and nothing is written by halves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from napari_uncseg.errors import EvaluationError, NameTaken, SaveError, StudyError
from napari_uncseg.io import files

PROBES = [files.is_file, files.is_dir, files.exists, files.entries, files.read_bytes, files.read_json, files.sha256_of]


@pytest.fixture(params=["a name too long", "a ring of links", "a NUL"])
def unreadable(request, tmp_path):
    """Paths at which the system raises errors of its own."""
    ring = tmp_path / "ring"
    ring.symlink_to(ring)
    return {"a name too long": tmp_path / ("x" * 300), "a ring of links": ring, "a NUL": tmp_path / "a\0b"}[
        request.param
    ]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_the_systems_errors_become_the_packages(probe, unreadable):
    with pytest.raises(EvaluationError) as caught:
        probe(unreadable, EvaluationError)
    assert unreadable.name[:50] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_entered_is_named_itself(tmp_path, monkeypatch):
    """And not what was looked for in it, of which a user has never heard."""
    closed, enter = tmp_path / "closed", os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and enter(path, mode))

    def refuse(path, **_asked):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(StudyError, match="closed cannot be read"):
        files.is_dir(closed / "imagesTr")


@pytest.mark.parametrize("probe", PROBES[:3], ids=lambda probe: probe.__name__)
def test_a_probe_that_is_told_no_error_says_no(probe, unreadable):
    assert probe(unreadable, None) is False


def test_probes_of_what_is_there_and_of_what_is_not(tmp_path):
    (tmp_path / "f").write_text("")
    assert (files.is_file(tmp_path / "f"), files.is_dir(tmp_path / "f"), files.exists(tmp_path / "f")) == (1, 0, 1)
    assert (files.is_file(tmp_path), files.is_dir(tmp_path), files.exists(tmp_path)) == (0, 1, 1)
    for nowhere in (tmp_path / "none", tmp_path / "f" / "below"):
        assert (files.is_file(nowhere), files.is_dir(nowhere), files.exists(nowhere)) == (0, 0, 0)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_is_read_with_or_without_its_mark(mark, tmp_path):
    (tmp_path / "x.json").write_bytes(mark + '{"a": "ö"}\r\n'.encode())
    assert files.read_json(tmp_path / "x.json") == {"a": "ö"}
    assert files.read_text(tmp_path / "x.json").startswith("{")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000], ids=range(5))
def test_what_is_no_json_object_is_refused(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"x\.json.*; mend it"):
        files.read_json(tmp_path / "x.json", do="mend it")


@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.sha256_of])
def test_what_may_never_end_is_not_read(read, tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(StudyError):
            read(path)


def test_the_hash_of_json_does_not_depend_on_the_order_of_keys():
    assert files.sha256_of_json({"a": 1, "b": 2}) == files.sha256_of_json(json.loads('{"b": 2, "a": 1}'))


@pytest.mark.parametrize("name", ["a:b", "what?", "CON", "nul.txt", "com1", "dot.", "blank ", "a\\b", "bell\x07"])
def test_names_that_windows_does_not_take_are_refused_there_alone(tmp_path, monkeypatch, name):
    files.check_names(tmp_path / name, [])
    monkeypatch.setattr(files.sys, "platform", "win32")
    with pytest.raises(SaveError):
        files.check_names(tmp_path / name, [])
    for fine in ("patient-01", "Konsole", "com", "BraTS_0001.anat", "Müller", "con_seg.nii.gz"):
        files.check_names(tmp_path / fine, [fine])


def test_a_name_as_long_as_a_disk_takes_is_written(tmp_path):
    name = "x" * 255
    files.check_names(tmp_path, [name])
    files.write_files({tmp_path / name: b"whole"})
    assert (tmp_path / name).read_bytes() == b"whole"
    with pytest.raises(SaveError):
        files.check_names(tmp_path, [name + "x"])
    with pytest.raises(SaveError):
        files.write_files({tmp_path / (name + "x"): b""})


def test_a_failure_leaves_nothing_and_no_folder(tmp_path, monkeypatch):
    (tmp_path / "there").write_bytes(b"before")

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SaveError, match="No space left"):
        files.write_files({tmp_path / "new" / "deep" / "a": b"1", tmp_path / "there": b"after"})
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_bytes() == b"before"


def test_a_clean_up_that_fails_does_not_hide_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    monkeypatch.setattr(files.Path, "unlink", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(SaveError, match="Input/output error"):
        files.write_files({tmp_path / "a": b"1"})


@pytest.mark.parametrize("links", [True, False])
def test_new_files_replace_nothing(tmp_path, monkeypatch, links):
    def refuse(*_told):
        raise PermissionError(1, "no links on this disk")

    if not links:
        monkeypatch.setattr(files.os, "link", refuse)
    files.write_files({tmp_path / "a": b"first"}, new=True)
    with pytest.raises(NameTaken):
        files.write_files({tmp_path / "b": b"fresh", tmp_path / "a": b"second"}, new=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"first"}
