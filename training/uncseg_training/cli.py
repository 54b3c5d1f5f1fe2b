"""``uncseg-train``: anatomies, phantoms, training and export from the command line."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from napari_uncseg.labels import Coding
from uncseg_training.brain.cli import brain
from uncseg_training.nnunet.cli import register
from uncseg_training.phantom.appearance_priors import APPEARANCE_PRIORS, appearance_prior
from uncseg_training.train.config_limits import LARGEST_SEED
from uncseg_training.train.folds_cli import register_folds
from uncseg_training.train.sentences import plainly, seconds_of

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train the networks of napari-uncseg on phantoms.")
register(app)
register_folds(app)
app.command()(brain)

FURTHEST = 10**9
"""Largest number of a phantom in its stream."""


@app.command()
@plainly
def anatomies(
    out: Annotated[Path, typer.Argument(help="Array file to write (.npz).")],
    folder: Annotated[Path | None, typer.Option(help="Folder of FreeSurfer-coded label maps.")] = None,
    icbm: Annotated[bool, typer.Option(help="Add the ICBM152 template that nilearn ships.")] = True,
) -> None:
    """Turn label maps and the ICBM152 template into the one small file that training needs."""
    from napari_uncseg.io.files import check_writable
    from uncseg_training.phantom.anatomy import build_anatomies, save_anatomies

    # Before the maps are read, which takes a minute.
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name the file to write, such as {out / 'anatomies.npz'}")
    check_writable(out.parent)
    found = build_anatomies(folder, icbm=icbm)
    save_anatomies(found, out)
    typer.echo(f"{len(found)} anatomies in {out} ({out.stat().st_size / 1e6:.1f} MB)")


@app.command()
@plainly
def phantom(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the studies.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed writes the same studies.")] = 0,
    first: Annotated[
        int, typer.Option(min=0, max=FURTHEST, help="Number of the first study in the stream of that seed.")
    ] = 0,
    anatomy: Annotated[
        Path | None,
        typer.Option(
            help="Folder of FreeSurfer-coded label maps, or file of 'uncseg-train anatomies'; "
            "the ICBM152 template when left out."
        ),
    ] = None,
    wide: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of a contrast far from clinical ones, per modality.")
    ] = 0.2,
    prior: Annotated[
        str, typer.Option(help=f"What tumours are drawn from: {', '.join(APPEARANCE_PRIORS)}.")
    ] = "clinical",
    looks: Annotated[str | None, typer.Option(hidden=True)] = None,
    device: Annotated[str, typer.Option(help="Where to make them: auto, cpu or cuda.")] = "cpu",
    prefix: Annotated[str, typer.Option(help="Studies are called PREFIX-00000 and so on.")] = "UNCSEG-phantom",
    spacing: Annotated[float, typer.Option(min=0.8, max=4, help="Size of a voxel in millimetres.")] = 1.0,
) -> None:
    """Write phantoms as BraTS 2023 studies with reference and truth."""
    from napari_uncseg.inference.device import resolve_device
    from napari_uncseg.io.files import check_writable
    from napari_uncseg.io.geometry import three
    from uncseg_training.phantom.anatomy import build_anatomies, load_anatomies
    from uncseg_training.phantom.cohort import Phantoms, write_phantom

    place = resolve_device(device)
    check_writable(out)
    if looks is not None:
        typer.echo("note: --looks is now called --prior.", err=True)
        prior = looks
    appearance_prior(prior)  # before the anatomies are read, which takes a minute
    if anatomy is not None and not anatomy.exists():
        raise ValueError(f"{anatomy} is not there; give a folder of label maps or a file of anatomies.")
    file = anatomy if anatomy is not None and anatomy.is_file() else None
    found = load_anatomies(file) if file else build_anatomies(anatomy, icbm=anatomy is None)
    # The same field of view whatever the voxel, in even numbers of voxels.
    shape = three(2 * math.ceil(side / spacing / 2) for side in (160, 192, 160))
    stream = Phantoms(found, shape, spacing, seed, wide, place, prior=prior)
    for index in range(first, first + count):
        made = stream[index]
        name = f"{prefix}-{index:05d}"
        write_phantom(made, out, name, spacing)
        volume = int((made.labels > 0).sum()) * spacing**3 / 1000
        typer.echo(f"{out / name}: {made.kind}, {volume:.1f} mL in {made.anatomy}")


@app.command()
@plainly
def fit(
    config: Annotated[
        str,
        typer.Option(
            help="Name of a configuration or a YAML file: phantom, lowres and fullres are the stages of the release "
            "network, in this order; gpu is one for a large GPU; smoke takes seconds."
        ),
    ] = "phantom",
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder; runs/<config>[-<fold>] if none.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all, instead of the configuration's.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Which fold to leave out, instead of the first.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="Another network than the configuration's, from fresh weights: unet, or of MONAI segresnet, unet_res, "
            "swin_unetr (pip install '.\\[monai]' in the clone)."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint after this time (90s, 8m, 2h); run again to go on.")
    ] = None,
) -> None:
    """Train, or go on with a training that was cut.

    For several GPUs: torchrun --nproc-per-node N -m uncseg_training fit
    """
    from uncseg_training.phantom.anatomy import load_anatomies
    from uncseg_training.train.config import read_config
    from uncseg_training.train.progress import reporter
    from uncseg_training.train.state import leaving_nothing
    from uncseg_training.train.trainer import fit as train

    changes = {name: value for name, value in (("steps", steps), ("fold", fold)) if value is not None}
    settings = read_config(config, **changes)
    if arch is not None:
        settings = settings.with_arch(arch)
    seconds = None if budget is None else seconds_of(budget)
    # Here already, and not only in the process that makes phantoms.
    load_anatomies(data)
    folder = out or Path("runs") / (settings.name if fold is None else f"{settings.name}-{fold}")
    # Of several processes of torchrun the first one shows and says it.
    leads = not int(os.environ.get("RANK", 0))
    with leaving_nothing(folder), reporter(folder) if leads else nullcontext(lambda _: None) as report:
        training = train(data, folder, settings, budget=seconds, report=report)
    if not leads:
        return
    done = "finished" if training.step == settings.steps else "stopped; run the same command to go on"
    typer.echo(f"{folder}: {done} at step {training.step} of {settings.steps}")


@app.command()
@plainly
def cases(
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder that takes the cases; with several configurations one each in it."),
    ],
    config: Annotated[
        list[str] | None,
        typer.Option(help="Configuration whose grid and contrasts they have; repeat for several grids."),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="How many phantoms.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the phantoms.")] = 0,
    studies: Annotated[
        list[Path] | None, typer.Option(help="Folder of studies with references, to add as cases; repeat for several.")
    ] = None,
    coding: Annotated[
        Coding | None, typer.Option(help="How labels are numbered where names and values do not tell.")
    ] = None,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
) -> None:
    """Write a fixed cohort to train on (key 'cases' of a configuration): phantoms, studies with references, or both."""
    from uncseg_training.data.cases import write_phantom_cases, write_study_cases
    from uncseg_training.train.config import read_config

    # The folder is still to be written that a configuration names.
    fresh = {"cases": "", "phantoms": "", "previous_stage": "", "splits": "", "folds": 0, "uncertainty": "failure"}
    names = config or ["phantom"]
    settings = {out if len(names) == 1 else out / Path(name).stem: read_config(name, **fresh) for name in names}
    if not count and not studies:
        raise ValueError("There is nothing to write: say how many phantoms (-n), or which studies (--studies).")
    if studies:
        written = write_study_cases(studies, settings, typer.echo, coding=coding)
    if count:
        written = [
            write_phantom_cases(data, folder, each, count, seed, typer.echo) for folder, each in settings.items()
        ]
    for each in written:
        typer.echo(f"{each.folder}: {len(each.names)} cases")


@app.command()
@plainly
def splits(
    folder: Annotated[Path, typer.Argument(help="Folder of cases.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write, as nnU-Net's splits_final.json.")],
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the split.")] = 12345,
    config: Annotated[str, typer.Option(help="Configuration the cases were written for.")] = "phantom",
) -> None:
    """Split patients into folds balanced by source, size and enhancement; studies that look like one head are named."""
    from uncseg_training.data.cases import Cases
    from uncseg_training.data.cohort_splits import alike, balanced_splits, traits_of
    from uncseg_training.data.splits import write_splits
    from uncseg_training.train.config import read_config

    settings = read_config(config)
    found = Cases.open(folder, settings)
    for first, second, value in alike(found, typer.echo):
        typer.echo(f"{first} and {second} look like one patient (correlation {value:.3f}); keep them in one fold.")
    write_splits(balanced_splits(traits_of(found, settings.spacing), folds, seed), out)
    typer.echo(f"{out}: {folds} folds of {len(found.names)} studies")


@app.command()
@plainly
def predict_next_stage(
    run: Annotated[Path, typer.Argument(help="Finished run of the first stage.")],
    first: Annotated[Path, typer.Option("--cases", help="Cases on its grid.")],
    then: Annotated[Path, typer.Option("--next-cases", help="The same cases on the grid of the next stage.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the probabilities.")],
    config: Annotated[str, typer.Option(help="Configuration of the next stage.")] = "fullres",
) -> None:
    """Write what the second stage of a cascade sees of the first (key 'previous_stage' of a configuration)."""
    from napari_uncseg.inference.device import resolve_device
    from uncseg_training.data.cases import Cases
    from uncseg_training.data.previous_stage import write_previous_stage
    from uncseg_training.train.config import read_config
    from uncseg_training.train.state import Training

    device = resolve_device("auto")
    training = Training.of_run(run)
    training.to(device)
    grid = read_config(config, cases="", phantoms="", previous_stage="", splits="", folds=0)
    onto = Cases.open(then, grid)
    write_previous_stage(training.averaged, Cases.open(first, training.config), onto, out, device, typer.echo)
    typer.echo(f"{out}: probabilities of {len(onto.names)} cases")


@app.command()
@plainly
def head(
    run: Annotated[Path, typer.Argument(help="Finished run whose uncertainty channel is taught anew.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    fold: Annotated[
        list[Path] | None, typer.Option(help="Runs of every fold on the same cases; fresh phantoms when left out.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Whole volumes to learn from.")] = 300,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
) -> None:
    """Teach the uncertainty channel alone on failures of networks that never saw the case; nothing else changes."""
    from uncseg_training.train.crossfit import teach_run

    model = teach_run(run, out, fold or [], steps, data, typer.echo)
    typer.echo(f"{out}: {model.name}, sha256 {model.sha256}")


@app.command()
@plainly
def curve(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with a log.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Picture to write; RUN/curve.png by default.")] = None,
) -> None:
    """Draw the losses and the validation Dice of one run, or of several in one picture."""
    from uncseg_training.train.curves import draw_curves

    place = out or runs[0] / "curve.png"
    draw_curves(runs, place)
    typer.echo(str(place))


@app.command()
@plainly
def export(
    run: Annotated[Path, typer.Argument(help="Run folder with a checkpoint.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    average: Annotated[
        bool, typer.Option("--average", help="The mean of the weights of all snapshots, in the place of the last.")
    ] = False,
    average_with: Annotated[
        Path | None,
        typer.Option(help="Another finished run, mostly the one before: the mean of both networks' weights."),
    ] = None,
    previous_stage: Annotated[
        Path | None, typer.Option(help="Run of the first stage, where RUN is the second stage of a cascade.")
    ] = None,
    stage_weights: Annotated[
        tuple[float, float, float],
        typer.Option(min=0, max=1, help="Share of the second stage in WT, TC and ET where both stages look."),
    ] = (1.0, 1.0, 1.0),
    smallest_ml: Annotated[
        float, typer.Option(min=0, max=10, help="Leave components of a region below this volume out of segmentations.")
    ] = 0.0,
    members: Annotated[str, typer.Option(help="Members that the model is run with when nobody chooses.")] = "single",
    snapshots: Annotated[bool, typer.Option(help="Write the snapshots, too.")] = True,
    halfway: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Write the averaged network of a run, and the snapshots before it, as a model folder that the plugin runs."""
    from napari_uncseg.inference.ensemble_spec import parse_ensemble
    from uncseg_training.train.export import export_run

    if halfway is not None:
        typer.echo("note: --halfway is now called --average-with.", err=True)
    model = export_run(
        run,
        out,
        average=average,
        average_with=average_with or halfway,
        previous_stage=previous_stage,
        stage_weights=stage_weights,
        smallest_ml=smallest_ml,
        members=str(parse_ensemble(members)),
        keep_snapshots=snapshots,
    )
    typer.echo(f"{out}: {model.name}, {model.snapshots} snapshot(s), sha256 {model.sha256}")


def main() -> None:
    """Entry point of ``uncseg-train``."""
    app()
