"""Work in a thread: :class:`Job`, and :class:`JobBar` that runs one with progress and cancel."""

from __future__ import annotations

import atexit
import gc
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QWidget

from napari_uncseg.errors import Cancelled
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.common import Note, column, row

LOOK_INTERVAL_MS = 100
"""How often a panel looks at what a thread tells."""

STOPPED = "Stopped; nothing was changed."

_EVERY_REPORT: weakref.WeakSet[Report] = weakref.WeakSet()
"""Of works that may still go on, whoever they belonged to."""


class Report:
    """What a running thread tells, and the flag that stops it.

    The window looks at it every now and then: nothing in the thread ever reaches for a widget, which may be gone.
    """

    def __init__(self) -> None:
        self._cancel = threading.Event()
        _EVERY_REPORT.add(self)
        self.progress: tuple[int, int, str] = (0, 0, "Waiting to start")
        self.notices: tuple[str, ...] = ()

    def tell(self, done: int, total: int, message: str) -> None:
        """Take note of what is done; a total of 0 means that nobody knows."""
        self.progress = (done, total, message)

    def notify(self, sentence: str) -> None:
        """Take note of a sentence the user should read."""
        self.notices = (*self.notices, sentence)

    def cancel(self) -> None:
        """Ask the thread to stop."""
        self._cancel.set()

    def cancelled(self) -> bool:
        """Whether the thread shall stop."""
        return self._cancel.is_set()


class Job(QObject):
    """Work in a thread, one at a time, that leaves nothing behind when it is done.

    When the job is destroyed with its panel, the thread is told to stop and its result is dropped.

    Parameters
    ----------
    parent : QObject
        Owner.
    name : str
        What napari shows while it goes on.

    Attributes
    ----------
    returned, failed : Signal
        The result, or the exception; a :class:`~napari_uncseg.errors.Cancelled` is no failure.
    finished : Signal
        The work has ended in whatever way.
    """

    returned = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, parent: QObject, name: str) -> None:
        super().__init__(parent)
        self._name = name
        self.stopped = False
        """Whether the last work was stopped, and gave nothing back."""
        self._reports: list[Report] = []
        self.destroyed.connect(partial(_drop_all, self._reports))

    @property
    def report(self) -> Report | None:
        """Of the work that is going on, or None."""
        return self._reports[0] if self._reports else None

    @property
    def running(self) -> bool:
        """Whether something is going on."""
        return bool(self._reports)

    def start(self, work: Callable[[Report], Any], *, hold_garbage: bool = False) -> None:
        """Do something in a thread; an earlier work that still goes on is dropped.

        Parameters
        ----------
        work : callable
            Given a report to tell its progress to, and to ask whether to stop.
        hold_garbage : bool
            Collect no garbage meanwhile: of work that makes much of it, for widgets that happened to be in it would be
            destroyed in the thread, which Qt does not survive.
        """
        self.drop()
        report = Report()
        self._reports.append(report)
        task = _Task(partial(work, report), self._name)
        worker = create_worker(task, _start_thread=False, _ignore_errors=True)
        # The thread may outlive the job: whoever hears of its end asks first whether anyone still listens.
        tell = partial(_tell, weakref.ref(self), report, hold_garbage)
        worker.returned.connect(partial(tell, "returned"))
        worker.errored.connect(partial(tell, "failed"))
        worker.finished.connect(task.forget)
        if hold_garbage:
            gc.collect()
            gc.disable()
        worker.start()

    def cancel(self) -> None:
        """Ask the work to stop; what it gives back nevertheless is welcome."""
        for report in self._reports:
            report.cancel()

    def drop(self) -> None:
        """Ask the work to stop, and want nothing of it any more."""
        _drop_all(self._reports)

    def _end(self, report: Report, signal: str, result: Any) -> None:
        if report is not self.report:  # dropped meanwhile
            return
        self.stopped = isinstance(result, Cancelled)
        if not self.stopped:
            getattr(self, signal).emit(result)
        if report is self.report:
            self._reports.clear()
            self.finished.emit()


class _Task:
    """Work that is forgotten once it is done: napari remembers every worker until the viewer closes, with all it holds.

    ``str()`` of it is what napari shows while it goes on.
    """

    def __init__(self, work: Callable[[], Any], name: str) -> None:
        self._work: Callable[[], Any] | None = work
        self._name = name

    def __call__(self) -> Any:
        assert self._work is not None
        return self._work()

    def __str__(self) -> str:
        return self._name

    def forget(self) -> None:
        """Called where windows live, not in the thread: the work may hold the last of a window's things."""
        self._work = None


