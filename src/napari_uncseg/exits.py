"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from napari_uncseg.errors import Cancelled, UncsegError

P = ParamSpec("P")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""


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
    else:
        from napari_uncseg.study.save import AnotherResult

        if isinstance(error, AnotherResult):  # "choose to overwrite it": in a window a box, here an option
            sentence = f"{sentence.removesuffix('.')} (uncseg predict --overwrite)."
    typer.echo(f"error: {about}{sentence}", err=True)
