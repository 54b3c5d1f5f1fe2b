"""How a training tells what it does: a live line in a terminal, JSON lines everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uncseg_training.train.curves import draw_curves


@contextmanager
def reporter(folder: Path, console: Console | None = None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the lines of a training's log, and draw its curve at each validation and at the end.

    A training is worth more than its picture: without matplotlib, or where it cannot be written, there is none.

    Parameters
    ----------
    folder : Path
        The run; ``curve.png`` is written there.
    console : rich.console.Console, optional
        Where to show; the terminal by default.

    Yields
    ------
    callable
        Takes a line of the log.
    """
    console = Console() if console is None else console
    told = False
    with _live(folder, console) if console.is_terminal else nullcontext(_plain) as show:

        def tell(line: Mapping[str, Any]) -> None:
            nonlocal told
            told = True
            show(line)
            if "validation" in line:
                _draw(folder)

        try:
            yield tell
        finally:
            if told:
                _draw(folder)


@contextmanager
def _live(folder: Path, console: Console) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """One line with a bar that follows the log."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        name = escape(str(folder))
        task = progress.add_task(name, total=None)

        def show(line: Mapping[str, Any]) -> None:
            if "validation" in line:
                dice = "  ".join(f"{region} {value:.3f}" for region, value in line["validation"].items())
                progress.console.print(f"step {line['step']}: validation Dice {dice}")
                return
            if "swept" in line:
                progress.console.print(f"step {line['step']}: error maps of {line['swept']} cases")
                return
            losses = "  ".join(f"{name} {line[name]:.3f}" for name in line if name not in {"step", "of", "seconds"})
            progress.update(task, completed=line["step"], total=line["of"], description=f"{name}  {losses}")

        yield show


def _plain(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _draw(folder: Path) -> None:
    with suppress(ImportError, OSError, ValueError):
        draw_curves([folder], folder / "curve.png")
