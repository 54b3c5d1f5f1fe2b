"""``uncseg predict``: segments studies and saves what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_uncseg.cli.console import note, print_lines, print_table, stop_on_interrupt, study_progress
from napari_uncseg.cli.errors import exit_if_failed, handle_errors, report
from napari_uncseg.cli.options import Brain, BrainMask, Debug, Device, LabelCoding, ModelFolder, OnDevice, Resample
from napari_uncseg.errors import Cancelled, StudyError, UncsegError
from napari_uncseg.inference.ensemble_spec import EXAMPLES, EnsembleSpec, parse_ensemble
from napari_uncseg.io.files import check_writable
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import MODALITIES, REGIONS, Region
from napari_uncseg.maps import COMPUTED, parse_maps
from napari_uncseg.models.identity import BUNDLED
from napari_uncseg.uncertainty.expected_dice import expected_dice_of

if TYPE_CHECKING:
    from napari_uncseg.inference.jobs import Outcome, PredictionJob
    from napari_uncseg.inference.pipeline import PredictionSettings
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.preparation.cohort import RawJob


_MEMBERS = f"Ensembling or test-time augmentation method: {EXAMPLES}; auto is the one that the model was judged with."
_MAPS = (
    "Maps to save in place of entropy, variance and, of several members, mutual_information: "
    f"{', '.join(COMPUTED)}; of a region: entropy-tc, entropy-et. error_risk and unc_output are saved anyway."
)
_CALIBRATION = "A file of `uncseg calibrate` for this model and these members, or the one that comes with the package."


@handle_errors
def predict(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes a folder per study.")],
    studies: Annotated[
        list[Path] | None, typer.Argument(metavar="STUDY", help="Studies (NIfTI or DICOM), or folders of them.")
    ] = None,
    device: OnDevice = Device.AUTO,
    model: ModelFolder = None,
    members: Annotated[str, typer.Option(metavar="KIND[:N][,OPTION=VALUE]", help=_MEMBERS)] = "auto",
    maps: Annotated[str | None, typer.Option(metavar="MAP[,MAP]", help=_MAPS)] = None,
    calibration: Annotated[Path | None, typer.Option(metavar="FILE|bundled", help=_CALIBRATION)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other results of the same study.")] = False,
    resample: Resample = False,
    coding: LabelCoding = None,
    t1c: Annotated[Path | None, typer.Option(help="T1 with contrast, to name four files.")] = None,
    t1n: Annotated[Path | None, typer.Option(help="T1 without contrast.")] = None,
    t2f: Annotated[Path | None, typer.Option(help="T2 FLAIR.")] = None,
    t2w: Annotated[Path | None, typer.Option(help="T2.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Expert segmentation, if there is one.")] = None,
    study_id: Annotated[
        str | None, typer.Option("--id", help="The study's name, with --t1c and the others or one raw study.")
    ] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Register NIfTI studies and take the skull off.")] = False,
    brain_mask: BrainMask = None,
    brain: Brain = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler whose workers predict.")] = None,
    debug: Debug = False,
) -> None:
    """Segment studies and save the segmentation, the uncertainty maps and how they were made.

    Writes OUT/<id>/<id>_seg.nii.gz and maps beside it. A result that is there already, made in the same way, is kept.
    Stopped in the middle of several members, it saves those that are done as a partial result; run again, it makes all.
    A study in DICOM is prepared first (see `uncseg prepare`), in OUT/<id>/prepared.
    """
    from napari_uncseg.cli.prepare import options_of, prepare_jobs
    from napari_uncseg.dicom.files import InputKind, kind_of
    from napari_uncseg.inference.jobs import find_jobs, job_of_files
    from napari_uncseg.inference.pipeline import PredictionSettings
    from napari_uncseg.preparation.cohort import RawJob

    named = dict(zip((*MODALITIES, "reference"), (t1c, t1n, t2f, t2w, reference), strict=True))
    paths = studies or []
    if scheduler is not None:  # workers have other working directories
        out, paths = out.absolute(), [path.absolute() for path in paths]
        named = {role: path and path.absolute() for role, path in named.items()}
        model, brain_mask = (path and path.absolute() for path in (model, brain_mask))
        calibration = calibration if calibration in (None, Path(BUNDLED)) else calibration.absolute()
    files = {role: path for role, path in named.items() if path is not None}
    _check_named(files, paths, study_id)
    ensemble, names = _ensemble_and_maps(members, maps, model)
    settings = PredictionSettings(out, overwrite, resample, coding, ensemble, names, calibration, device.value, model)
    settings.predict_kwargs()  # a calibration that cannot be read stops the run before its first study
    check_writable(out)
    raw = [path for path in paths if prepare or kind_of(path) is InputKind.DICOM]
    jobs, failures = find_jobs([path for path in paths if path not in raw], settings.options)
    if files:
        jobs = [job_of_files(files, study_id, settings.options)]
    elif study_id is not None and (jobs or len(raw) != 1):
        raise typer.BadParameter("it names one raw study, or one of four files", param_hint="--id")
    how = options_of(brain_mask, brain, overwrite=overwrite)
    unprepared = [RawJob(path, study_id, how, settings.options) for path in raw]
    if scheduler is None and unprepared:
        ready, bad = prepare_jobs(unprepared, settings)
        jobs, failures, unprepared = [*jobs, *ready], [*failures, *bad], []
    for failure in failures:
        report(failure.error or StudyError(failure.study_id), debug=debug)
    everything: list[PredictionJob | RawJob] = [*jobs, *unprepared]
    if scheduler is not None and everything:
        outcomes, stopped = run_on_cluster(everything, settings, scheduler, debug=debug)
    else:
        outcomes, stopped = run_jobs(jobs, settings, debug=debug) if jobs else ([], False)
    finish([*outcomes, *failures], out, stopped=stopped, table=bool(everything) or len(failures) > 1)


def _check_named(files: Mapping[str, Path], paths: Sequence[Path], study_id: str | None) -> None:
    """Refuse what names both studies and single files, or neither, or some files of four; it is wrong usage."""
    by_file = bool(files) or (study_id is not None and not paths)
    if bool(paths) == by_file:
        what = "name either study folders, or one study's files with --t1c, --t1n, --t2f and --t2w"
        raise typer.BadParameter(what, param_hint="STUDY...")
    missing = [f"--{modality}" for modality in MODALITIES if modality not in files]
    if by_file and missing:
        raise typer.BadParameter(f"a study needs four files: {', '.join(missing)} missing", param_hint=missing[0])


@contextmanager
def _wrong_usage_of(option: str) -> Iterator[None]:
    """Report an error as wrong usage of an option."""
    try:
        yield
    except UncsegError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _ensemble_and_maps(
    members: str, maps: str | None, model: Path | None
) -> tuple[EnsembleSpec, tuple[str, ...] | None]:
    """What the words stand for; wrong ones are wrong usage."""
    with _wrong_usage_of("--members"):
        wanted = parse_ensemble(members)
    with _wrong_usage_of("--maps"):
        names = None if maps is None else tuple(map(str, parse_maps(maps.split(","))))
    if wanted.folders and model is not None:
        raise typer.BadParameter("name every network in ensemble:DIR,DIR and leave out --model", param_hint="--model")
    return wanted, names


def run_jobs(jobs: Sequence[PredictionJob], settings: PredictionSettings, *, debug: bool) -> tuple[list[Outcome], bool]:
    """What became of each study, and whether the user stopped before the last one."""
    from napari_uncseg.inference import pipeline

    def make() -> Predictor:
        predictor = pipeline.make_predictor(settings, note)
        _check_settings(predictor, settings)
        return predictor

    outcomes: list[Outcome] = []
    title = lambda number, job: study_progress(f"[{number}/{len(jobs)}] {job.files.id}")  # noqa: E731
    with stop_on_interrupt() as cancelled, suppress(Cancelled):
        for outcome in pipeline.predict_jobs(jobs, make, settings, progress=title, cancelled=cancelled):
            outcomes.append(outcome)
            print_remarks(outcome, debug=debug)
        return outcomes, False
    return outcomes, True


def print_remarks(outcome: Outcome, *, debug: bool) -> None:
    """Print what a result warns of, or why there is none."""
    for warning in outcome.provenance.get("warnings", ()):
        note(f"note: {outcome.study_id}: {warning}")
    if outcome.error is not None:
        report(outcome.error, debug=debug, study=outcome.study_id)


def run_on_cluster(
    jobs: Sequence[PredictionJob | RawJob], settings: PredictionSettings, scheduler: str, *, debug: bool
) -> tuple[list[Outcome], bool]:
    """What became of each study on the workers of a cluster, and whether the user stopped before the last one."""
    from napari_uncseg.inference import pipeline
    from napari_uncseg.preparation.cohort import predict_on_cluster

    _check_settings(pipeline.make_predictor(replace(settings, device="cpu"), note), settings)
    tell = lambda done, total, message: note(f"[{done}/{total}] {message}")  # noqa: E731
    with stop_on_interrupt() as cancelled:
        outcomes, stopped = predict_on_cluster(jobs, settings, scheduler, progress=tell, cancelled=cancelled)
    for outcome in outcomes:
        print_remarks(outcome, debug=debug)
    return outcomes, stopped


def _check_settings(predictor: Predictor, settings: PredictionSettings) -> None:
    """Refuse settings that the model cannot follow before the first study is read; they are wrong usage."""
    checked: dict[str, Any] = {}
    for name, value in settings.predict_kwargs().items():  # one by one, to know the option at fault
        checked[name] = value
        option = "--members" if name == "ensemble" else f"--{name}"
        folders = option == "--members" and settings.ensemble.folders  # no model folder is none after --model either
        with nullcontext() if folders else _wrong_usage_of(option):
            predictor.check(**checked)


def finish(outcomes: Sequence[Outcome], out: Path, *, stopped: bool, table: bool = True) -> None:
    """Print what became of the studies, and leave with the exit code of the run."""
    if outcomes and table:
        print_outcomes(outcomes, out)
    if stopped:
        raise Cancelled("Stopped.")
    exit_if_failed([outcome.study_id for outcome in outcomes if outcome.error is not None], len(outcomes))


def print_outcomes(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print a table of studies (volumes, Dice, expected Dice, what became of them), and why some need review.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One per study, failures included.
    out : Path
        Folder that holds a folder per study.
    """
    blocks = {"volumes_ml": ("{} mL", 1), "dice": ("Dice {}", 3)}
    if not any(outcome.provenance.get("dice") for outcome in outcomes):
        del blocks["dice"]
    head = ["study", *(title.format(region) for title, _ in blocks.values() for region in REGIONS)]
    expected = any(outcome.provenance.get("expected_dice") for outcome in outcomes)
    score = "expected Dice WT" if expected else "triage score"
    rows = []
    for outcome in outcomes:
        cells = [outcome.study_id]
        for block, (_, digits) in blocks.items():
            numbers = outcome.provenance.get(block) or {}
            cells += [_number(numbers.get(region), digits) for region in REGIONS]
        estimate = expected_dice_of(outcome.provenance).get(Region.WT)
        triage = _number(outcome.provenance.get("triage_score"), 4)
        cells.append(triage if not expected else "–" if estimate is None else str(estimate))
        cells += ["–" if outcome.error else f"{outcome.seconds:.1f} s", str(outcome.status)]
        rows.append(cells)
    failed = [number for number, outcome in enumerate(outcomes) if outcome.error]
    print_table([*head, score, "time", "result"], rows, words=(0, len(head) + 2), red=failed)
    for outcome in outcomes:
        for reason in outcome.provenance.get("needs_review") or ():
            note(f"note: {outcome.study_id} needs review: {reason.get('text')}")
    if len(failed) < len(outcomes):
        what = (
            "Expected Dice with its 90 % interval: look at the lowest first."
            if expected
            else "Triage score: mean WT entropy in the cancer mask, in nats; look first at a study without one (no "
            "tumour found), then at the highest."
        )
        print_lines(
            f"WT whole tumour, TC tumour core, ET enhancing tumour. {what}", f"Saved in {out}, one folder per study."
        )
    print_lines(RESEARCH_USE_ONLY)


def _number(value: object, digits: int) -> str:
    """A number for a table; a dash where it is undefined."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) and value == value else "–"
