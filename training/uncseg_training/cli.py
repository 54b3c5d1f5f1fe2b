"""``uncseg-train``: anatomies, phantoms, training and export from the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from uncseg_training.nnunet.cli import register
from uncseg_training.sentences import attempt

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train the networks of napari-uncseg on phantoms.")
register(app)


@app.command()
def anatomies(
    out: Annotated[Path, typer.Argument(help="Array file to write (.npz).")],
    folder: Annotated[Path | None, typer.Option(help="Folder of FreeSurfer-coded label maps.")] = None,
    icbm: Annotated[bool, typer.Option(help="Add the ICBM152 template that nilearn ships.")] = True,
) -> None:
    """Turn label maps and the ICBM152 template into the one small file that training needs."""
    from uncseg_training.phantom.anatomy import build_anatomies, save_anatomies

    found = attempt(lambda: build_anatomies(folder, icbm=icbm))
    save_anatomies(found, out)
    typer.echo(f"{len(found)} anatomies in {out} ({out.stat().st_size / 1e6:.1f} MB)")


@app.command()
def phantom(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the studies.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed writes the same studies.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="Number of the first study in the stream of that seed.")] = 0,
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
    looks: Annotated[str, typer.Option(help="How tumours are drawn: broad, wet, clinical or hard.")] = "clinical",
    device: Annotated[str, typer.Option(help="Where to make them: cpu or cuda.")] = "cpu",
    prefix: Annotated[str, typer.Option(help="Studies are called PREFIX-00000 and so on.")] = "UNCSEG-phantom",
) -> None:
    """Write phantoms of 1 mm as BraTS 2023 studies with reference and truth."""
    from uncseg_training.phantom.anatomy import build_anatomies, load_anatomies
    from uncseg_training.phantom.cohort import Phantoms, write_phantom

    if anatomy is not None and not anatomy.exists():
        typer.echo(f"error: {anatomy} is not there; give a folder of label maps or a file of anatomies", err=True)
        raise typer.Exit(1)
    file = anatomy if anatomy is not None and anatomy.is_file() else None
    found = attempt(lambda: load_anatomies(file) if file else build_anatomies(anatomy, icbm=anatomy is None))
    stream = attempt(lambda: Phantoms(found, (160, 192, 160), 1.0, seed, wide, device, looks=looks))
    for index in range(first, first + count):
        made = stream[index]
        name = f"{prefix}-{index:05d}"
        attempt(partial(write_phantom, made, out, name, 1.0))
        typer.echo(f"{out / name}: {made.kind}, {int((made.labels > 0).sum()) / 1000:.1f} mL in {made.anatomy}")


@app.command()
def fit(
    config: Annotated[str, typer.Option(help="Name of a configuration (smoke, cpu, gpu) or a YAML file.")] = "cpu",
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder; runs/<config> by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all, instead of the configuration's.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="Another network than the configuration's, from fresh weights: unet, or of MONAI segresnet, unet_res, "
            "swin_unetr (pip install 'napari-uncseg[monai]')."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint after this time (90s, 8m, 2h); run again to go on.")
    ] = None,
) -> None:
    """Train, or go on with a training that was cut.

    For several GPUs: torchrun --nproc-per-node N -m uncseg_training fit
    """
    from uncseg_training.config import read_config
    from uncseg_training.progress import reporter
    from uncseg_training.trainer import fit as train

    changes = {} if steps is None else {"steps": steps}
    settings = attempt(lambda: read_config(config, **changes))
    if arch is not None:
        settings = attempt(lambda: settings.with_arch(arch))
    if not data.is_file():
        typer.echo(f"error: {data} is not there; write it with: uncseg-train anatomies {data}", err=True)
        raise typer.Exit(1)
    folder = out or Path("runs") / settings.name
    seconds = None if budget is None else attempt(lambda: _seconds(budget))
    with reporter(folder) as report:
        training = attempt(lambda: train(data, folder, settings, budget=seconds, report=report))
    done = "finished" if training.step == settings.steps else "stopped; run the same command to go on"
    typer.echo(f"{folder}: {done} at step {training.step} of {settings.steps}")


@app.command()
def cases(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the cases.")],
    config: Annotated[str, typer.Option(help="Configuration whose grid and contrasts they have.")] = "cpu",
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="How many phantoms.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the phantoms.")] = 0,
    studies: Annotated[Path | None, typer.Option(help="Folder of studies with references, to add as cases.")] = None,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
) -> None:
    """Write a fixed cohort to train on (key 'cases' of a configuration): phantoms, studies with references, or both."""
    from uncseg_training.cases import write_phantom_cases, write_study_cases
    from uncseg_training.config import read_config

    settings = attempt(lambda: read_config(config, cases="", folds=0, uncertainty="failure"))
    if not count and studies is None:
        typer.echo("error: say how many phantoms (-n), or which studies (--studies)", err=True)
        raise typer.Exit(1)
    if studies is not None:
        written = attempt(lambda: write_study_cases(studies, out, settings, typer.echo))
    if count:
        written = attempt(lambda: write_phantom_cases(data, out, settings, count, seed, typer.echo))
    typer.echo(f"{out}: {len(written.names)} cases")


@app.command()
def head(
    run: Annotated[Path, typer.Argument(help="Finished run whose uncertainty channel is taught anew.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    fold: Annotated[
        list[Path] | None, typer.Option(help="Runs of every fold on the same cases; fresh phantoms when left out.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Whole heads to learn from.")] = 300,
    data: Annotated[Path, typer.Option("--anatomies", help="File written by 'uncseg-train anatomies'.")] = Path(
        "cache/anatomies.npz"
    ),
) -> None:
    """Teach the uncertainty channel alone on failures of networks that never saw the case; nothing else changes."""
    from uncseg_training.crossfit import teach_run

    model = attempt(lambda: teach_run(run, out, fold or [], steps, data, typer.echo))
    typer.echo(f"{out}: {model.name}, sha256 {model.sha256}")


@app.command()
def curve(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with a log.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Picture to write; RUN/curve.png by default.")] = None,
) -> None:
    """Draw the losses and the validation Dice of one run, or of several in one picture."""
    from uncseg_training.curves import draw_curves

    place = out or runs[0] / "curve.png"
    attempt(lambda: draw_curves(runs, place))
    typer.echo(str(place))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder with a checkpoint.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    average: Annotated[
        bool, typer.Option("--average", help="The mean of the weights of all snapshots, in the place of the last.")
    ] = False,
) -> None:
    """Write the averaged network of a run, and the snapshots before it, as a model folder that the plugin runs."""
    from uncseg_training.state import export_run

    model = attempt(lambda: export_run(run, out, average=average))
    typer.echo(f"{out}: {model.name}, {model.snapshots} snapshot(s), sha256 {model.sha256}")


def _seconds(text: str) -> float:
    factors = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text[:-1]) * factors[text[-1]]
    except (KeyError, ValueError, IndexError):
        raise ValueError(f"{text} is not a time; write 90s, 8m or 2h.") from None


def main() -> None:
    """Entry point of ``uncseg-train``."""
    app()
