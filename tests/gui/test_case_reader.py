"""Reading cases in a thread, the next one ahead."""

import os
import threading

import pytest
from qtpy.QtCore import QObject

from napari_uncseg.errors import StudyError
from napari_uncseg.review.opened_case import OpenedCase
from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.widgets.case_browser import reader as module
from napari_uncseg.widgets.case_browser.reader import CaseReader

PATIENCE = 20000


class Disk:
    """Stands in for the reading of volumes: counts, and waits where it is told to."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def open(self, case):
        self.read.append(case.id)
        assert self.go_on.wait(PATIENCE / 1000)
        if case.id == "broken":
            raise StudyError(f"{case.id} is damaged.")
        return OpenedCase(case, None, None)


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(module, "open_case", disk.open)
    yield disk
    disk.go_on.set()


@pytest.fixture
def cases(tmp_path):
    listed = {}
    for name in ("a", "b", "c", "broken"):
        (tmp_path / f"{name}.json").write_text(name)
        listed[name] = ListedCase(name, None, tmp_path / f"{name}.json")
    return listed


@pytest.fixture
def desk(qtbot, disk):
    """A reader, and what it told."""
    owner = QObject()
    reader, told = CaseReader(owner), []
    reader.opened.connect(lambda opened: told.append(opened.case.id))
    reader.failed.connect(lambda error: told.append(str(error)))
    yield reader, told
    disk.go_on.set()
    qtbot.waitUntil(lambda: not reader.busy, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("asked", "told", "read"),
    [
        ("ahead:b wait b", ["b"], ["b"]),
        ("ahead:b b", ["b"], ["b"]),
        ("ahead:b c", ["c"], ["b", "c"]),
        ("a ahead:b", ["a"], ["a"]),
        ("ahead:broken wait", [], ["broken"]),
        ("ahead:broken wait broken", ["broken is damaged."], ["broken", "broken"]),
        ("ahead:b wait touch:b b", ["b"], ["b", "b"]),
        ("a drop", [], ["a"]),
    ],
)
def test_what_is_wanted_is_told_and_read_no_more_often_than_needed(qtbot, desk, disk, cases, asked, told, read):
    """One that was read ahead is there at once, unless it was made anew; what is wanted goes before what may be."""
    reader, heard = desk
    for step in asked.split():
        what, _, name = step.rpartition(":")
        if "wait" not in asked:
            disk.go_on.clear()
        if step == "wait":
            qtbot.waitUntil(lambda: not reader.busy, timeout=PATIENCE)
            assert heard == [], "nobody wanted it yet"
        elif step == "drop":
            reader.drop()
        elif what == "touch":
            os.utime(cases[name].result, (1, 1))
        else:
            (reader.read_ahead if what else reader.read)(cases[name])
    disk.go_on.set()
    qtbot.waitUntil(lambda: not reader.busy and heard == told and sorted(disk.read) == read, timeout=PATIENCE)


def test_what_somebody_reads_already_is_not_read_again(qtbot, desk, disk, cases):
    reader, told = desk
    reader.expect(cases["b"], lambda: OpenedCase(cases["b"], None, None))
    reader.read(cases["b"])
    qtbot.waitUntil(lambda: told == ["b"], timeout=PATIENCE)
    assert disk.read == []
    reader.expect(cases["b"], lambda: OpenedCase(cases["b"], None, None))
    reader.read(cases["c"])
    qtbot.waitUntil(lambda: told == ["b", "c"], timeout=PATIENCE)
    assert disk.read == ["c"], "another one was wanted"