@atexit.register
def _stop_and_wait() -> None:
    """A script that ends before its work does: a thread must not tell of its end what Qt has deleted by then."""
    for report in _EVERY_REPORT:
        report.cancel()
    if (pool := QThreadPool.globalInstance()) is not None:
        pool.waitForDone()


def _drop_all(reports: list[Report], _object: object = None) -> None:
    for report in reports:
        report.cancel()
    reports.clear()


def _tell(job: weakref.ref[Job], report: Report, hold_garbage: bool, signal: str, result: Any) -> None:
    if hold_garbage:
        gc.enable()
    alive = job()
    if alive is not None:
        alive._end(report, signal, result)


class JobBar(QWidget):
    """*Run* and *Cancel* of a job, how far it is, and how it ended.

    Parameters
    ----------
    name : str
        What napari shows while the job goes on.
    title : str
        Of the button that runs it.
    run : callable
        Bound method of the panel that starts it.

    Attributes
    ----------
    job : Job
        What is run.
    changed : Signal
        The job has begun or ended.
    """

    changed = Signal()

    def __init__(self, name: str, title: str, run: Callable[[], None]) -> None:
        super().__init__()
        self.job = Job(self, name)
        self._started = 0.0
        self.run_button, self.cancel_button = QPushButton(title), QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop; it takes a few seconds at most")
        self.progress = QProgressBar()
        self.status, self.failure, self.warnings = Note(), Note(), Note()
        buttons = row(self.run_button, self.cancel_button, stretch=(2, 1))
        self.setLayout(column(buttons, self.progress, self.status, self.failure, self.warnings))
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self.run_button.clicked.connect(run)
        self.cancel_button.clicked.connect(self.cancel)
        self.job.returned.connect(self._on_returned)
        self.job.failed.connect(self._on_failed)
        self.job.finished.connect(self._on_finished)
        self._show_running(False)

    @property
    def seconds(self) -> float:
        """Since the start of the last run."""
        return time.monotonic() - self._started

    def start(self, work: Callable[[Report], Any]) -> None:
        """Run the job."""
        self.failure.hide()
        self.warnings.hide()
        self._started = time.monotonic()
        self.status.tell("Starting …")
        self.job.start(work)
        self._show_running(True)

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self.job.running:
            self.job.cancel()
            self.cancel_button.setEnabled(False)
            self.progress.setRange(0, 0)
            self.status.tell("Stopping …")

    def _show_running(self, running: bool) -> None:
        """Show the bar, and let *Cancel* be clicked, while the job runs."""
        self.cancel_button.setEnabled(running)
        self.progress.setRange(0, 0)
        self.progress.setVisible(running)
        if running:
            self._timer.start()
        self.changed.emit()

    def _look(self) -> None:
        """Show what the thread reported since the last look."""
        report = self.job.report
        if report is not None:
            self.warnings.warn(report.notices)
        if report is not None and not report.cancelled():
            done, total, message = report.progress
            self.progress.setRange(0, max(total, 0))
            self.progress.setValue(done)
            self.status.tell(f"{message} · {self.seconds:.0f} s")

    def _on_returned(self, _result: object) -> None:
        self._look()
        self.status.tell(f"Done in {self.seconds:.0f} s.")

    def _on_failed(self, error: Exception) -> None:
        self._look()
        self.status.hide()
        self.failure.fail(error)

    def _on_finished(self) -> None:
        self._timer.stop()
        if self.job.stopped:
            self.status.tell(STOPPED)
        self._show_running(False)


class JobPanel(Panel):
    """Panel of one job: idle, running (only *Cancel* works) or stopping (waiting for the thread to notice).

    The job is bound to what it was started on. When the panel or the viewer goes away, the thread is told to stop and
    its result is dropped.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer.
    name, title : str
        As of :class:`JobBar`.
    tip : str
        Of the button that runs it.
    """

    def __init__(self, viewer: napari.viewer.Viewer, name: str, title: str, tip: str) -> None:
        super().__init__(viewer)
        self.bar = JobBar(name, title, self.run)
        self.bar.run_button.setToolTip(tip)
        self.bar.job.returned.connect(self._on_returned)
        self.bar.changed.connect(self._on_running)

    @property
    def running(self) -> bool:
        """Whether the job is going on."""
        return self.bar.job.running

    def run(self) -> None:
        """Run the job on what the form says."""
        raise NotImplementedError

    def release(self) -> None:
        """Stop as well."""
        super().release()
        self.bar.job.drop()

    def _on_returned(self, result: Any) -> None:
        """Show what came out."""
        raise NotImplementedError

    def _on_running(self) -> None:
        """Follow whether the job runs."""
        raise NotImplementedError
