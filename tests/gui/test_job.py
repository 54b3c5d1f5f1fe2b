"""Work in threads leaves nothing behind, although napari remembers every worker."""

import dataclasses
import gc
import subprocess
import sys
import threading
import weakref

import pytest
from qtpy.QtCore import QObject, QThreadPool
from tests.gui.closing import close_case

from napari_uncseg.errors import Cancelled
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.viewer.layers import add_prediction, add_study
from napari_uncseg.widgets.findings.panel import FindingsWidget
from napari_uncseg.widgets.job import Job

PATIENCE = 60000


@pytest.fixture
def job(qtbot):
    parent = QObject()
    yield Job(parent, "counting")
    QThreadPool.globalInstance().waitForDone()


def listen(job):
    """What the job tells, in order."""
    heard = []
    job.returned.connect(lambda result: heard.append(("returned", result)))
    job.failed.connect(lambda error: heard.append(("failed", error)))
    job.finished.connect(lambda: heard.append("finished"))
    return heard


class Work:
    """Something to do."""

    def __init__(self):
        self.may_end = threading.Event()
        self.reports = []

    def __call__(self, report):
        self.reports.append(report)
        while not self.may_end.wait(0.01):
            if report.cancelled():
                raise Cancelled("Stopped.")
        return 42


def test_work_is_done_told_and_forgotten(qtbot, job):
    heard, work = listen(job), Work()
    gone = weakref.ref(work)
    work.may_end.set()
    job.start(work)
    assert job.running
    del work
    qtbot.waitUntil(lambda: heard == [("returned", 42), "finished"], timeout=PATIENCE)
    assert not job.running
    qtbot.waitUntil(lambda: gone() is None, timeout=PATIENCE)


def test_a_failure_is_told_and_a_stop_is_none(qtbot, job):
    heard, error = listen(job), ValueError("odd")

    def fail(_report):
        raise error

    job.start(fail)
    qtbot.waitUntil(lambda: heard == [("failed", error), "finished"], timeout=PATIENCE)
    heard.clear()
    job.start(Work())
    job.cancel()
    qtbot.waitUntil(lambda: heard == ["finished"], timeout=PATIENCE)


def test_what_is_dropped_or_overtaken_is_stopped_and_never_told(qtbot, job):
    heard, dropped, overtaken, last = listen(job), Work(), Work(), Work()
    job.start(dropped)
    job.drop()
    assert not job.running
    job.start(overtaken)
    last.may_end.set()
    job.start(last)
    qtbot.waitUntil(lambda: heard == [("returned", 42), "finished"], timeout=PATIENCE)
    qtbot.waitUntil(lambda: all(work.reports and work.reports[0].cancelled() for work in (dropped, overtaken)))
    QThreadPool.globalInstance().waitForDone()
    qtbot.wait(20)
    assert len(heard) == 2


def test_the_thread_stops_when_the_job_goes(qtbot):
    parent, work = QObject(), Work()
    job = Job(parent, "counting")  # who still refers to it hears of nothing
    job.start(work)
    qtbot.waitUntil(lambda: bool(work.reports), timeout=PATIENCE)
    parent.deleteLater()
    del parent
    qtbot.waitUntil(work.reports[0].cancelled, timeout=PATIENCE)
    QThreadPool.globalInstance().waitForDone()
    qtbot.wait(20)
    assert not job.running


def test_garbage_is_held_while_it_is_asked_to(qtbot, job):
    heard, collecting = listen(job), []
    job.start(lambda _report: collecting.append(gc.isenabled()), hold_garbage=True)
    qtbot.waitUntil(lambda: "finished" in heard, timeout=PATIENCE)
    assert collecting == [False]
    assert gc.isenabled()


@pytest.mark.usefixtures("windowed")
def test_a_study_that_was_searched_is_freed_when_it_is_left(
    qtbot, viewer, dock, no_memory, tiny_study, tiny_prediction
):
    panel = dock(FindingsWidget(viewer))
    before = set(map(id, predictions()))
    add_study(viewer, tiny_study)
    add_prediction(viewer, dataclasses.replace(tiny_prediction))
    panel.refresh()
    qtbot.waitUntil(lambda: not panel.searching, timeout=PATIENCE)
    assert panel.findings.isVisibleTo(panel)
    close_case(viewer, tiny_study.id)
    qtbot.waitUntil(lambda: not panel.searching and set(map(id, predictions())) <= before, timeout=PATIENCE)


def predictions() -> list[Prediction]:
    """All that are in memory; other things may not like to be asked what they are."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is Prediction]


def test_a_script_that_ends_before_its_work_does_ends_well() -> None:
    code = """
import time
import napari
from napari_uncseg.widgets.job import Job
viewer = napari.Viewer(show=False)
def work(report):
    while not report.cancelled():
        time.sleep(0.05)
Job(viewer.window._qt_window, "wait").start(work)
viewer.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
