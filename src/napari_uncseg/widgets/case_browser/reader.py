"""Reading cases in a thread: the one that is wanted, and meanwhile the one that comes next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_uncseg.review.opened_case import OpenedCase, open_case
from napari_uncseg.review.worklist import ListedCase
from napari_uncseg.widgets.job import Job, Report

Stamp: TypeAlias = tuple[str, str, float]
"""A case, its result and when that was written."""


class CaseReader(QObject):
    """Reads one case at a time; one that was read ahead is kept until it, or another one, is wanted.

    Parameters
    ----------
    parent : QObject
        Owner.

    Attributes
    ----------
    opened : Signal
        An :class:`OpenedCase` that was wanted.
    failed : Signal
        Why one that was wanted could not be read.
    """

    opened = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: Stamp | None = None
        self._reading: Stamp | None = None
        self._ahead: tuple[Stamp, OpenedCase] | None = None
        self._expected: tuple[Stamp, Callable[[], OpenedCase]] | None = None
        self._job = Job(self, "reading a study")
        self._job.returned.connect(self._on_read)
        self._job.failed.connect(self._on_failed)

    @property
    def busy(self) -> bool:
        """Whether a case is being read."""
        return self._job.running

    def expect(self, case: ListedCase, read: Callable[[], OpenedCase]) -> None:
        """Get the next case by this, in the thread, if it is that one: somebody reads it already."""
        self._expected = _stamp(case), read

    def read(self, case: ListedCase) -> None:
        """Read a case, or take what was read ahead if its result is still the same."""
        self._wanted = _stamp(case)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == self._wanted:
            self._on_read(ahead[1])
        elif not (self._job.running and self._reading == self._wanted):
            self._start(case)

    def read_ahead(self, case: ListedCase) -> None:
        """Read a case that may be wanted, unless something is being read."""
        if not self._job.running:
            self._start(case)

    def drop(self) -> None:
        """Want nothing any more."""
        self._wanted = self._ahead = None
        self._job.drop()

    def _start(self, case: ListedCase) -> None:
        self._reading = _stamp(case)
        (stamp, read), self._expected = self._expected or (None, None), None
        self._job.start(partial(_read, read if read and stamp == self._reading else partial(open_case, case)))

    def _on_read(self, opened: OpenedCase) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self.opened.emit(opened)
        elif self._reading is not None:
            self._ahead = self._reading, opened

    def _on_failed(self, error: Exception) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:  # of one that was read ahead it is told when somebody wants it
            self.failed.emit(error)


def _read(read: Callable[[], OpenedCase], _report: Report) -> OpenedCase:
    return read()


def _stamp(case: ListedCase) -> Stamp:
    try:
        written = case.result.stat().st_mtime if case.result is not None else 0.0
    except OSError:
        written = 0.0
    return case.id, str(case.result), written
