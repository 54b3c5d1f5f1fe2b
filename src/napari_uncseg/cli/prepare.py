"""``uncseg series`` and ``uncseg prepare``: what lies in a folder straight from the scanner, and a study made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.console import note, print_lines, print_table, stop_on_interrupt, study_progress
from napari_uncseg.cli.errors import handle_errors
from napari_uncseg.cli.options import Brain, BrainMask, Debug
from napari_uncseg.errors import Cancelled
from napari_uncseg.labels import MODALITIES

if TYPE_CHECKING:
    from napari_uncseg.dicom.roles import Chosen
    from napari_uncseg.dicom.series import Examination
    from napari_uncseg.inference.jobs import Outcome, PredictionJob
    from napari_uncseg.inference.pipeline import PredictionSettings
    from napari_uncseg.preparation.cohort import RawJob
    from napari_uncseg.preparation.prepare import Options


T1c = Annotated[str | None, typer.Option("--t1c", metavar="SERIES", help="Series that is T1 with contrast.")]
T1n = Annotated[str | None, typer.Option("--t1n", metavar="SERIES", help="Series that is T1 without contrast.")]
T2f = Annotated[str | None, typer.Option("--t2f", metavar="SERIES", help="Series that is T2 FLAIR.")]
T2w = Annotated[str | None, typer.Option("--t2w", metavar="SERIES", help="Series that is T2.")]


@handle_errors
def series(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder, DICOMDIR or zip of one examination.")],
    t1c: T1c = None,
    t1n: T1n = None,
    t2f: T2f = None,
    t2w: T2w = None,
    debug: Debug = False,
) -> None:
    """List the series of an examination: which modality each one is, or why it is left out.

    Ends with an error when one of the four modalities is missing. A series is named by its number in the list.
    """
    from napari_uncseg.dicom.roles import choose_series
    from napari_uncseg.dicom.series import read_examination

    examination = read_examination(path)
    asked = {role: name for role, name in zip(MODALITIES, (t1c, t1n, t2f, t2w), strict=True) if name is not None}
    chosen = choose_series(examination, asked)
    print_series(examination, chosen)
    chosen.complete()


def print_series(examination: Examination, chosen: Chosen) -> None:
    """Print a line per series, and what was passed over."""
    rows = []
    for verdict in chosen.verdicts:
        each = verdict.series
        geometry = each.problem is None or each.missing > 0
        size = "×".join(map(str, each.shape))
        spacing = "×".join(f"{side:.3g}" for side in each.spacing) if geometry else "–"
        missing = str(each.missing or "–")
        rows.append([each.label, verdict.role or "none", size, spacing, missing, each.description, verdict.why])
    print_table(["series", "role", "size", "spacing, mm", "missing", "name", "why"], rows, words=(1, 5, 6))
    for verdict in chosen.verdicts:
        for sentence in verdict.series.notes if verdict.role else ():
            note(f"note: series {verdict.series.label}: {sentence}")
    if examination.damaged:
        some = ", ".join(file.name for file in examination.damaged[:3])
        note(f"note: {len(examination.damaged)} DICOM file(s) cannot be read and were passed over: {some}.")


@handle_errors
def prepare(
    path: Annotated[Path, typer.Argument(metavar="INPUT", help="Examination (folder, DICOMDIR, zip), or NIfTI.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STUDY", help="Folder that takes the study.")],
    t1c: T1c = None,
    t1n: T1n = None,
    t2f: T2f = None,
    t2w: T2w = None,
    brain_mask: BrainMask = None,
    brain: Brain = None,
    study_id: Annotated[
        str | None, typer.Option("--id", help="The study's name; by default a keyed hash that names no patient.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another preparation.")] = False,
    debug: Debug = False,
) -> None:
    """Register a raw study to T1c, take the skull off and put all on T1c's own grid, resampled once.

    Writes the four images, the mask of the brain, the transforms as JSON and a page (HTML) to check it all by.
    """
    from napari_uncseg.preparation.prepare import prepare_study
    from napari_uncseg.preparation.scans import read_raw

    asked = {role: name for role, name in zip(MODALITIES, (t1c, t1n, t2f, t2w), strict=True) if name is not None}
    options = options_of(brain_mask, brain, overwrite=overwrite)
    with stop_on_interrupt() as cancelled, study_progress(study_id or "study") as progress:
        raw = read_raw(path, asked, study_id, progress=progress, cancelled=cancelled)
        done = prepare_study(raw, out, options, progress=progress, cancelled=cancelled)
    for reason in done.record.get("needs_review", ()):
        note(f"note: {raw.id} needs review: {reason['text']}")
    what = "stands already" if done.already_there else "was prepared"
    print_lines(f"Study {raw.id} {what} in {out}. Look at {out / f'{raw.id}_preparation.html'}.")


def options_of(brain_mask: Path | None, brain: str | None, *, overwrite: bool) -> Options:
    """How a study is prepared; a method that nobody knows is wrong usage."""
    from napari_uncseg.preparation.brain import Method
    from napari_uncseg.preparation.prepare import Options

    if brain is not None and brain not in list(Method):
        raise typer.BadParameter(f"there is no method {brain!r}; write hd-bet", param_hint="--brain")
    return Options(brain_mask, Method(brain) if brain else Method.AUTO, overwrite)


def prepare_jobs(jobs: Sequence[RawJob], settings: PredictionSettings) -> tuple[list[PredictionJob], list[Outcome]]:
    """Prepare raw studies: what can be predicted, and what failed."""
    from napari_uncseg.inference.jobs import Outcome, Status
    from napari_uncseg.preparation.cohort import prepare_job

    ready: list[PredictionJob] = []
    failures: list[Outcome] = []
    with stop_on_interrupt() as cancelled:
        for number, job in enumerate(jobs, start=1):
            try:
                with study_progress(f"[{number}/{len(jobs)}] raw study") as progress:
                    ready.append(prepare_job(job, settings, progress=progress, cancelled=cancelled))
            except Cancelled:
                raise
            except Exception as error:  # a bad study does not stop the ones after it
                failures.append(Outcome(str(job.path), Status.FAILED, error=error))
    return ready, failures
