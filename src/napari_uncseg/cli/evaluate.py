"""``uncseg evaluate``: predictions against references, from the command line."""

from __future__ import annotations

import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg import __version__
from napari_uncseg.cli.errors import report, told_plainly
from napari_uncseg.errors import Cancelled, EvaluationError
from napari_uncseg.labels import Coding

if TYPE_CHECKING:
    from napari_uncseg.evaluation.cohort import Cohort
    from napari_uncseg.evaluation.runner import Measured, Settings
    from napari_uncseg.evaluation.summary import Summary


@told_plainly
def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PRED_DIR", help="Results of uncseg predict, or label files.", show_default=False)
    ],
    reference: Annotated[
        Path, typer.Option("--reference", help="Folder of studies, or of expert segmentations.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the report.", show_default=False)],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the studies' images, if not that of the references.")
    ] = None,
    calibration_ids: Annotated[
        Path | None, typer.Option("--calibration-ids", help="File of study ids that only fix thresholds, one a line.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", help="OUT of uncseg evaluate on other studies: they fix thresholds."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Studies measured at the same time.", show_default="2")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of a dask.distributed scheduler that measures instead.")
    ] = None,
    coding: Annotated[
        Coding | None, typer.Option("--coding", help="How references number their labels, where names do not tell.")
    ] = None,
    prediction_coding: Annotated[
        Coding | None, typer.Option("--prediction-coding", help="The same for label files of another tool.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another evaluation in OUT.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hold predictions against references, and write tables, figures and a report.

    Studies are matched by their id. What was measured is kept in OUT/studies: a run that was cut is started again.
    """
    from napari_uncseg.cli.console import say, study_progress
    from napari_uncseg.evaluation.cohort import merge
    from napari_uncseg.evaluation.matching import match
    from napari_uncseg.evaluation.runner import Settings, evaluate_pairs
    from napari_uncseg.evaluation.summary import summarise
    from napari_uncseg.inference.pipeline import stop_on_interrupt
    from napari_uncseg.io.files import check_writable
    from napari_uncseg.reporting.evaluation_report import HTML, Making, check_free, write_report

    if calibration is not None and calibration_ids is not None:
        raise typer.BadParameter("name either --calibration or --calibration-ids", param_hint="--calibration")
    settings = Settings(out, overwrite, coding, prediction_coding)
    check_writable(out)
    matched = match(predictions, reference, images)
    check_free(out, [pair.id for pair in matched.pairs], overwrite=overwrite)
    chosen = None if calibration_ids is None else _read_ids(calibration_ids, [pair.id for pair in matched.pairs])
    earlier = None if calibration is None else _earlier(calibration)
    with stop_on_interrupt() as cancelled, study_progress("Measuring") as progress:
        try:
            measured, failures = evaluate_pairs(
                matched.pairs, settings, workers=workers, scheduler=scheduler, progress=progress, cancelled=cancelled
            )
        except Cancelled as stop:
            say(f"{str(stop).rstrip('.')}; start the same command again to go on.")
            raise
    for failure in failures:
        report(failure.error, debug=debug, about="" if failure.study in str(failure.error) else f"{failure.study}: ")
    _tell_kept(measured)
    if not measured:
        raise EvaluationError(f"No study of {predictions} could be evaluated.")
    cohort = merge(measured, failures, matched.unpredicted)
    test, fixing = _split(cohort, chosen, earlier)
    say("Computing intervals and drawing figures")
    summary = summarise(test, fixing)
    making = Making(
        _command(predictions, reference, settings, images, calibration_ids, calibration),
        _versions(),
        {"coding": coding, "prediction_coding": prediction_coding},
        {"predictions": str(predictions), "references": str(reference)} | ({"images": str(images)} if images else {}),
    )
    write_report(summary, making, out)
    print_summary(summary, out / HTML)
    if failures:
        typer.echo(f"error: {len(failures)} of {len(matched.pairs)} studies failed", err=True)
        raise typer.Exit(1)


def print_summary(summary: Summary, place: Path) -> None:
    """Print the table per region, the gravest remarks and where the report is."""
    from rich.table import Table
    from rich.text import Text

    from napari_uncseg.cli.console import console
    from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
    from napari_uncseg.reporting.tables import answer

    grid = answer(summary)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(grid.head):
        table.add_column(head, justify="left" if number in grid.words else "right")
    for row in grid.rows:
        table.add_row(*(Text(cell.text + (f"\n{cell.small}" if cell.small else "")) for cell in row))
    screen = console()
    screen.print(table)
    for remark in summary.remarks:
        if remark.severity != "note":
            screen.print(f"{remark.severity}: {remark.rule}: {remark.sentence}", soft_wrap=True)
    screen.print(f"Report: {place}", soft_wrap=True)
    screen.print(RESEARCH_USE_ONLY, soft_wrap=True)


def _tell_kept(measured: list[Measured]) -> None:
    from napari_uncseg.cli.console import say

    kept = sum(study.kept for study in measured)
    if kept:
        say(f"{kept} of {len(measured)} studies were measured before and kept; {len(measured) - kept} are new.")


def _read_ids(path: Path, known: list[str]) -> set[str]:
    """Ids of calibration studies; each must be there, for a typing error would put it among the test studies."""
    from napari_uncseg.io.files import read_text

    lines = read_text(path, EvaluationError).splitlines()
    ids = {line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")}
    if not ids:
        raise EvaluationError(f"{path} holds no study id; write one a line.")
    if unknown := sorted(ids - set(known)):
        raise EvaluationError(
            f"{path} names {unknown[0]}, which is not among the predictions"
            f"{f' (nor are {len(unknown) - 1} others)' if len(unknown) > 1 else ''}; correct the list."
        )
    if not set(known) - ids:
        raise EvaluationError(f"{path} names every study, so that none is left to test; shorten the list.")
    return ids


def _earlier(folder: Path) -> Cohort:
    """The studies of an earlier evaluation."""
    from napari_uncseg.evaluation.cache import STUDIES
    from napari_uncseg.evaluation.cohort import merge
    from napari_uncseg.evaluation.runner import Measured

    paths = sorted((folder / STUDIES).glob("*.json"))
    if not paths:
        raise EvaluationError(
            f"{folder} holds no evaluation ({STUDIES}/<id>.json); evaluate the calibration studies first: uncseg "
            f"evaluate PRED_DIR --reference DIR -o {folder}."
        )
    return merge([Measured(path.stem, path, kept=True) for path in paths])


def _split(cohort: Cohort, chosen: set[str] | None, earlier: Cohort | None) -> tuple[Cohort, Cohort | None]:
    """Test studies, and those that fix thresholds."""
    if chosen is None:
        return cohort, earlier
    test = {record.study for record in cohort.records} - chosen
    if not test:
        raise EvaluationError("Every test study failed; see the errors above.")
    fixing = cohort.without(test)
    if not fixing.records:
        raise EvaluationError("Every calibration study failed, so that no threshold is fixed; see the errors above.")
    return cohort.without(chosen), fixing


def _command(
    predictions: Path,
    reference: Path,
    settings: Settings,
    images: Path | None,
    calibration_ids: Path | None,
    calibration: Path | None,
) -> str:
    """The command that makes the same evaluation again, however it was spread over processes."""
    words = ["uncseg", "evaluate", str(predictions), "--reference", str(reference), "-o", str(settings.out)]
    for option, value in (
        ("--images", images),
        ("--calibration-ids", calibration_ids),
        ("--calibration", calibration),
        ("--coding", settings.coding),
        ("--prediction-coding", settings.prediction_coding),
    ):
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "nibabel", "matplotlib")
    python = ".".join(map(str, sys.version_info[:3]))
    return {"napari-uncseg": __version__, "python": python} | {name: metadata.version(name) for name in packages}
