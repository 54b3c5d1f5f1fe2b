"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from napari_uncseg.errors import UncsegError

P = ParamSpec("P")
T = TypeVar("T")


def attempt(action: Callable[[], T]) -> T:
    """Do something; what is wrong with its input is told in a sentence.

    Raises
    ------
    typer.Exit
        After the sentence.
    """
    try:
        return action()
    except (ValueError, OSError, UncsegError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def run_plainly(command: Callable[P, None]) -> None:
    """Run a function as the command of a script."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        attempt(lambda: command(*args, **kwargs))

    typer.run(told)
