"""What a site's corrected studies buy: ``python -m uncseg_training.experiments.adapt_curve STUDIES -o OUT``.

The phantom network, which saw no patient, is adapted as ``uncseg-train adapt`` does it with 0, 5, 10 and 20 patients of
the folds 1 to 4, each set within the next, and judged on the patients of fold 0. First stage alone, at 2 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.models.model import load_model
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.data.splits import SPLITS, read_splits, write_splits
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.studies import region_dice
from uncseg_training.train.adapt import FRESH, Settings
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.export import export_run

COUNTS = (5, 10, 20)
SEED, MEMBERS = 4102, "tta:2"

Dice = dict[Region, float]


def config_of(count: int, pool: Sequence[str], judged: Sequence[str], base: Config, folder: Path) -> Config:
    """Configuration that trains on the first ``count`` of a pool of patients.

    Parameters
    ----------
    count : int
        How many.
    pool : sequence of str
        Patients in the order in which they are taken.
    judged : sequence of str
        Patients that nothing is trained on.
    base : Config
        Of the first stage, with the network to start from.
    folder : Path
        Takes the file of folds.
    """
    chosen, rest = sorted(pool[:count]), sorted([*pool[count:], *judged])
    path = folder / f"splits-{count}.json"
    write_splits([{"train": chosen, "val": rest}, {"train": rest, "val": chosen}], path)
    settings = Settings()
    changes = {"splits": str(path), "folds": 2, "fold": 0, "steps": settings.steps}
    return replace(base, name=f"adapted-{count}", learning_rate=settings.learning_rate, **{**FRESH, **changes})


def rows_of(dice: dict[int, list[Dice]]) -> list[Row]:
    """Mean Dice after each number of patients, and the gain over none."""
    rows = []
    for count, found in dice.items():
        row: Row = {"patients": count}
        for region in REGIONS:
            values, before = ([each[region] for each in several] for several in (found, dice[0]))
            row[str(region)] = harness.interval(values)
            row[f"gain {region}"] = harness.told(paired_difference(values, before).mean) if count else None
        rows.append(row)
    return rows


@harness.experiment
def main(
    studies: harness.StudyFolders,
    out: harness.Out,
    cases: Annotated[Path, typer.Option(help="The same studies as cases of the configuration lowres.")],
    anatomies: Annotated[Path, typer.Option(help="File of 'uncseg-train anatomies'.")],
    start: Annotated[Path, typer.Option(help="Network to adapt.")] = Path("training/release/phantom"),
    minutes: harness.Minutes = None,
) -> None:
    """Adapt with more and more patients, and judge on those of fold 0."""
    clock, fold = harness.Clock(minutes), read_splits(SPLITS)[0]
    out.mkdir(parents=True, exist_ok=True)
    pool = [str(name) for name in np.random.default_rng(SEED).permutation(fold["train"])]
    base = read_config("lowres", cases=str(cases), start=str(start))
    configs = {count: config_of(count, pool, fold["val"], base, out) for count in COUNTS}
    harness.train_all(configs.values(), out / "runs", anatomies, clock)
    models = {0: start}
    for count, config in configs.items():
        models[count] = out / "models" / config.name
        export_run(out / "runs" / config.name, models[count])
    known = labelled_studies(studies)
    dice: dict[int, list[Dice]] = {}
    for count, folder in models.items():
        predictor, dice[count] = Predictor(load_model(folder)), []
        for name in fold["val"]:
            study = known[name]()
            assert study.reference is not None  # it would not be among these otherwise
            found = predictor.predict(study, ensemble=MEMBERS)
            dice[count].append(region_dice(found.segmentation, study.reference, study.voxel_ml))
    rows = rows_of(dice)
    harness.write_table(rows, out / "adapt_curve", f"Mean Dice of {len(fold['val'])} patients of fold 0")
    values = {
        str(count): [{str(r): harness.rounded(v) for r, v in each.items()} for each in d] for count, d in dice.items()
    }
    harness.write_json({"seed": SEED, "members": MEMBERS, "patients": pool, "dice": values}, out / "adapt_curve.json")
    typer.echo((out / "adapt_curve.md").read_text())


if __name__ == "__main__":
    typer.run(main)
