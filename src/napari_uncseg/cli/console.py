"""What the command line prints: progress while it works, and tables; rich is loaded when something is printed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_uncseg.inference.progress import Progress as ReportProgress

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 160
"""Columns of a table that goes to a file or a pipe, where nothing has to fit a screen."""


def console(*, stderr: bool = False) -> Console:
    """Console on stdout or stderr as they are now; wide when nobody's screen bounds it."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE, highlight=False, markup=False)


def note(sentence: str) -> None:
    """Print a remark on stderr, so that stdout holds the result alone."""
    console(stderr=True).print(sentence, soft_wrap=True)


def print_lines(*lines: str) -> None:
    """Print lines of the result on stdout."""
    screen = console()
    for line in lines:
        screen.print(line, soft_wrap=True)


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[int] = (0,), red: Collection[int] = ()
) -> None:
    """Print a table on stdout; turned over where that alone fits the terminal.

    Parameters
    ----------
    head : sequence of str
        Titles of the columns.
    rows : iterable of sequence of str
    words : collection of int
        Columns of words, which begin at the left; the others hold numbers.
    red : collection of int
        Rows that stand out.
    """
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    screen, rows = console(), list(rows)
    wide = screen.options.update(width=10_000)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number in words else "right", overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style="red" if number in red else None)
    if Measurement.get(screen, wide, table).maximum > screen.width and not red:
        turned = Table(head[0], box=None, pad_edge=False, header_style="bold")
        for row in rows:
            width = max(len(line) for text in row for line in text.split("\n"))
            turned.add_column(row[0], justify="right", no_wrap=True, min_width=width)
        for title, *texts in zip(head[1:], *(row[1:] for row in rows), strict=True):
            turned.add_row(title, *map(Text, texts))
        if Measurement.get(screen, wide, turned).minimum <= screen.width:
            table = turned
    screen.print(table)


@contextmanager
def study_progress(title: str) -> Iterator[ReportProgress]:
    """Show how far one study is: a bar on a terminal, otherwise a line per stage.

    Parameters
    ----------
    title : str
        Which study, of how many.

    Yields
    ------
    callable
        Takes what is done, the total (0 leaves the bar where it is) and what is going on.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = console(stderr=True)
    if not screen.is_terminal:
        stage = ""

        def print_stage(done: int, total: int, message: str) -> None:
            nonlocal stage
            if message != stage:
                stage = message
                screen.print(f"{title}: {message}", soft_wrap=True)

        yield print_stage
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        bar = bars.add_task(title, total=None, message="")
        yield lambda done, total, message: bars.update(
            bar, completed=done if total else None, total=total or None, message=message
        )


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag that a run asks for, so that files under way are finished or removed.

    A second Ctrl-C interrupts at once. Outside the main thread nothing changes, for signals arrive only there.

    Yields
    ------
    callable
        Whether the user wants to stop.
    """
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
