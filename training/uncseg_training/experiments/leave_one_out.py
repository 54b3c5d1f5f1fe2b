"""What a handful of patients would give: ``python -m uncseg_training.experiments.leave_one_out STUDIES -o OUT``.

From a finished run on phantoms, the training goes on for some steps in which a share of the samples are patients, each
time without one of them, who is then predicted. Beside it stand the run as it was, and the same steps with phantoms
alone. For comparison only: the weights that ship have seen no patient. Trainings go on where they were cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import REGIONS
from napari_uncseg.models.model import Model, load_model, save_model
from uncseg_training.cases import Cases, write_study_cases
from uncseg_training.config import Config
from uncseg_training.experiments.real_studies import Overlap, means, overlaps
from uncseg_training.experiments.runs import Clock
from uncseg_training.experiments.studies import usable
from uncseg_training.state import Training
from uncseg_training.train.sentences import run_plainly
from uncseg_training.trainer import fit

BEFORE, PHANTOMS, PATIENTS = "as it was", "phantoms alone", "phantoms and the other patients"


@dataclass(frozen=True)
class Arm:
    """One training and the studies it is judged on.

    Parameters
    ----------
    name : str
        Row of the table.
    config : Config
        Of the training.
    studies : tuple of str
        Held out.
    """

    name: str
    config: Config
    studies: tuple[str, ...]


def arms(base: Config, cases: Cases, share: float) -> Iterator[Arm]:
    """Phantoms alone, judged on all; then every patient with a training that lacks them."""
    yield Arm(PHANTOMS, replace(base, name="phantoms"), cases.names)
    folds = len(cases.names)
    mixed = replace(base, cases=str(cases.folder), share=share, folds=folds)
    for fold in range(folds):
        _, held_out = cases.split(folds, fold)
        yield Arm(PATIENTS, replace(mixed, name=f"without-{held_out[0]}", fold=fold), held_out)


def score(model: Model, source: Path, names: Sequence[str]) -> list[Overlap]:
    """Overlap of every region of the studies."""
    predictor, rows = Predictor(model), []
    for study in usable(source):
        if study.id in names:
            rows += overlaps(study, predictor.predict(study).segmentation)
    return rows


def markdown(found: dict[str, list[Overlap]]) -> str:
    """Dice per study and region, and the means over regions of at least 1 mL in the reference."""
    studies = list(dict.fromkeys(row.study for rows in found.values() for row in rows))
    lines = ["| | " + " | ".join(studies) + " | mean |", "|---|" + "---|" * (len(studies) + 1)]
    for name, rows in found.items():
        dice = {(row.study, row.region): row.dice for row in rows}
        cells = [
            " / ".join(f"{dice[study, region]:.3f}" if (study, region) in dice else "" for region in map(str, REGIONS))
            for study in studies
        ]
        mean = " / ".join(f"{value:.3f}" for value, _ in means(rows).values())
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean} |")
    return "Dice, WT / TC / ET.\n\n" + "\n".join(lines) + "\n"


def main(
    studies: Annotated[Path, typer.Argument(help="Folder of studies with references.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for cases, runs and the table.")],
    start: Annotated[Path, typer.Option(help="Finished run to go on from.")] = Path("runs/uncseg-phantom"),
    anatomies: Annotated[Path, typer.Option(help="File of 'uncseg-train anatomies'.")] = Path("cache/anatomies.npz"),
    steps: Annotated[int, typer.Option(min=1, help="Of each training.")] = 200,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the samples that are patients.")] = 0.3,
    minutes: Annotated[float | None, typer.Option(help="Stop after this time; run again to go on.")] = None,
) -> None:
    """Train what is missing, print the table."""
    clock = Clock(minutes)
    first = Training.of_run(start)
    changes = {"start": str(start), "steps": steps, "snapshots": 1, "validation": 0, "decay": 0.7, "warmup": 20}
    base = replace(first.config, learning_rate=3e-4, whole_from=0.0, late_from=0.0, **changes)  # type: ignore[arg-type]
    (cases,) = write_study_cases(studies, {out / "cases": base})
    save_model(first.model(), out / "models" / "before", half=True)
    found = {BEFORE: score(load_model(out / "models" / "before"), studies, cases.names)}
    for arm in arms(base, cases, share):
        training = fit(anatomies, out / "runs" / arm.config.name, arm.config, budget=clock.left)
        if training.step < steps:
            typer.echo(f"{arm.config.name}: cut at step {training.step}; run the same command to go on.")
            return
        folder = out / "models" / arm.config.name
        save_model(training.model(), folder, half=True)
        found.setdefault(arm.name, []).extend(score(load_model(folder), studies, arm.studies))
        typer.echo(f"{arm.config.name}: done")
    table = markdown(found)
    content = {
        "settings": asdict(base) | {"share": share},
        "rows": {k: [asdict(r) for r in v] for k, v in found.items()},
    }
    write_files(
        {
            out / "leave_one_out.md": table.encode(),
            out / "leave_one_out.json": (json.dumps(content, indent=1) + "\n").encode(),
        }
    )
    typer.echo("\n" + table)


if __name__ == "__main__":
    run_plainly(main)
