"""Curves of a training from its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
LOSSES = {"segmentation": "#30507a", "uncertainty": "#8a4fa3"}
COLOURS = {"WT": "#1b7f5c", "TC": "#b3411f", "ET": "#c79a0b"}


def read_log(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's log; where a run was cut and gone on with, the later line of a step counts.

    Raises
    ------
    ValueError
        When there is no log, or nothing in it.
    """
    path = run / LOG
    if not path.is_file():
        raise ValueError(f"{path} is not there; train with: uncseg-train fit -o {run}")
    lines: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
            if "validation" in line:
                line["validation"] = {region: float(line["validation"][region]) for region in COLOURS}
            line |= {name: float(line[name]) for name in LOSSES if name in line}
            lines[int(line["step"]), "validation" in line, "swept" in line] = line
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            # A process killed while it wrote leaves half a line, a disk that fails another one.
            continue
    if not lines:
        raise ValueError(f"{path} holds no line yet; the first one comes after twenty steps.")
    return [lines[key] for key in sorted(lines)]


def draw_curves(runs: Sequence[Path], out: Path) -> None:
    """Draw the losses and the validation Dice of runs over their steps.

    Parameters
    ----------
    runs : sequence of Path
        Run folders with a log.
    out : Path
        Picture to write.

    Raises
    ------
    ValueError
        When a run has no log.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, dice = figure.subplots(1, 2)
    for run, style in zip(runs, ["-", "--", ":", "-."] * len(runs), strict=False):
        lines = read_log(run)
        training = [line for line in lines if "segmentation" in line]
        for name, colour in LOSSES.items():
            values = [line.get(name, float("nan")) for line in training]
            losses.plot([line["step"] for line in training], values, style, color=colour, label=f"{name}, {run.name}")
        checked = [line for line in lines if "validation" in line]
        for region, colour in COLOURS.items():
            values = [line["validation"][region] for line in checked]
            dice.plot(
                [line["step"] for line in checked],
                values,
                f"o{style}",
                ms=3,
                color=colour,
                label=f"{region}, {run.name}",
            )
    losses.set(xlabel="step", ylabel="loss (running mean)", ylim=(0, None))
    dice.set(xlabel="step", ylabel="Dice on fixed unseen phantoms", ylim=(0, 1))
    for axes in (losses, dice):
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
