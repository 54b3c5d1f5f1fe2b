"""What the command line prints: progress while it works, and tables. No failure to print ends or fails any work."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

ProgressCallback = Callable[[int, int, str], None]

_WIDE = 160
"""Columns of a table that goes to a file or a pipe, where nothing has to fit a screen."""


class _Forgiving:
    """A stream that drops what can no longer be written, because the reader has gone or the disk is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if it is possible."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush if it is possible."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # or the interpreter complains of what is still buffered at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_streams() -> None:
    """Make stdout and stderr take every letter, and bear being closed or missing, as under a service."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the whole run)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        setattr(sys, name, cast(TextIO, _Forgiving(stream)))


def console(*, stderr: bool = False) -> Console:
    """Console on stdout or stderr as they are now; wide when nobody's screen bounds it."""
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
    """Print a table on stdout.

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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number in words else "right", overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style="red" if number in red else None)
    console().print(table)


@contextmanager
def study_progress(title: str) -> Iterator[ProgressCallback]:
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
