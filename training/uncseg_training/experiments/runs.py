"""What experiments share: how much to spend, and trainings that go on where they were cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from uncseg_training.config import Config
from uncseg_training.state import CHECKPOINT, Training
from uncseg_training.trainer import fit


class Size(StrEnum):
    """How much to spend."""

    SMOKE = "smoke"
    CPU = "cpu"
    GPU = "gpu"


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

CUT = "The time is over; run the same command to go on."


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

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.left == 0.0


def is_finished(run: Path) -> bool:
    """Whether a run folder holds a training that reached its last step."""
    if not (run / CHECKPOINT).is_file():
        return False
    training = Training.of_run(run)
    return training.step == training.config.steps


def train_all(
    configs: Iterable[Config], folder: Path, anatomies: Path, clock: Clock, tell: Callable[[str], None]
) -> bool:
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
        Told a sentence for each training, and when the time is over.

    Returns
    -------
    bool
        Whether all are finished.
    """
    for config in configs:
        run = folder / config.name
        if is_finished(run):
            continue
        if not clock.over:
            training = fit(anatomies, run, config, budget=clock.left)
            tell(f"{config.name}: step {training.step} of {config.steps}, {training.seconds:.0f} s")
        if not is_finished(run):
            tell(CUT)
            return False
    return True


def anatomies_or_template(anatomies: Path | None, out: Path) -> Path:
    """A file of anatomies: the one given, else the ICBM152 template, written to ``out`` once."""
    if anatomies is not None:
        return anatomies
    from uncseg_training.phantom.anatomy import build_anatomies, save_anatomies

    file = out / "anatomies.npz"
    if not file.is_file():
        out.mkdir(parents=True, exist_ok=True)
        save_anatomies(build_anatomies(None, icbm=True), file)
    return file
