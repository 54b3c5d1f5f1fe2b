"""What all panels are made of: :class:`Panel`, and :class:`Job` for work in a thread with progress and cancel."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from napari.qt.threading import create_worker
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QLayout, QProgressBar, QPushButton, QWidget

from napari_uncseg.errors import Cancelled, UncsegError
from napari_uncseg.widgets.common import Note, column, fill_panel, row
from napari_uncseg.widgets.connections import Connections, Watch

logger = logging.getLogger(__name__)

LOOK_INTERVAL_MS = 100
"""How often a panel looks at what a thread tells."""

STOPPED = "Stopped; nothing was changed."


class Panel(QWidget):
    """A panel of the main window: scrolled content that lets go of the viewer when it leaves its dock.

    Slots are bound methods throughout: a function that held the panel would keep it until Python collects garbage, and
    Qt objects that are collected so bring the process down.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The main viewer.
    """

    least_height = 320
    """Of what is seen of the content, in pixels; what is longer is scrolled."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._connections = Connections(self)
        self._layers = Watch(self, self.refresh)

    def refresh(self) -> None:
        """Look again at what is open; called after layers came, went or were renamed."""

    def watch_layers(self) -> None:
        """Refresh from now on whenever the list of layers changes."""
        events = self._viewer.layers.events
        self._layers.follow((events.inserted, events.removed, events.renamed))

    def fill(self, *items: QWidget | QLayout, stretched: QWidget | None = None) -> None:
        """Lay out the content, from the top; one of the widgets may take what height is left."""
        content = QWidget()
        layout = column(*items, margins=(8, 4, 8, 8))
        layout.addStretch(1)
        if stretched is not None:
            layout.setStretchFactor(stretched, 100)
        content.setLayout(layout)
        fill_panel(self, content, self.least_height)

    def release(self) -> None:
        """Let go of viewer and session; called when napari takes the panel out of its dock, which deletes nothing."""
        self._connections.disconnect_all()
        self._layers.follow(())

    def event(self, event: QEvent | None) -> bool:
        """Notice when the panel leaves its dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.release()
        return super().event(event)


class Report:
    """What a running thread tells, and the flag that stops it.

    The window looks at it every now and then: nothing in the thread ever reaches for a widget, which may be gone.
    """

    def __init__(self) -> None:
        self._cancel = threading.Event()
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
        if not isinstance(result, Cancelled):
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
    job : Job
        What is run; the panel starts it when ``run_button`` is clicked.
    title : str
        Of the button that runs it.
    """

    def __init__(self, job: Job, title: str) -> None:
        super().__init__()
        self._job = job
        self._started = 0.0
        self.stopping = False
        """Whether the last run was asked to stop."""
        self.run_button, self.cancel_button = QPushButton(title), QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop; it takes a few seconds at most")
        self.progress = QProgressBar()
        self.status, self.failure, self.warnings = Note(), Note(), Note()
        buttons = row(self.run_button, self.cancel_button)
        buttons.setStretch(0, 2)
        buttons.setStretch(1, 1)
        self.setLayout(column(buttons, self.progress, self.status, self.failure, self.warnings))
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self.cancel_button.clicked.connect(self.cancel)
        job.returned.connect(self._show_notices)
        job.failed.connect(self._on_failed)
        job.finished.connect(self._timer.stop)
        self.show_running(False)

    @property
    def seconds(self) -> float:
        """Since the start of the last run."""
        return time.monotonic() - self._started

    def start(self, work: Callable[[Report], Any]) -> None:
        """Run the job."""
        self.failure.hide()
        self.warnings.hide()
        self._started, self.stopping = time.monotonic(), False
        self.status.tell("Starting …")
        self._job.start(work)
        self.progress.setRange(0, 0)
        self._timer.start()

    def cancel(self) -> None:
        """Ask the job to stop."""
        if self._job.running:
            self.stopping = True
            self._job.cancel()
            self.cancel_button.setEnabled(False)
            self.progress.setRange(0, 0)
            self.status.tell("Stopping …")

    def show_running(self, running: bool) -> None:
        """Show the bar, and let *Cancel* be clicked, while the job runs."""
        self.cancel_button.setEnabled(running)
        self.progress.setVisible(running)

    def _look(self) -> None:
        """Show what the thread reported since the last look."""
        report = self._job.report
        if report is None or report.cancelled():
            return
        done, total, message = report.progress
        self.progress.setRange(0, max(total, 0))
        self.progress.setValue(done)
        self.status.tell(f"{message} · {self.seconds:.0f} s")
        self._show_notices()

    def _show_notices(self, _result: object = None) -> None:
        if self._job.report is not None:
            self.warnings.warn(self._job.report.notices)

    def _on_failed(self, error: Exception) -> None:
        self._show_notices()
        self.status.hide()
        self.failure.fail(failure_sentence(error))


def failure_sentence(error: BaseException) -> str:
    """One sentence for the user; what is no error of theirs goes to the log with its traceback."""
    if isinstance(error, UncsegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory of this computer does not suffice for this study; close other programs and run again."
    logger.error("A job failed unexpectedly.", exc_info=error)
    return f"The run failed unexpectedly ({type(error).__name__}: {error}); the log holds the details."
