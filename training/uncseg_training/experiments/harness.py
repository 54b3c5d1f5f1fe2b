"""What the experiments share: options, runs that go on where they were cut, tables and figures.

A script is a ``main`` under :func:`experiment` with the options below. It trains with :func:`train_all`, keeps what
took long with :func:`kept`, and writes its tables (:func:`write_table`), pictures (:func:`write_figure`) and every
number with settings and seeds (:func:`write_json`). When ``--minutes`` are over it stops, and the same command goes on.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ParamSpec

import numpy as np
import pandas as pd
import torch
import typer

from napari_uncseg.arrays import AnyFloats
from napari_uncseg.io.files import write_files
from napari_uncseg.metrics.statistics import Interval, bootstrap_bca
from uncseg_training.phantom.anatomy import build_anatomies, save_anatomies
from uncseg_training.train.config import Config
from uncseg_training.train.sentences import plainly
from uncseg_training.train.state import CHECKPOINT, Training
from uncseg_training.train.trainer import fit

P = ParamSpec("P")
Row = dict[str, Any]


class Size(StrEnum):
    """How much to spend."""

    SMOKE = "smoke"
    CPU = "cpu"
    GPU = "gpu"
    PATIENTS = "patients"


SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "spacing": 3.0,
        "volume": (56, 64, 56),
        "patch": (40, 48, 40),
        "features": (12, 24, 48, 64),
        "encoder": (1, 2, 2, 2),
        "decoder": (1, 2, 1),
    }
)
"""A grid and a network of half a million parameters that a CPU trains in minutes."""

BASE: Mapping[Size, str] = MappingProxyType(
    {Size.SMOKE: "smoke", Size.CPU: "phantom", Size.GPU: "gpu", Size.PATIENTS: "lowres"}
)
"""Configuration that each size starts from; ``patients`` is the first stage of a fold of the release network."""

PINNED: Mapping[str, Any] = MappingProxyType(
    {"start": "", "validation": 0, "appearance_prior": "clinical", "late_from": 0.4}
)
"""What all experiments set, whatever that configuration says."""

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for cohorts, runs, tables and figures.")]
SizeOption = Annotated[Size, typer.Option("--config", "--size", help="How much to spend.")]
AnatomiesOption = Annotated[
    Path | None, typer.Option("--anatomies", help="File of 'uncseg-train anatomies'; the ICBM152 template without it.")
]
CasesOption = Annotated[
    Path | None,
    typer.Option("--cases", help="Patients in folds in the place of phantoms: a folder of 'uncseg-train cases'."),
]
Minutes = Annotated[float | None, typer.Option(help="Stop after this time; run again to go on.")]
Device = Annotated[str, typer.Option(help="Where to predict: auto, cpu or cuda.")]
ModelOption = Annotated[Path | None, typer.Option("--model", help="Model folder; the bundled one by default.")]
StudyFolders = Annotated[list[Path], typer.Argument(help="Folders of studies with references.")]

CUT = "The time is over, or another command is at work; run the same command to go on."


class TimeOver(Exception):
    """The time of a command is over before its work is done."""


def experiment(main: Callable[P, None]) -> Callable[P, None]:
    """A script's ``main`` that ends in a sentence when its time is over or its input is wrong."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
        except TimeOver:
            typer.echo(CUT)

    return plainly(run)


def until_cut(work: Callable[[], None]) -> bool:
    """Whether work was done before the time was over; what is finished can be measured either way."""
    try:
        work()
    except TimeOver:
        return False
    return True


class Clock:
    """How much of the time of a command is left.

    Parameters
    ----------
    minutes : float or None
        Of the command; None for no limit.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Stop here when the time is over.

        Raises
        ------
        TimeOver
        """
        if self.left == 0.0:
            raise TimeOver


def settled(size: Size, cases: Path | None) -> dict[str, Any]:
    """What every configuration of a size holds: that of the phantoms, or the recipe of the release as it is.

    Raises
    ------
    ValueError
        When patients are asked for and none are named.
    """
    if size is not Size.PATIENTS:
        return {**PINNED, "seed": 3}
    if cases is None:
        raise ValueError("Which patients? Name their folder with --cases (uncseg-train cases writes it).")
    return {"cases": str(cases)}


