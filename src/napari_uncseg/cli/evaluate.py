"""``uncseg evaluate``: predictions against references, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.console import note, print_lines, print_table, stop_on_interrupt, study_progress
from napari_uncseg.cli.errors import exit_if_failed, handle_errors, report
from napari_uncseg.cli.options import Debug, Images, LabelCoding, Reference
from napari_uncseg.errors import Cancelled, EvaluationError
from napari_uncseg.io.files import check_writable, read_text, versions
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import Coding

if TYPE_CHECKING:
    from napari_uncseg.evaluation.matching import Matched
    from napari_uncseg.evaluation.runner import Cohort, EvaluationSettings
    from napari_uncseg.evaluation.summary import Summary

_REVIEW_BELOW = "Expected Dice of the whole tumour below which a study needs review; by default, what the results say."


@handle_errors
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="Results of uncseg predict, or label files.")],
    reference: Reference,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that takes the report.")],
    images: Images = None,
    review_below: Annotated[float | None, typer.Option(min=0, max=1, help=_REVIEW_BELOW)] = None,
    calibration_ids: Annotated[
        Path | None, typer.Option(help="File of ids, one a line, of studies that fix this bound.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="An earlier OUT of other studies, which fix this bound.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Studies measured at once.", show_default="2")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler that measures instead.")] = None,
    coding: LabelCoding = None,
    prediction_coding: Annotated[Coding | None, typer.Option(help="The same for label files of another tool.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another evaluation in OUT.")] = False,
    debug: Debug = False,
) -> None:
    """Compare predictions with references, and write tables, figures and a report.

    Studies are matched by their id. What was measured is kept in OUT/studies: a run that was cut is started again.
    """
    from napari_uncseg.evaluation.matching import match
    from napari_uncseg.evaluation.runner import EvaluationSettings
    from napari_uncseg.evaluation.summary import summarise
    from napari_uncseg.io.command import command_line
    from napari_uncseg.reporting.evaluation_report import HTML, Making, check_free, write_report

    if calibration is not None and calibration_ids is not None:
        raise typer.BadParameter("name either --calibration or --calibration-ids", param_hint="--calibration")
    settings = EvaluationSettings(out, overwrite, coding, prediction_coding)
    check_writable(out)
    matched = match(predictions, reference, images)
    check_free(out, [pair.id for pair in matched.pairs], overwrite=overwrite)
    chosen = None if calibration_ids is None else _read_ids(calibration_ids, [pair.id for pair in matched.pairs])
    earlier = None if calibration is None else _earlier(calibration)
    cohort = _measure(matched, settings, workers=workers, scheduler=scheduler, debug=debug)
    if not cohort.records:
        raise EvaluationError(f"No study of {predictions} could be evaluated.")
    test, fixing = _split(cohort, chosen, earlier)
    note("Computing intervals and drawing figures")
    summary = summarise(test, fixing, review_below)
    said: dict[str, object] = {"--reference": reference, "-o": out, "--images": images, "--coding": coding}
    said |= {"--review-below": review_below, "--calibration-ids": calibration_ids, "--calibration": calibration}
    command = command_line("evaluate", predictions, options={**said, "--prediction-coding": prediction_coding})
    asked = {"coding": coding, "prediction_coding": prediction_coding, "review_below": review_below}
    folders = {"predictions": predictions, "references": reference} | ({"images": images} if images else {})
    places = {name: str(folder) for name, folder in folders.items()}
    making = Making(command, versions("numpy", "scipy", "nibabel", "matplotlib"), asked, places)
    write_report(summary, making, out)
    print_summary(summary, out / HTML)
    exit_if_failed([failure.study for failure in cohort.failures], len(matched.pairs))


def _measure(
    matched: Matched, settings: EvaluationSettings, *, workers: int | None, scheduler: str | None, debug: bool
) -> Cohort:
    """The records of all pairs, measured now or before; what failed is told."""
    from napari_uncseg.evaluation.runner import evaluate_pairs, merge

    with stop_on_interrupt() as cancelled, study_progress("Measuring") as progress:
        try:
            measured, failures = evaluate_pairs(
                matched.pairs, settings, workers=workers, scheduler=scheduler, progress=progress, cancelled=cancelled
            )
        except Cancelled as stop:
            note(f"{str(stop).rstrip('.')}; start the same command again to go on.")
            raise
    for failure in failures:
        report(failure.error, debug=debug, study=failure.study)
    if kept := sum(study.kept for study in measured):
        note(f"{kept} of {len(measured)} studies were measured before and kept; {len(measured) - kept} are new.")
    return merge(measured, failures, matched.unpredicted)


def print_summary(summary: Summary, place: Path) -> None:
    """Print the tables per region, whom *needs review* marks, the gravest sanity checks and where the report is."""
    from napari_uncseg.reporting.tables import answer, forecast_grid, review_lines

    for grid in (answer(summary), forecast_grid(summary)):
        rows = [[cell.text + (f"\n{cell.small}" if cell.small else "") for cell in row] for row in grid.rows]
        if rows:
            print_table(grid.head, rows, words=grid.words)
    print_lines(*review_lines(summary))
    grave = (check for check in summary.checks if check.severity != "note")
    print_lines(*(f"{check.severity}: {check.rule}: {check.message}" for check in grave))
    print_lines(f"Report: {place}", RESEARCH_USE_ONLY)


def _read_ids(path: Path, known: list[str]) -> set[str]:
    """Ids of calibration studies; each must be there, for a typing error would put it among the test studies."""
    from napari_uncseg.io.naming import plain_id

    lines = read_text(path, EvaluationError).splitlines()
    ids = {plain_id(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")}
    if not ids:
        raise EvaluationError(f"{path} holds no study id; write one a line.")
    if unknown := sorted(ids - set(known)):
        raise EvaluationError(f"{path} names {', '.join(unknown[:3])}, not among the predictions; correct the list.")
    if not set(known) - ids:
        raise EvaluationError(f"{path} names every study, so that none is left to test; shorten the list.")
    return ids


def _earlier(folder: Path) -> Cohort:
    """The studies of an earlier evaluation."""
    from napari_uncseg.evaluation.cache import STUDIES
    from napari_uncseg.evaluation.runner import Measured, merge

    paths = sorted((folder / STUDIES).glob("*.json"))
    if not paths:
        raise EvaluationError(f"{folder} holds no evaluation ({STUDIES}/<id>.json); evaluate those studies first.")
    return merge([Measured(path.stem, path, kept=True) for path in paths])


def _split(cohort: Cohort, chosen: set[str] | None, earlier: Cohort | None) -> tuple[Cohort, Cohort | None]:
    """Test studies, and those that fix the bound of *needs review*."""
    if chosen is None:
        return cohort, earlier
    test = {record.study for record in cohort.records} - chosen
    if not test:
        raise EvaluationError("Every test study failed; see the errors above.")
    fixing = cohort.without(test)
    if not fixing.records:
        raise EvaluationError("Every calibration study failed, so that no bound is fixed; see the errors above.")
    return cohort.without(chosen), fixing
