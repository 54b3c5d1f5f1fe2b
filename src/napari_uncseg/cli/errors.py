"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback.

No failure to print ends or fails any work.
"""

from __future__ import annotations

import functools
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, ParamSpec, TextIO, cast

import typer
from typer.core import TyperGroup

from napari_uncseg.errors import AnotherResult, Cancelled, UncsegError, is_out_of_memory, reason_of

P = ParamSpec("P")

_WORDINGS = {
    r"Value error, ": "",
    r"Input should be greater than or equal to ": "write a number of at least ",
    r"Input should be less than or equal to ": "write a number of at most ",
    r"Input should be a valid integer\b.*": "write a whole number",
    r"Input should be a valid number\b.*": "write a number",
    r"Input should be ": "it should be ",
}
"""How the library that reads the options begins its sentences -> how ours do."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""

NO_MEMORY = "there is not enough memory for this study; close other programs, or crop its images."


class CommandGroup(TyperGroup):
    """The commands; what is wrong with an option is reported in plain words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a word without a letter, which would stand for the folder one is in."""
        if "" in args:
            ctx.fail("An argument is empty; perhaps it comes from a variable that is not set.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Read the options of a command and run it."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            for theirs, ours in _WORDINGS.items():
                error.message = re.sub(f"^{theirs}", ours, error.message)
            raise


def handle_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with one sentence and an exit code, whatever goes wrong in it."""

    @functools.wraps(command)
    def handled(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except (KeyboardInterrupt, Cancelled) as stop:
            typer.echo("Stopped; nothing half-written was left behind.", err=True)
            raise typer.Exit(INTERRUPTED) from stop
        except Exception as error:
            report(error, debug=bool(kwargs.get("debug")))
            raise typer.Exit(1) from error

    return handled


def report(error: Exception, *, debug: bool, study: str = "") -> None:
    """Print an error on stderr: its own sentence if it is the user's to mend, else that it is ours.

    Parameters
    ----------
    error : Exception
    debug : bool
        Whether the traceback is printed too.
    study : str
        Which study it is about; left out where the sentence begins with it.
    """
    if debug:
        traceback.print_exception(error)
    sentence = str(error)
    if is_out_of_memory(error):
        sentence = NO_MEMORY
    elif isinstance(error, OSError):
        what = error.filename or "The folder that the command was started in"
        sentence = f"{what} cannot be used ({reason_of(error)}); check that it is there, and its permissions."
    elif not isinstance(error, UncsegError):
        sentence = f"unexpected {type(error).__name__}: {' '.join(sentence.split()) or 'no message'}"
        sentence += "" if debug else " (--debug shows the traceback)"
    elif isinstance(error, AnotherResult):  # "or overwrite it": in a window a box, here an option
        sentence = f"{sentence.removesuffix('.')} (uncseg predict --overwrite)."
    named = study in sentence.split(" ", 1)[0]
    typer.echo(f"error: {sentence}" if named else f"error: {study}: {sentence}", err=True)


def exit_if_failed(failed: Collection[str], total: int) -> None:
    """Leave with exit code 1 when studies failed, naming them unless there was only one."""
    if failed and total > 1:
        typer.echo(f"error: {len(failed)} of {total} studies failed: {', '.join(failed)}", err=True)
    if failed:
        raise typer.Exit(1)


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
