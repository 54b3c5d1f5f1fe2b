"""How a training tells what it does: a live line in a terminal, JSON lines everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uncseg_training.curves import draw_curves


@contextmanager
def reporter(folder: Path, console: Console | None = None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the lines of a training's log, and draw its curve at each validation and at the end.

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
    if not console.is_terminal:
        yield lambda line: _plain(line, folder)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(str(folder), total=None)

        def show(line: Mapping[str, Any]) -> None:
            if "validation" in line:
                dice = "  ".join(f"{region} {value:.3f}" for region, value in line["validation"].items())
                progress.console.print(f"step {line['step']}: validation Dice {dice}")
                draw_curves([folder], folder / "curve.png")
                return
            if "swept" in line:
                progress.console.print(f"step {line['step']}: error maps of {line['swept']} cases")
                return
            losses = "  ".join(f"{name} {line[name]:.3f}" for name in line if name not in {"step", "of", "seconds"})
            progress.update(task, completed=line["step"], total=line["of"], description=f"{folder}  {losses}")

        yield show


def _plain(line: Mapping[str, Any], folder: Path) -> None:
    print(json.dumps(line), flush=True)
    if "validation" in line:
        draw_curves([folder], folder / "curve.png")
