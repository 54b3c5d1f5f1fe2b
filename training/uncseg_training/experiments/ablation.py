"""What matters in the training: ``python -m uncseg_training.experiments.ablation -o OUT STUDIES [STUDIES ...]``.

Trains the variants below, each with the same number of steps and the same seed, one factor changed at a time, and
prints one row per variant: mean Dice of WT, TC and ET over each folder of studies (regions of at least 1 mL in the
reference), the parameters, the hours of training and the processor seconds of a prediction. Runs go on where they were
cut; a variant that is done is not trained again.

    seed          another one: differences below this one's say nothing
    anatomy       icbm only, label maps only, both
    contrast      never, sometimes, mostly far from clinical ones
    resolution    3, 2, 1.5, 1 mm, and the base's after a start at 1.5 times its voxel size (coarse to fine)
    network       half, once, twice the channels
    patches       1.5 and 1 mm at about the cost of the base: in patches of as many voxels as a head has at the base's,
                  and with fewer steps, for finer phantoms take longer

The scores on development studies decide what ships; they are no test scores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS
from napari_uncseg.models.model import Model, load_model, save_model
from uncseg_training.config import Config, read_config
from uncseg_training.experiments.real_studies import means, overlaps
from uncseg_training.experiments.runs import CUT, SMALL, Clock, Size
from uncseg_training.experiments.studies import usable
from uncseg_training.phantom.anatomy import load_anatomies, save_anatomies
from uncseg_training.state import CHECKPOINT, Training
from uncseg_training.train.sentences import run_plainly
from uncseg_training.trainer import fit

ICBM = "icbm152"


STEPS: Mapping[Size, int] = {Size.SMOKE: 2, Size.CPU: 1200, Size.GPU: 4000}
"""Steps of each variant. At 3 mm, where ``cpu`` begins, they take ten minutes of two cores. After a third of them two
seeds still differed by 0.05 in the WT Dice of five patients, and by 0.17 in that of forty phantoms."""

FINEST: Mapping[Size, float] = {Size.SMOKE: 1.0, Size.CPU: 2.0, Size.GPU: 1.0}
"""Smallest voxel that is tried, mm; a step at 1.5 mm takes eight times one at 3 mm."""


@dataclass(frozen=True)
class Variant:
    """One training of the table.

    Parameters
    ----------
    factor, level : str
        What is changed, and to what.
    changes : mapping
        Fields of :class:`~uncseg_training.config.Config` that differ from the base.
    anatomies : callable, optional
        Which anatomies, by name; all of them when left out.
    starts_at : float, optional
        Voxel size in millimetres of the first half of the steps.
    """

    factor: str
    level: str
    changes: Mapping[str, object] = field(default_factory=dict)
    anatomies: Callable[[str], bool] = lambda name: True
    starts_at: float | None = None

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.factor}-{self.level}".replace(" ", "-").replace(".", "_")


def variants(base: Config, finest: float = 1.0) -> list[Variant]:
    """The rows of the table; the base stands once, as the first, and again with another seed: what chance changes."""
    half, twice = (tuple(max(4, int(n * times)) for n in base.features) for times in (0.5, 2))
    return [
        Variant("base", "base"),
        Variant("seed", "another", {"seed": base.seed + 1000}),
        Variant("anatomy", "icbm only", anatomies=lambda name: name == ICBM),
        Variant("anatomy", "label maps only", anatomies=lambda name: name != ICBM),
        Variant("contrast", "never far", {"wide": 0.0}),
        Variant("contrast", "mostly far", {"wide": 0.7}),
        *(
            Variant("resolution", f"{spacing:g} mm", _at(base, spacing))
            for spacing in (3.0, 2.0, 1.5, 1.0)
            if spacing != base.spacing and spacing >= finest
        ),
        Variant("resolution", "coarse to fine", starts_at=1.5 * base.spacing),
        Variant("network", "half the channels", {"features": half}),
        Variant("network", "twice the channels", {"features": twice}),
        *(
            Variant("patches", f"{spacing:g} mm", _at_its_cost(base, spacing))
            for spacing in (1.5, 1.0)
            if spacing < base.spacing
        ),
    ]


def _at(base: Config, spacing: float) -> dict[str, object]:
    """Grid of another voxel size with the same extent, in multiples of what the network halves."""
    step = 2 ** (len(base.features) - 1)

    def scaled(shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(max(step, round(n * base.spacing / spacing / step) * step) for n in shape)

    volume = scaled(base.volume)
    patch = tuple(min(a, b) for a, b in zip(scaled(base.patch), volume, strict=True))
    return {"spacing": spacing, "volume": volume, "patch": patch}


def _at_its_cost(base: Config, spacing: float) -> dict[str, object]:
    """Finer voxels at about the processor time of the base."""
    steps = max(1, round(base.steps * (spacing / base.spacing) ** 1.5))
    return {**_at(base, spacing), "patch": base.volume, "whole_from": 1.0, "steps": steps}


@dataclass(frozen=True)
class Row:
    """Result of a variant.

    Parameters
    ----------
    factor, level : str
        Which.
    parameters : int
        Of the network.
    hours : float
        Of training.
    seconds : float
        Of a processor for one prediction, mean over all studies: other work beside it does not count.
    dice : mapping of str to mapping of str to (float, int)
        Per folder and region: mean, and over how many studies.
    """

    factor: str
    level: str
    parameters: int
    hours: float
    seconds: float
    dice: dict[str, dict[str, tuple[float, int]]]


def score(model: Model, folders: Sequence[Path]) -> tuple[dict[str, dict[str, tuple[float, int]]], float]:
    """Mean Dice per folder and region, and processor seconds per prediction."""
    predictor, dice, spent, count = Predictor(model), {}, 0.0, 0
    for folder in folders:
        rows = []
        for study in usable(folder):
            started = time.process_time()
            prediction = predictor.predict(study)
            spent, count = spent + time.process_time() - started, count + 1
            rows += overlaps(study, prediction.segmentation)
        dice[folder.name] = means(rows)
    return dice, spent / max(count, 1)


def train_variant(variant: Variant, base: Config, anatomies: Path, out: Path, budget: float | None) -> Training:
    """Train a variant as far as the budget goes."""
    run = out / "runs" / variant.name
    chosen = [anatomy for anatomy in load_anatomies(anatomies) if variant.anatomies(anatomy.name)]
    if not chosen:
        raise ValueError(
            f"{anatomies} holds no anatomy for {variant.level}; write it with --folder and with the template."
        )
    run.mkdir(parents=True, exist_ok=True)
    save_anatomies(chosen, run / "anatomies.npz")
    config = replace(base, name=variant.name, **variant.changes)  # type: ignore[arg-type]
    if variant.starts_at is None:
        return fit(run / "anatomies.npz", run, config, budget=budget)
    coarse = replace(config, steps=config.steps // 2, **_at(base, variant.starts_at))  # type: ignore[arg-type]
    first = fit(run / "anatomies.npz", run / "coarse", coarse, budget=budget)
    if first.step < coarse.steps:
        return first
    fine = replace(config, steps=config.steps - coarse.steps)
    if not (run / CHECKPOINT).is_file():
        start = Training.fresh(fine)
        start.network.load_state_dict(first.averaged.state_dict())
        start.averaged.load_state_dict(first.averaged.state_dict())
        start.seconds = first.seconds
        start.save(run)
    return fit(run / "anatomies.npz", run, fine, budget=budget)


def markdown(rows: Sequence[Row]) -> str:
    """The table, Dice as WT / TC / ET."""
    folders = list(dict.fromkeys(name for row in rows for name in row.dice))
    lines = [
        "| factor | level | M parameters | training, h | prediction, CPU s | " + " | ".join(folders) + " |",
        "|---|---|---|---|---|" + "---|" * len(folders),
    ]
    for row in rows:
        cells = [" / ".join(f"{row.dice[name][region][0]:.3f}" for region in REGIONS) for name in folders]
        lines.append(
            f"| {row.factor} | {row.level} | {row.parameters / 1e6:.2f} | {row.hours:.2f} | {row.seconds:.1f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def main(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies with references.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for runs, ablation.json and ablation.md.")],
    anatomies: Annotated[Path, typer.Option(help="File of 'uncseg-train anatomies'.")] = Path("cache/anatomies.npz"),
    size: Annotated[Size, typer.Option(help="How much to spend.")] = Size.CPU,
    only: Annotated[list[str] | None, typer.Option(help="Factors to run (the base always runs).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this time; run again to go on.")] = None,
) -> None:
    """Train what is missing, print the table."""
    schedule: dict[str, Any] = {
        "seed": 4,
        "steps": STEPS[size],
        "misses": 0.5,
        "decay": 0.6,
        "whole_from": 0.7,
        "late_from": 0.4,
        "looks": "clinical",
        "learning_rate": 1e-3,
    }
    schedule |= SMALL if size is Size.CPU else {}
    base = read_config(size, start="", snapshots=1, validation=0, **schedule)
    clock, rows = Clock(minutes), []
    out.mkdir(parents=True, exist_ok=True)
    for variant in variants(base, FINEST[size]):
        if only and variant.factor not in {*only, "base"}:
            continue
        kept = out / f"{variant.name}.json"
        if not kept.is_file():
            if clock.over:
                typer.echo(CUT)
                break
            training = train_variant(variant, base, anatomies, out, clock.left)
            if training.step < training.config.steps:
                typer.echo(f"{variant.name}: cut at step {training.step}; run the same command to go on.")
                break
            folder = out / "models" / variant.name
            save_model(training.model(), folder, half=True)
            dice, seconds = score(load_model(folder), studies)
            weights = sum(tensor.numel() for tensor in training.network.parameters())
            row = Row(variant.factor, variant.level, weights, training.seconds / 3600, seconds, dice)
            kept.write_text(json.dumps(asdict(row), indent=2) + "\n")
        rows.append(Row(**json.loads(kept.read_text())))
        typer.echo(markdown(rows[-1:]).splitlines()[-1])
    settings = {
        "size": size.value,
        "base": asdict(base),
        "torch": torch.__version__,
        "rows": [asdict(row) for row in rows],
    }
    (out / "ablation.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "ablation.md").write_text(markdown(rows))
    typer.echo("\n" + markdown(rows))


if __name__ == "__main__":
    run_plainly(main)
