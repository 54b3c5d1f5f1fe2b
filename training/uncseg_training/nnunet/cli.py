"""``uncseg-train brats`` and ``nnunet``: the BraTS download, and nnU-Net v2 with an uncertainty channel."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from napari_uncseg.errors import UncsegError

WORKERS = "nnUNet_n_proc_DA"
"""nnU-Net's variable for the number of processes that augment."""

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command()(brats)
    app.command()(nnunet)


def brats(
    download: Annotated[Path, typer.Argument(help="The unpacked training data of BraTS 2023.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="nnU-Net's folder of raw data (nnUNet_raw).", show_default=False)],
    number: Annotated[int, typer.Option("--id", min=1, max=999, help="Number of the data set.")] = 137,
    name: Annotated[str, typer.Option("--name", help="Name of the data set.")] = "BraTS2023",
    expect: Annotated[int, typer.Option("--expect", min=1, help="Studies the download must hold.")] = 1251,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the splits.")] = 12345,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Studies read at the same time.")] = 4,
    debug: Debug = False,
) -> None:
    """Turn a BraTS 2023 download into a raw data set of nnU-Net: checked, linked, split by patient.

    What was checked is kept in checks.json: a run that was cut is started again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from uncseg_training.data.brats import convert

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task("Reading names", total=None)
            made = convert(
                download,
                out,
                number=number,
                name=name,
                expected=expect,
                folds=folds,
                seed=seed,
                workers=workers,
                progress=lambda done, total, what: bars.update(bar, completed=done, total=total, description=what),
            )
    except (UncsegError, OSError) as error:
        _fail(error, debug)
    linked = ", ".join(f"{count} {kind}" for kind, count in sorted(made.links.items()))
    typer.echo(f"{made.folder}: {made.studies} studies of {made.patients} patients; files: {linked}")
    typer.echo(f"validation studies per fold: {', '.join(map(str, made.folds))}")
    for studies in made.alike:
        typer.echo(f"note: {' and '.join(studies)} share an image; they are in the same fold")
    if made.without_tumour:
        typer.echo(f"note: {len(made.without_tumour)} references are empty, such as {made.without_tumour[0]}")


def nnunet(
    dataset: Annotated[str, typer.Argument(help="Number or name of the data set.", show_default=False)],
    configuration: Annotated[str, typer.Argument(help="Of the plans: 3d_fullres.", show_default=False)],
    fold: Annotated[str, typer.Argument(help="Number of the fold, or all.", show_default=False)],
    plans: Annotated[str, typer.Option("-p", "--plans", help="Name of the plans.")] = "nnUNetPlans",
    device: Annotated[str, typer.Option("--device", help="cuda or cpu.")] = "cuda",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs.", show_default="500")] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=1, help="Steps per epoch.", show_default="250")
    ] = None,
    validation_iterations: Annotated[
        int | None, typer.Option("--validation-iterations", min=1, help="Steps of its validation.", show_default="50")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option("--save-every", min=1, help="Epochs between checkpoints.", show_default="10")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes that augment; 0 augments where it trains.")
    ] = None,
    channel: Annotated[
        bool, typer.Option(help="Without it, nnU-Net's own trainer without deep supervision: the column to compare.")
    ] = True,
    minutes: Annotated[
        float | None, typer.Option(help="Stop at the end of the epoch after this time; run again to go on.")
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Average the final validation over flips, as nnU-Net does.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew although there is a checkpoint.")] = False,
    raw: Annotated[Path | None, typer.Option("--raw", help="Instead of the variable nnUNet_raw.")] = None,
    preprocessed: Annotated[
        Path | None, typer.Option("--preprocessed", help="Instead of the variable nnUNet_preprocessed.")
    ] = None,
    results: Annotated[Path | None, typer.Option("--results", help="Instead of the variable nnUNet_results.")] = None,
    debug: Debug = False,
) -> None:
    """Train a fold of nnU-Net v2 with an uncertainty channel, and validate it.

    The same command goes on with a run that was cut. What comes out is made a model with: uncseg model import
    """
    if importlib.util.find_spec("nnunetv2") is None:
        advice = 'pip install "./training[nnunet]" in the folder of the clone brings it.'
        _fail(ValueError(f"nnU-Net v2 is not installed; {advice}"), debug)
    if device not in ("cuda", "cpu"):
        raise typer.BadParameter("write cuda or cpu", param_hint="--device")
    for variable, folder in (("nnUNet_raw", raw), ("nnUNet_preprocessed", preprocessed), ("nnUNet_results", results)):
        if folder is not None:
            os.environ[variable] = str(folder.absolute())
    if workers is not None:
        os.environ[WORKERS] = str(workers)
    from uncseg_training.nnunet.run import train

    settings = {
        "num_epochs": epochs,
        "num_iterations_per_epoch": iterations,
        "num_val_iterations_per_epoch": validation_iterations,
        "save_every": save_every,
        "mirror_validation": mirror,
    }
    try:
        place = train(
            dataset,
            configuration,
            fold,
            plans=plans,
            device=device,
            settings=settings,
            restart=restart,
            channel=channel,
            minutes=minutes,
        )
    except (UncsegError, ValueError, OSError) as error:
        _fail(error, debug)
    if place is None:
        typer.echo("The time is over; run the same command to go on.")
    else:
        typer.echo(f"{place}: finished. Make a model of it with: uncseg model import {place.parent} --fold {fold}")


def _fail(error: Exception, debug: bool) -> NoReturn:
    """End with one sentence."""
    if debug:
        raise error
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(1) from error
