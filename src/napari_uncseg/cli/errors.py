"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Collection
from typing import Any, ParamSpec

import typer
from typer.core import TyperGroup

from napari_uncseg.errors import AnotherResult, Cancelled, UncsegError, is_out_of_memory

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
