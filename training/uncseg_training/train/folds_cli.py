"""Commands of ``uncseg-train`` that predict, calibrate and adapt by folds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_uncseg.uncertainty.conformal import ALPHA
from uncseg_training.train.sentences import plainly


def register_folds(app: typer.Typer) -> None:
    """Add these commands to the others."""
    for command in (predict_folds, calibrate_folds, adapt, recipe):
        app.command()(command)


@plainly
def predict_folds(
    models: Annotated[list[str], typer.Argument(help="Model folder of each fold, as FOLD=FOLDER: 0=models/fold-0.")],
    studies: Annotated[list[Path], typer.Option(help="Folder of studies with references; repeat for several.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the results.")],
    folds: Annotated[str, typer.Option("--splits", help="File of the folds, or gliomas.")] = "gliomas",
    members: Annotated[str, typer.Option(help="As for uncseg predict.")] = "single",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that stand there.")] = False,
) -> None:
    """Predict every study by the model of the fold that held it out, into one folder that 'uncseg evaluate' reads."""
    from uncseg_training.data.splits import SPLITS, read_splits
    from uncseg_training.train.cross_validation import predict_out_of_fold

    named: dict[int, Path] = {}
    for word in models:
        fold, equals, folder = word.partition("=")
        if not equals or not fold.isdigit():
            raise ValueError(f"{word} does not say which fold it is of; write it as 0={word}.")
        named[int(fold)] = Path(folder)
    found = read_splits(SPLITS if folds == "gliomas" else Path(folds))
    if wrong := [fold for fold in named if fold >= len(found)]:
        raise ValueError(f"There is no fold {wrong[0]}; there are {len(found)}, counted from 0.")
    done = predict_out_of_fold(named, found, studies, out, members=members, overwrite=overwrite, tell=typer.echo)
    typer.echo(f"{out}: {len(done)} studies out of fold")


@plainly
def calibrate_folds(
    results: Annotated[Path, typer.Argument(help="Results of 'uncseg-train predict-folds'.")],
    model: Annotated[Path, typer.Argument(help="Model folder that the calibration is for; it is written into it.")],
    studies: Annotated[list[Path], typer.Option(help="Folder of studies with references; repeat for several.")],
    alpha: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share of a region a threshold may miss.")] = ALPHA,
) -> None:
    """Fit calibration, error risk and expected Dice out of fold; each result gets those that were fitted without it."""
    from dataclasses import replace

    from napari_uncseg.evaluation.calibration_studies import FitSettings
    from napari_uncseg.models.identity import CALIBRATION, identify
    from uncseg_training.data.labelled_studies import labelled_studies
    from uncseg_training.train.cross_validation import collect, members_of, write_left_out

    known = labelled_studies(studies)
    members = members_of(results)
    collected = collect(results, known, FitSettings(alpha=alpha))
    fit = collected.fit(replace(identify(model), ensemble=members))
    write_left_out(results, known, collected.samples, typer.echo)
    fit.calibration.save(model / CALIBRATION)
    for note in fit.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{model / CALIBRATION}: of {len(fit.studies)} studies, members {members}")


@plainly
def adapt(
    studies: Annotated[
        list[Path], typer.Argument(help="Folders of studies with references, or of results with corrections.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model folder to write.")],
    model: Annotated[Path | None, typer.Option(help="Model to go on from; the bundled one by default.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Into how many parts the patients are split.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each stage.")] = 1500,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
    work: Annotated[
        Path | None, typer.Option(help="Folder for cases, runs and predictions; OUT-training if none.")
    ] = None,
) -> None:
    """Teach the shipped network on your own patients, from five on; run the same command to go on after a cut."""
    from uncseg_training.train.adapt import Settings
    from uncseg_training.train.adapt import adapt as teach

    made = teach(studies, out, data, model=model, work=work, settings=Settings(folds, steps), tell=typer.echo)
    typer.echo(f"{out}: {made.name}, sha256 {made.sha256}; how good it is stands in {out / 'MODEL_CARD.md'}")


@plainly
def recipe(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies with references, such as BraTS 2021.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes models, evaluation and all between.")],
    config: Annotated[
        str, typer.Option(help="release, gpu (its time is a guess), smoke (two minutes), or a YAML file.")
    ] = "release",
    start: Annotated[
        Path | None, typer.Option(help="Finished phantom stage to begin with, such as training/release/phantom.")
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="File of the folds; made when left out.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Into how many parts the patients are split.")] = 5,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
) -> None:
    """Train, calibrate and judge the release network on your patients; run the same command to go on after a cut."""
    from napari_uncseg.cli.evaluate import print_summary
    from napari_uncseg.reporting.evaluation_report import HTML
    from uncseg_training.train.recipe import EVALUATION, Recipe, run_recipe

    words = ["uncseg-train", "recipe", *map(str, studies), "-o", str(out), "--config", config, "--folds", str(folds)]
    words += ["--anatomies", str(data), *(["--start", str(start)] if start else [])]
    command = shlex.join(words + (["--splits", str(splits)] if splits else []))
    more: dict[str, Any] = {"start": start, "splits": splits, "folds": folds, "command": command, "tell": typer.echo}
    summary = run_recipe(studies, out, data, Recipe.read(config), **more)
    print_summary(summary, out / EVALUATION / HTML)
