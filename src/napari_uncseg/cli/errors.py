"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec

import typer
from typer.core import TyperGroup

from napari_uncseg.errors import AnotherResult, Cancelled, UncsegError

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


class PlainGroup(TyperGroup):
    """The commands; what is wrong with an option is told in plain words."""

    def invoke(self, ctx: Any) -> Any:
        """Read the options of a command and run it."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = plain_words(error.message)
            raise


def plain_words(message: str) -> str:
    """What is wrong with an option, without the wording of the library that found it."""
    for theirs, ours in _WORDINGS.items():
        message = re.sub(f"^{theirs}", ours, message)
    return message


def told_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with one sentence and an exit code, whatever goes wrong in it."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
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

    return told


def report(error: Exception, *, debug: bool, about: str = "") -> None:
    """Print an error on stderr: its own sentence if it is the user's to mend, else that it is ours."""
    if debug:
        traceback.print_exception(error)
    sentence = str(error)
    if not isinstance(error, UncsegError):
        sentence = f"unexpected {type(error).__name__}: {' '.join(sentence.split()) or 'no message'}"
        sentence += "" if debug else " (--debug shows the traceback)"
    elif isinstance(error, AnotherResult):  # "or overwrite it": in a window a box, here an option
        sentence = f"{sentence.removesuffix('.')} (uncseg predict --overwrite)."
    typer.echo(f"error: {about}{sentence}", err=True)