@contextmanager
def alone(run: Path) -> Iterator[bool]:
    """Whether nobody else works at a run; while it lasts others are told that somebody does."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "in-use").open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows has no such lock: there nobody shares the work
            yield True
        except OSError:
            yield False
        else:
            yield True


def is_finished(run: Path) -> bool:
    """Whether a run folder holds a training that reached its last step."""
    if not (run / CHECKPOINT).is_file():
        return False
    training = Training.of_run(run)
    return training.step == training.config.steps


def train_all(
    configs: Iterable[Config], folder: Path, anatomies: Path, clock: Clock, tell: Callable[[str], None] = typer.echo
) -> None:
    """Train what is not trained yet, each in ``folder/<name>``.

    Parameters
    ----------
    configs : iterable of Config
        What to train, in this order.
    folder : Path
        Of the runs.
    anatomies : Path
        File of :func:`uncseg_training.phantom.anatomy.save_anatomies`.
    clock : Clock
        When it is over, the training under way stops at a checkpoint.
    tell : callable
        Told a sentence for each training.

    Raises
    ------
    TimeOver
        When the time is over before all are finished, or another command trains what is left.
    """
    others = False
    for config in configs:
        run = folder / config.name
        if is_finished(run):
            continue
        clock.check()
        with alone(run) as mine:
            if not mine:
                others = True
                continue
            training = fit(anatomies, run, config, budget=clock.left)
        tell(f"{config.name}: step {training.step} of {config.steps}, {training.seconds:.0f} s")
        if training.step < config.steps:
            raise TimeOver
    if others:
        raise TimeOver


def anatomies_or_template(anatomies: Path | None, out: Path) -> Path:
    """A file of anatomies: the one given, else the ICBM152 template, written to ``out`` once."""
    if anatomies is not None:
        return anatomies
    file = out / "anatomies.npz"
    if not file.is_file():
        out.mkdir(parents=True, exist_ok=True)
        save_anatomies(build_anatomies(None, icbm=True), file)
    return file


def interval(values: Sequence[float] | AnyFloats | pd.Series) -> Row:
    """Mean over cases with a 95 % interval (BCa bootstrap), as :func:`told` gives it."""
    return told(bootstrap_bca(np.asarray(values, np.float64)))


def told(found: Interval) -> Row:
    """An interval as JSON values: the estimate as ``mean``, ``low``, ``high`` (None where undefined) and ``count``."""
    numbers = {"mean": found.estimate, "low": found.low, "high": found.high}
    return {key: rounded(value) for key, value in numbers.items()} | {"count": found.count}


def rounded(value: float, digits: int = 4) -> float | None:
    """A number for a table; None where it is undefined."""
    return round(value, digits) if math.isfinite(value) else None


def write_table(rows: Sequence[Mapping[str, Any]], stem: Path, title: str) -> None:
    """Write ``<stem>.csv`` with every number, and ``<stem>.md`` below a title, without columns that are empty.

    Parameters
    ----------
    rows : sequence of mapping
        All with the same keys; what :func:`told` gave takes four columns of the CSV and one of the other.
    stem : Path
    title : str
    """
    numbers = pd.DataFrame([_flat(row) for row in rows], dtype=object)
    words = pd.DataFrame([{key: _words(value) for key, value in row.items()} for row in rows])
    words = words.loc[:, (words != "").any()]
    lines = [title, "", "| " + " | ".join(words.columns) + " |", "|" + "---|" * words.shape[1]]
    lines += ["| " + " | ".join(row) + " |" for row in words.itertuples(index=False)]
    write_files(
        {
            stem.with_suffix(".csv"): numbers.to_csv(index=False, lineterminator="\n").encode(),
            stem.with_suffix(".md"): ("\n".join(lines) + "\n").encode(),
        }
    )


def _flat(row: Mapping[str, Any]) -> Row:
    flat: Row = {}
    for key, value in row.items():
        flat |= {f"{key} {part}": each for part, each in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "" if value is None else str(value)
    if value["mean"] is None:
        return ""
    words = f"{value['mean']:.3f}"
    return words if value["low"] is None else f"{words} ({value['low']:.3f} to {value['high']:.3f})"


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write every number with settings and seeds, and the version of torch."""
    whole = {"torch": torch.__version__, **content}
    write_files({path: (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode()})


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """JSON values of a file, made and written when it is not there yet."""
    if not path.is_file():
        write_files({path: (json.dumps(make(), indent=1) + "\n").encode()})
    return json.loads(path.read_text())


def write_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG."""
    from napari_uncseg.reporting.plot_style import encode_figure

    write_files({path: encode_figure(figure, "png")})
