"""``uncseg calibrate``: makes probabilities mean what they say, from predictions beside references."""

from __future__ import annotations

import math
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.errors import report, told_plainly
from napari_uncseg.errors import SaveError
from napari_uncseg.labels import Coding
from napari_uncseg.uncertainty.recalibration.models import Method

if TYPE_CHECKING:
    from napari_uncseg.evaluation.calibration_studies import Fit


class FitSet(StrEnum):
    """Voxels to fit on: the sets in which the reference does not choose the voxels one by one."""

    BRAIN = "brain"
    TUMOUR = "tumour"
    ALL = "all"
    PREDICTION = "prediction"


@told_plainly
def calibrate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PRED_DIR", help="Results of uncseg predict.", show_default=False)
    ],
    reference: Annotated[
        Path, typer.Option("--reference", help="Folder of studies, or of expert segmentations.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write (.json).", show_default=False)],
    method: Annotated[
        Method, typer.Option("--method", help="One number, two numbers, or any rising curve per region.")
    ] = Method.TEMPERATURE,
    voxel_set: Annotated[FitSet, typer.Option("--voxels", help="Voxels to fit on.")] = FitSet.BRAIN,
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha",
            help="Also find thresholds that miss at most this share of a region on average, such as 0.1.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the studies' images, if not that of the references.")
    ] = None,
    coding: Annotated[
        Coding | None, typer.Option("--coding", help="How references number their labels, where names do not tell.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Fit the calibration of a model and its members on studies with references.

    Hand the file to `uncseg predict --calibration`. Use studies that neither train nor test the network.
    """
    from napari_uncseg.cli.console import study_progress
    from napari_uncseg.evaluation.calibration_studies import FitSettings, calibrate_pairs
    from napari_uncseg.evaluation.matching import match
    from napari_uncseg.evaluation.voxel_sets import VoxelSet
    from napari_uncseg.inference.pipeline import stop_on_interrupt
    from napari_uncseg.io.files import check_writable

    if alpha is not None and not 0 < alpha < 1:
        raise typer.BadParameter("name a share between 0 and 1, such as 0.1", param_hint="--alpha")
    if out.is_dir():
        raise SaveError(f"{out} is a folder; name the file to write, such as {out / 'calibration.json'}.")
    if out.exists() and not overwrite:
        raise SaveError(f"{out} is there already; choose another name, or replace it with --overwrite.")
    check_writable(out.parent)
    settings = FitSettings(method, VoxelSet(voxel_set.value), alpha, coding)
    command = ["uncseg", "calibrate", str(predictions), "--reference", str(reference), "-o", str(out)]
    command += ["--method", method.value, "--voxels", voxel_set.value]
    for option, value in (("--alpha", alpha), ("--images", images), ("--coding", coding)):
        command += [] if value is None else [option, str(value)]
    pairs = match(predictions, reference, images).pairs
    with stop_on_interrupt() as cancelled, study_progress("Counting") as progress:
        fit = calibrate_pairs(pairs, settings, command=shlex.join(command), progress=progress, cancelled=cancelled)
    for study, error in fit.failures.items():
        report(error, debug=debug, about="" if study in str(error) else f"{study}: ")
    fit.calibration.save(out)
    print_fit(fit, settings.voxel_set, out)
    if fit.failures:
        typer.echo(f"error: {len(fit.failures)} of {len(pairs)} studies failed", err=True)
        raise typer.Exit(1)


def print_fit(fit: Fit, voxel_set: str, place: Path) -> None:
    """Print a table of figures before and after, the thresholds, what has to be known, and where the file is."""
    from rich.table import Table
    from rich.text import Text

    from napari_uncseg.cli.console import console
    from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
    from napari_uncseg.uncertainty.conformal import GUARANTEE

    screen = console()
    calibration = fit.calibration
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("region", "map"):
        table.add_column(name)
    for name in ("studies", "voxels", "of it true", "ECE", "NLL, nats", "Brier"):
        table.add_column(name, justify="right")
    for region, found in fit.regions.items():
        figures = (
            f"{_number(found.before[name])} → {_number(found.after[name])}"
            for name in ("ece_classwise", "nll", "brier")
        )
        share = f"{found.positives / found.voxels:.2%}" if found.voxels else "–"
        cells = (str(region), found.map.words(), str(found.studies), f"{found.voxels:,}", share, *figures)
        table.add_row(*map(Text, cells))
    screen.print(table)
    screen.print(
        f"Before → after, on the voxel set {voxel_set}, voxels of {_studies(len(fit.studies))} together; after: each "
        "study recalibrated by a map fitted on the others. ECE class-wise, 15 bins.",
        soft_wrap=True,
    )
    for region, control in calibration.controls.items():
        marked = fit.regions[region].marked
        if control.threshold is not None:
            screen.print(
                f"{region}: above a threshold of {control.threshold:.3g} (before recalibration) at most "
                f"{control.alpha:.3g} of the region is missed on average; here {control.risk:.3g}, in "
                f"{_studies(control.studies)}"
                + (f", by a mask {marked:.3g} times as large as the region." if marked is not None else "."),
                soft_wrap=True,
            )
    if calibration.controls:
        screen.print(f"{GUARANTEE} It holds for studies like these, not for a single one.", soft_wrap=True)
    for note in fit.notes:
        screen.print(f"note: {note}", soft_wrap=True)
    screen.print(
        f"Saved as {place}, for the members {calibration.members} of the model {calibration.model_sha256[:12]} alone.",
        soft_wrap=True,
    )
    screen.print(RESEARCH_USE_ONLY, soft_wrap=True)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}" if value >= 0.01 else f"{value:.2g}"


def _studies(count: int) -> str:
    return f"{count} {'study' if count == 1 else 'studies'}"
