"""Work in a thread, told to napari by name, that leaves nothing behind when it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from napari.qt.threading import FunctionWorker, create_worker

T = TypeVar("T")


class Task(Generic[T]):
    """Work that is done once and then lets go of what it was about.

    napari remembers every worker until the viewer closes, so that it can ask before it stops one. What a worker holds
    stays with it: without this, the volumes of every study of a review.

    Parameters
    ----------
    work : callable
        ``str()`` of it is what napari shows while it goes on.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._name = str(work)

    def __call__(self) -> T:
        """Do it; called in a thread."""
        assert self._work is not None
        return self._work()

    def __str__(self) -> str:
        return self._name

    def let_go(self) -> None:
        """Forget the work. Called where windows live, not in the thread: it may hold the last of a window's things."""
        self._work = None


def worker_for(work: Callable[[], T]) -> FunctionWorker[T]:
    """A worker that is not started yet and shows no error by itself.

    Parameters
    ----------
    work : callable
        What to do. Slots that are connected to the worker should not hold a window either: give bound methods, which
        Qt holds weakly, or weak references.
    """
    task = Task(work)
    worker = create_worker(task, _start_thread=False, _ignore_errors=True)
    worker.finished.connect(task.let_go)
    return worker
