"""What matters in the training: ``python -m uncseg_training.experiments.ablation -o OUT STUDIES [STUDIES ...]``.

Trains the variants below on endless phantoms, each with the same number of steps and the same seed, one factor changed
at a time, and prints one row per variant: mean Dice of WT, TC and ET over each folder of studies (regions of at least
1 mL in the reference), the parameters, the hours of training and the processor seconds of a prediction. Runs go on
where they were cut; a variant that is done is not trained again.

    seed          another one: differences below this one's say nothing
    anatomy       icbm only, label maps only, both
    contrast      never, sometimes, mostly far from clinical ones
    resolution    3, 2, 1.5, 1 mm, and the base's after a start at 1.5 times its voxel size (coarse to fine)
    network       half, once, twice the channels
    patches       1.5 and 1 mm at about the cost of the base: in patches of as many voxels as a volume has at the
                  base's, and with fewer steps, for finer phantoms take longer

The scores on development studies decide what ships; they are no test scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.models.model import Model, load_model, save_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import mean_dice, region_dice, usable
from uncseg_training.phantom.anatomy import load_anatomies, save_anatomies
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.state import Training

ICBM = "icbm152"

STEPS: Mapping[harness.Size, int] = {harness.Size.SMOKE: 2, harness.Size.CPU: 1200, harness.Size.GPU: 4000}
"""Steps of each variant. At 3 mm, where ``cpu`` begins, they take ten minutes of two cores. After a third of them two
seeds still differed by 0.05 in the WT Dice of five patients, and by 0.17 in that of forty phantoms."""

FINEST: Mapping[harness.Size, float] = {harness.Size.SMOKE: 1.0, harness.Size.CPU: 2.0, harness.Size.GPU: 1.0}
"""Smallest voxel that is tried, mm; a step at 1.5 mm takes eight times one at 3 mm."""


@dataclass(frozen=True)
class Variant:
    """One training of the table.

    Parameters
    ----------
    factor, level : str
        What is changed, and to what.
    changes : mapping
        Fields of :class:`~uncseg_training.train.config.Config` that differ from the base.
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


def base_of(size: harness.Size) -> Config:
    """The first row."""
    schedule = {"seed": 4, "snapshots": 1, "steps": STEPS[size], "decay": 0.6, "whole_from": 0.7}
    small = harness.SMALL if size is harness.Size.CPU else {}
    return read_config(harness.BASE[size], **harness.PINNED, **schedule, **small)


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


def _at(base: Config, spacing: float) -> dict[str, Any]:
    """Grid of another voxel size with the same extent, in multiples of what the network halves."""
    step = 2 ** (len(base.features) - 1)

    def scaled(shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(max(step, round(n * base.spacing / spacing / step) * step) for n in shape)

    volume = scaled(base.volume)
    patch = tuple(min(a, b) for a, b in zip(scaled(base.patch), volume, strict=True))
    return {"spacing": spacing, "volume": volume, "patch": patch}


def _at_its_cost(base: Config, spacing: float) -> dict[str, Any]:
    """Finer voxels at about the processor time of the base."""
    steps = max(1, round(base.steps * (spacing / base.spacing) ** 1.5))
    return {**_at(base, spacing), "patch": base.volume, "whole_from": 1.0, "steps": steps}


def train_variant(variant: Variant, base: Config, anatomies: Path, out: Path, clock: harness.Clock) -> list[Training]:
    """Train a variant, or go on with it; the last training is the result of those before."""
    chosen = [anatomy for anatomy in load_anatomies(anatomies) if variant.anatomies(anatomy.name)]
    if not chosen:
        raise ValueError(
            f"{anatomies} holds no anatomy for {variant.level}; write it with --folder and with the template."
        )
    save_anatomies(chosen, file := out / "anatomies" / f"{variant.name}.npz")
    configs = [replace(base, name=variant.name, **variant.changes)]  # type: ignore[arg-type]
    if variant.starts_at is not None:
        coarse = replace(
            configs[0], name=f"{variant.name}-coarse", steps=base.steps // 2, **_at(base, variant.starts_at)
        )
        start = str(out / "runs" / coarse.name)
        configs = [coarse, replace(configs[0], start=start, steps=base.steps - coarse.steps)]
    harness.train_all(configs, out / "runs", file, clock)
    return [Training.of_run(out / "runs" / config.name) for config in configs]


def row_of(variant: Variant, trainings: Sequence[Training], model: Model, folders: Sequence[Path]) -> harness.Row:
    """Parameters, hours, processor seconds of a prediction (other work beside it does not count), and mean Dice."""
    predictor, spent, count = Predictor(model), 0.0, 0
    dice: harness.Row = {}
    for folder in folders:
        rows = []
        for study in usable(folder):
            assert study.reference is not None
            started = time.process_time()
            prediction = predictor.predict(study)
            spent, count = spent + time.process_time() - started, count + 1
            rows.append(region_dice(prediction.segmentation, study.reference, study.voxel_ml))
        dice |= {f"{folder.name} {region}": harness.rounded(mean, 3) for region, (mean, _) in mean_dice(rows).items()}
    weights = sum(tensor.numel() for tensor in trainings[-1].network.parameters())
    return {
        "factor": variant.factor,
        "level": variant.level,
        "M parameters": round(weights / 1e6, 2),
        "training, h": round(sum(training.seconds for training in trainings) / 3600, 2),
        "prediction, CPU s": round(spent / max(count, 1), 1),
        **dice,
    }


@harness.experiment
def main(
    studies: harness.StudyFolders,
    out: harness.Out,
    anatomies: Annotated[Path, typer.Option(help="File of 'uncseg-train anatomies'.")] = Path("cache/anatomies.npz"),
    size: harness.SizeOption = harness.Size.CPU,
    only: Annotated[list[str] | None, typer.Option(help="Factors to run (the base always runs).")] = None,
    minutes: harness.Minutes = None,
) -> None:
    """Train what is missing, print the table."""
    base, clock, rows = base_of(size), harness.Clock(minutes), []
    for variant in variants(base, FINEST[size]):
        if only and variant.factor not in {*only, "base"}:
            continue

        def measured(variant: Variant = variant) -> harness.Row:
            trainings = train_variant(variant, base, anatomies, out, clock)
            folder = out / "models" / variant.name
            save_model(trainings[-1].model(), folder, half=True)
            return row_of(variant, trainings, load_model(folder), studies)

        rows.append(harness.kept(out / f"{variant.name}.json", measured))
        typer.echo("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    harness.write_json({"size": size.value, "base": asdict(base), "rows": rows}, out / "ablation.json")
    harness.write_table(rows, out / "ablation", "One factor at a time: mean Dice over regions of at least 1 mL.")
    typer.echo("\n" + (out / "ablation.md").read_text())


if __name__ == "__main__":
    typer.run(main)
