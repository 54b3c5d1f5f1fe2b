"""The command line: ``uncseg predict``, ``evaluate``, ``calibrate``, ``model``, ``view``, ``demo``, ``info``, …

What a command needs is imported inside it: ``uncseg --help`` loads neither torch nor napari.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_uncseg import __version__
from napari_uncseg.cli.calibrate import calibrate
from napari_uncseg.cli.errors import PlainGroup, report, told_plainly
from napari_uncseg.cli.evaluate import evaluate
from napari_uncseg.cli.import_model import model_app
from napari_uncseg.cli.tune import tune_injection
from napari_uncseg.errors import Cancelled, StudyError, UncsegError
from napari_uncseg.inference.device_name import Device
from napari_uncseg.labels import MODALITIES, Coding

if TYPE_CHECKING:
    from napari_uncseg.inference.ensemble_spec import EnsembleSpec
    from napari_uncseg.inference.pipeline import Job, Outcome, Settings, StudyPredictor

DEMO_FOLDER = Path("demo-output")
"""Where ``uncseg demo`` saves, below the current folder; what stands there is nobody's work and may be replaced."""

app = typer.Typer(
    name="uncseg",
    cls=PlainGroup,
    help="Segment glioma MRI and show where not to trust the result. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Resample = Annotated[bool, typer.Option("--resample", help="Put modalities on another grid onto T1c's.")]
LabelCoding = Annotated[
    Coding | None, typer.Option("--coding", help="How the reference numbers its labels, where the names do not tell.")
]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", help="Model folder instead of the bundled one.", show_default=False)
]
RunsOn = Annotated[Device, typer.Option("--device", help="auto takes a CUDA device when there is one.")]
Picture = Annotated[
    Path | None, typer.Option("--screenshot", help="Save a picture of the window here (.png) instead of opening it.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-uncseg {__version__}")
        raise typer.Exit


@app.callback()
def uncseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Segment glioma MRI and show where not to trust the result. Research use only."""


@app.command(short_help="Segment studies and save what came out.")
@told_plainly
def predict(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes a folder per study.", show_default=False)],
    studies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="STUDY", help="Study folders or files, or folders of studies.", show_default=False),
    ] = None,
    device: RunsOn = Device.AUTO,
    model: ModelFolder = None,
    members: Annotated[
        str,
        typer.Option(
            "--members",
            metavar="KIND[:N][,OPTION=VALUE]",
            help="What the probabilities are the mean of: single, tta:8, snapshots, dropout_injection:10,p=0.05, "
            "mc_dropout:20,p=0.2, logit_sampling:20, or ensemble:DIR,DIR of model folders.",
        ),
    ] = "single",
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps",
            metavar="MAP[,MAP]",
            help="Instead of entropy, variance and, of several members, mutual_information; also expected_entropy, "
            "disagreement, var1shot, one_minus_max, and any of them of a region: entropy-tc, entropy-et.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE|bundled",
            help="File of `uncseg calibrate` for this model and these members, or the one that comes with the package.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other results of the same study.")] = False,
    resample: Resample = False,
    coding: LabelCoding = None,
    t1c: Annotated[Path | None, typer.Option("--t1c", help="T1 with contrast, to name four files.")] = None,
    t1n: Annotated[Path | None, typer.Option("--t1n", help="T1 without contrast.")] = None,
    t2f: Annotated[Path | None, typer.Option("--t2f", help="T2 FLAIR.")] = None,
    t2w: Annotated[Path | None, typer.Option("--t2w", help="T2.")] = None,
    reference: Annotated[Path | None, typer.Option("--reference", help="Expert segmentation, if there is one.")] = None,
    study_id: Annotated[str | None, typer.Option("--id", help="The study's name, with --t1c and the others.")] = None,
    debug: Debug = False,
) -> None:
    """Segment studies and save the segmentation, the uncertainty maps and how they were made.

    Writes OUT/<id>/<id>_seg.nii.gz and maps beside it. A result that is there already, made in the same way, is kept.
    Stopped in the middle of several members, it saves those that are done as a partial result; run again, it makes all.
    """
    from napari_uncseg.cli.console import print_outcomes
    from napari_uncseg.inference.pipeline import Settings, find_jobs, job_of_files
    from napari_uncseg.io.files import check_writable

    named = dict(zip(MODALITIES, (t1c, t1n, t2f, t2w), strict=True))
    by_file = any(named.values()) or reference is not None or study_id is not None
    if bool(studies) == by_file:
        raise typer.BadParameter(
            "name either study folders, or one study's files with --t1c, --t1n, --t2f and --t2w", param_hint="STUDY..."
        )
    missing = [f"--{modality}" for modality, path in named.items() if path is None]
    if by_file and missing:
        raise typer.BadParameter(f"a study needs four files: {', '.join(missing)} missing", param_hint=missing[0])

    wanted, names = _members_and_maps(members, maps, model)
    settings = Settings(out, overwrite, resample, coding, wanted, names, calibration)
    settings.wishes()  # a calibration that cannot be read stops the run before its first study
    check_writable(out)
    options = settings.options(device.value, model)
    failures: list[Outcome] = []
    if by_file:
        files = {name: path for name, path in {**named, "reference": reference}.items() if path is not None}
        jobs = [job_of_files(files, study_id, options)]
    else:
        jobs, failures = find_jobs(studies or [], options)
    for failure in failures:
        report(failure.error or StudyError(failure.study_id), debug=debug)
    outcomes, stopped = _run(jobs, settings, device, model, debug) if jobs else ([], False)
    outcomes += failures
    if outcomes and (jobs or len(outcomes) > 1):
        print_outcomes(outcomes, out)
    _leave(outcomes, stopped)


def _members_and_maps(
    members: str, maps: str | None, model: Path | None
) -> tuple[EnsembleSpec, tuple[str, ...] | None]:
    """What the words say; wrong ones are wrong usage."""
    from napari_uncseg.inference.ensemble_spec import Kind, parse_ensemble
    from napari_uncseg.maps import parse_maps

    try:
        wanted = parse_ensemble(members)
    except UncsegError as error:
        raise typer.BadParameter(str(error), param_hint="--members") from error
    if wanted.kind is Kind.ENSEMBLE and model is not None:
        raise typer.BadParameter("name every network in ensemble:DIR,DIR and leave out --model", param_hint="--model")
    try:
        names = None if maps is None else tuple(map(str, parse_maps(maps.split(","))))
    except UncsegError as error:
        raise typer.BadParameter(str(error), param_hint="--maps") from error
    return wanted, names


def _run(
    jobs: list[Job], settings: Settings, device: Device, model: Path | None, debug: bool
) -> tuple[list[Outcome], bool]:
    """What became of each study, and whether the user stopped before the last one."""
    from napari_uncseg.cli.console import say, study_progress
    from napari_uncseg.inference import pipeline as batch

    predictor = batch.make_predictor(model or settings.members.stand_in, device.value, say)
    _check_wishes(predictor, settings)
    outcomes: list[Outcome] = []
    with batch.stop_on_interrupt() as cancelled:
        for number, job in enumerate(jobs, start=1):
            try:
                with study_progress(f"[{number}/{len(jobs)}] {job.files.id}") as progress:
                    outcome = batch.predict_job(job, predictor, settings, progress=progress, cancelled=cancelled)
                for warning in outcome.provenance.get("warnings", ()):
                    say(f"note: {job.files.id}: {warning}")
                outcomes.append(outcome)
            except Cancelled:
                return outcomes, True
            except Exception as error:  # a bad study does not stop the ones after it
                report(error, debug=debug, about=f"{job.files.id}: ")
                outcomes.append(batch.Outcome(job.files.id, batch.Status.FAILED, error=error))
            if cancelled():
                return outcomes, number < len(jobs) or outcomes[-1].status is batch.Status.PARTIAL
    return outcomes, False


def _check_wishes(predictor: StudyPredictor, settings: Settings) -> None:
    """Refuse settings that the model cannot follow before the first study is read; they are wrong usage."""
    wishes: dict[str, Any] = {}
    for name, wish in settings.wishes().items():  # one after the other, so that the option at fault is known
        wishes[name] = wish
        try:
            predictor.check(**wishes)
        except UncsegError as error:
            if name == "members" and settings.members.folders:  # a folder that is no model, as after --model
                raise
            raise typer.BadParameter(str(error), param_hint=f"--{name}") from error


def _leave(outcomes: list[Outcome], stopped: bool) -> None:
    """End with the exit code of a run, naming what failed."""
    failed = [outcome.study_id for outcome in outcomes if outcome.error is not None]
    if stopped:
        raise Cancelled("Stopped.")
    if failed and len(outcomes) > 1:
        typer.echo(f"error: {len(failed)} of {len(outcomes)} studies failed: {', '.join(failed)}", err=True)
    if failed:
        raise typer.Exit(1)


app.command(short_help="Hold predictions against references and write a report.")(evaluate)
app.command(short_help="Fit the calibration of a model on studies with references.")(calibrate)
app.command(short_help="Find how much injected dropout should drop.")(tune_injection)
app.add_typer(model_app, name="model", short_help="Bring in networks trained elsewhere.")


@app.command(short_help="Open napari with a study and its result.")
@told_plainly
def view(
    study: Annotated[Path, typer.Argument(help="A study folder or file.", show_default=False)],
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Where `uncseg predict` saved; else looked for beside the study and here."),
    ] = None,
    resample: Resample = False,
    coding: LabelCoding = None,
    screenshot: Picture = None,
    debug: Debug = False,
) -> None:
    """Open napari with a study and, if there is one, its result."""
    from napari_uncseg.cli import demo as window
    from napari_uncseg.cli.console import say
    from napari_uncseg.cli.display import has_display
    from napari_uncseg.io.discovery import only_study
    from napari_uncseg.io.loading import load_study

    try:
        files = only_study(study)
    except StudyError:
        there = window.results_instead(study)
        if there is None:
            raise
        raise StudyError(
            f"{study} holds results, not the images they were made from; view the study with: "
            f"uncseg view STUDY --results {there}."
        ) from None
    if not has_display():
        place = screenshot or Path("uncseg.png")
        window.picture_elsewhere(_view_words(study, results, resample, coding), place)
        _tell_picture(place, wanted=screenshot is not None)
        return
    loaded = load_study(files, resample=resample, coding=coding)
    for warning in loaded.warnings:
        say(f"note: {loaded.id}: {warning}")
    nearby = (study, study.parent, Path(), DEMO_FOLDER)
    found = window.results_of(loaded, results, nearby)
    if screenshot is not None:
        window.take_picture(loaded, found, screenshot)
        _tell_picture(screenshot, wanted=True)
        return
    if found is None:
        say(f"No result of {loaded.id} was found; the panel makes one, and so does `uncseg predict`.")
    window.show_window(loaded, found)


@app.command(short_help="Predict on a phantom and open the window.")
@told_plainly
def demo(
    study: Annotated[
        Path | None, typer.Argument(help="A study of your own instead of the phantom.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the result.")] = DEMO_FOLDER,
    screenshot: Picture = None,
    device: RunsOn = Device.AUTO,
    model: ModelFolder = None,
    resample: Resample = False,
    coding: LabelCoding = None,
    debug: Debug = False,
) -> None:
    """Predict on the bundled phantom, or on STUDY, and open the window; without a display, save a picture of it."""
    from napari_uncseg._plugin.sample_data import phantom_folder
    from napari_uncseg.cli import demo as window
    from napari_uncseg.cli.console import print_outcomes
    from napari_uncseg.cli.display import is_watched
    from napari_uncseg.inference.pipeline import Settings, find_jobs
    from napari_uncseg.io.discovery import only_study
    from napari_uncseg.io.files import check_writable

    path = study if study is not None else phantom_folder()
    only_study(path)
    check_writable(out)
    settings = Settings(out, out == DEMO_FOLDER, resample, coding)
    jobs, _ = find_jobs([path], settings.options(device.value, model))
    outcomes, stopped = _run(jobs, settings, device, model, debug)
    if outcomes:
        print_outcomes(outcomes, out)
    _leave(outcomes, stopped)
    if screenshot is None and is_watched():
        view(path, results=out, resample=resample, coding=coding, debug=debug)
        return
    place = screenshot or Path("demo.png")
    window.picture_elsewhere(_view_words(path, out, resample, coding), place)
    _tell_picture(place, wanted=screenshot is not None)


def _view_words(study: Path, results: Path | None, resample: bool, coding: Coding | None) -> list[str]:
    """Arguments of ``uncseg view`` for another process."""
    words = [str(study)] + (["--results", str(results)] if results is not None else [])
    words += ["--resample"] if resample else []
    return words + (["--coding", coding.value] if coding is not None else [])


def _tell_picture(place: Path, *, wanted: bool) -> None:
    """Say where the picture is, and why there is one when nobody asked for it."""
    typer.echo(("" if wanted else "There is no display; ") + f"picture of the window saved as {place.resolve()}")


@app.command(short_help="Print versions and what the model is.")
@told_plainly
def info(model: ModelFolder = None, debug: Debug = False) -> None:
    """Print versions, and the model: its name, hash, making, card and plans in short."""
    from napari_uncseg.cli.info import describe_model, package_versions

    for name, version in package_versions().items():
        typer.echo(f"{name:<14}{version}")
    from napari_uncseg.models.model import load_model

    for name, value in describe_model(load_model(model)).items():
        typer.echo(f"{name:<14}{value}")


@app.command(short_help="Say what works here and what to mend.")
@told_plainly
def doctor(debug: Debug = False) -> None:
    """Look at what works on this machine, and say what to do where something does not."""
    from napari_uncseg.cli.doctor import Health, examine

    broken = False
    for finding in examine():
        typer.echo(f"{finding.health:<5}{finding.subject}: {finding.detail}")
        if finding.advice:
            typer.echo(f"     → {finding.advice}")
        broken |= finding.health is Health.FAIL
    if broken:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="uncseg")


if __name__ == "__main__":
    main()
