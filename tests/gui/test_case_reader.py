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
        self.broken: set[str] = set()
        self.go_on = threading.Event()
        self.go_on.set()

    def open(self, case):
        self.read.append(case.id)
        assert self.go_on.wait(PATIENCE / 1000)
        if case.id in self.broken:
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
    for name in "abc":
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


def rest(qtbot, reader):
    qtbot.waitUntil(lambda: not reader.busy, timeout=PATIENCE)


def test_a_case_that_was_read_ahead_is_there_at_once(qtbot, desk, disk, cases):
    reader, told = desk
    reader.read_ahead(cases["b"])
    rest(qtbot, reader)
    assert told == [], "nobody wanted it yet"
    reader.read(cases["b"])
    assert told == ["b"]
    assert disk.read == ["b"]


def test_one_that_is_being_read_ahead_is_waited_for(qtbot, desk, disk, cases):
    reader, told = desk
    disk.go_on.clear()
    reader.read_ahead(cases["b"])
    reader.read(cases["b"])
    disk.go_on.set()
    qtbot.waitUntil(lambda: told == ["b"], timeout=PATIENCE)
    assert disk.read == ["b"]


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


def test_another_one_than_was_read_ahead_is_the_one_that_is_told(qtbot, desk, disk, cases):
    reader, told = desk
    disk.go_on.clear()
    reader.read_ahead(cases["b"])
    reader.read(cases["c"])
    disk.go_on.set()
    qtbot.waitUntil(lambda: told == ["c"], timeout=PATIENCE)
    rest(qtbot, reader)
    assert told == ["c"]


def test_a_result_that_was_made_anew_is_read_anew(qtbot, desk, disk, cases):
    reader, told = desk
    reader.read_ahead(cases["b"])
    rest(qtbot, reader)
    os.utime(cases["b"].result, (1, 1))
    reader.read(cases["b"])
    qtbot.waitUntil(lambda: told == ["b"], timeout=PATIENCE)
    assert disk.read == ["b", "b"]


def test_reading_ahead_gives_way(qtbot, desk, disk, cases):
    reader, told = desk
    disk.go_on.clear()
    reader.read(cases["a"])
    reader.read_ahead(cases["b"])
    disk.go_on.set()
    qtbot.waitUntil(lambda: told == ["a"], timeout=PATIENCE)
    assert disk.read == ["a"]


def test_what_could_not_be_read_is_told_when_it_is_wanted(qtbot, desk, disk, cases):
    reader, told = desk
    disk.broken.add("b")
    reader.read_ahead(cases["b"])
    rest(qtbot, reader)
    assert told == []
    reader.read(cases["b"])
    qtbot.waitUntil(lambda: told == ["b is damaged."], timeout=PATIENCE)


def test_what_was_dropped_is_not_told(qtbot, desk, disk, cases):
    reader, told = desk
    disk.go_on.clear()
    reader.read(cases["a"])
    reader.drop()
    disk.go_on.set()
    rest(qtbot, reader)
    assert told == []
