"""How a command ends when something goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from napari_uncseg.errors import UncsegError

P = ParamSpec("P")
T = TypeVar("T")


def sentence_of(error: BaseException) -> str | None:
    """What to tell a user of an error; None where it is a fault of the program, or no error at all."""
    if isinstance(error, typer.Exit | typer.Abort):
        return None
    text = str(error)
    if "Original Traceback" in text:
        # Out of a process of its own, whose whole traceback is the message: the error is its last line.
        text = text.rstrip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, ImportError):
        name = (error.name or "").partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or name in ("", "napari_uncseg", "uncseg_training"):
            return None
        return f"{name} is not installed; pip install ./training in the folder of the clone brings it."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}."
    if isinstance(error, EOFError):
        return f"A file ends too early ({text or 'nothing more to read'}); copy it anew."
    if isinstance(error, MemoryError | RuntimeError):
        return next((sentence for words, sentence in _KNOWN.items() if words in f"{type(error).__name__} {text}"), None)
    return text


_TOO_LITTLE = "There is not enough memory; close other programs, or take a smaller batch, grid or network."

_KNOWN = {
    "OutOfMemoryError": "There is not enough memory on the GPU; take a smaller batch, grid or network.",
    "MemoryError": _TOO_LITTLE,
    "DefaultCPUAllocator": _TOO_LITTLE,
    "exited unexpectedly": "A process that makes phantoms was ended from outside, mostly for want of memory; close "
    "other programs, or set workers to 0.",
    "is non-finite": "The training went astray (a gradient is not finite); take a smaller learning_rate.",
    "PytorchStreamReader": "A file of weights is damaged; train that run again, or copy it anew.",
}
"""Words of errors that PyTorch raises without a kind of their own -> what to tell a user."""


def plainly(command: Callable[P, T]) -> Callable[P, T]:
    """A command that tells what is wrong with its input or the machine in a sentence, and ends with ``typer.Exit``.

    What a user cannot have done stays as it is.
    """

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError, EOFError, ImportError, MemoryError, RuntimeError, UncsegError) as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            typer.echo(f"error: {sentence}", err=True)
            raise typer.Exit(1) from None

    return told


def seconds_of(text: str) -> float:
    """A time as it is written on the command line (90s, 8m, 2h), in seconds."""
    factors = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * factors[text[-1]]
    except (KeyError, ValueError, IndexError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{text} is not a time; write 90s, 8m or 2h.")
    return seconds
