"""What the command line prints: progress while it works, and a table of what came out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from napari_uncseg.inference.pipeline import Outcome, Status
from napari_uncseg.inference.pipeline import Progress as ProgressCallback
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import REGIONS

_WIDE = 160
"""Columns of a table that goes to a file or a pipe, where nothing has to fit a screen."""


def console(*, stderr: bool = False) -> Console:
    """Console on stdout or stderr as they are now; wide when nobody's screen bounds it."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE, highlight=False, markup=False)


def say(sentence: str) -> None:
    """Print a remark on stderr, so that stdout holds the table alone."""
    console(stderr=True).print(sentence, soft_wrap=True)


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

        def tell(done: int, total: int, message: str) -> None:
            nonlocal stage
            if message != stage:
                stage = message
                screen.print(f"{title}: {message}", soft_wrap=True)

        yield tell
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

        def move(done: int, total: int, message: str) -> None:
            if total:
                bars.update(bar, completed=done, total=total, message=message)
            else:
                bars.update(bar, message=message)

        yield move


def print_outcomes(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print a table of studies: volumes in mL, Dice where there is a reference, triage score, time, what became of it.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One per study, failures included.
    out : Path
        Folder that holds a folder per study.
    """
    judged = any(_numbers(outcome.provenance, "dice") for outcome in outcomes)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("study", overflow="fold")
    for region in REGIONS:
        table.add_column(f"{region} mL", justify="right")
    if judged:
        for region in REGIONS:
            table.add_column(f"Dice {region}", justify="right")
    table.add_column("triage score", justify="right")
    table.add_column("time", justify="right")
    table.add_column("result")
    for outcome in outcomes:
        done = outcome.status is not Status.FAILED
        volumes, dice = _numbers(outcome.provenance, "volumes_ml"), _numbers(outcome.provenance, "dice")
        cells = [outcome.study_id, *(_number(volumes.get(region), 1) for region in REGIONS)]
        if judged:
            cells += [_number(dice.get(region), 3) for region in REGIONS]
        cells.append(_number(outcome.provenance.get("triage_score"), 4))
        cells += [f"{outcome.seconds:.1f} s" if done else "–", str(outcome.status)]
        table.add_row(*(Text(cell) for cell in cells), style=None if done else "red")
    screen = console()
    screen.print(table)
    if any(outcome.status is not Status.FAILED for outcome in outcomes):
        screen.print(
            "WT whole tumour, TC tumour core, ET enhancing tumour. Triage score: mean WT entropy in the cancer mask, "
            "in nats; look at the highest first, and before them at a study without one (no tumour found).",
            soft_wrap=True,
        )
        screen.print(f"Saved in {out}, one folder per study.", soft_wrap=True)
    screen.print(RESEARCH_USE_ONLY, soft_wrap=True)


def _numbers(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A block of numbers per region; empty when the result has none."""
    block = provenance.get(name)
    return block if isinstance(block, Mapping) else {}


def _number(value: object, digits: int) -> str:
    """A number for a table; a dash where it is undefined."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) and value == value else "–"
