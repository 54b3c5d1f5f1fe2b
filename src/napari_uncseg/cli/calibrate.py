"""``uncseg calibrate``: recalibrates probabilities, from predictions and references."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_uncseg.cli.console import print_lines, print_table, stop_on_interrupt, study_progress
from napari_uncseg.cli.errors import exit_if_failed, handle_errors, report
from napari_uncseg.cli.options import Debug, Images, LabelCoding, Reference
from napari_uncseg.errors import SaveError
from napari_uncseg.io.files import check_writable, exists, is_dir
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.metrics.voxel_sets import FitSet, VoxelSet
from napari_uncseg.uncertainty.conformal import ALPHA, GUARANTEE
from napari_uncseg.uncertainty.recalibration.io import CalibrationFormat
from napari_uncseg.uncertainty.recalibration.models import Method

if TYPE_CHECKING:
    from napari_uncseg.evaluation.calibration_studies import Fit


@handle_errors
def calibrate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="Results of uncseg predict.")],
    reference: Reference,
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write (.json).")],
    method: Annotated[Method, typer.Option(help="One number, two, or any rising curve.")] = Method.TEMPERATURE,
    voxel_set: Annotated[FitSet, typer.Option("--voxels", help="Voxels to fit on.")] = FitSet.BRAIN,
    alpha: Annotated[float, typer.Option(help="Find thresholds that miss at most this share of a region.")] = ALPHA,
    images: Images = None,
    coding: LabelCoding = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another calibration.")] = False,
    debug: Debug = False,
) -> None:
    """Fit the calibration of a model and its members on studies with references.

    Hand the file to `uncseg predict --calibration`. Use studies that neither train nor test the network.
    """
    from napari_uncseg.evaluation.calibration_studies import FitSettings, calibrate_pairs
    from napari_uncseg.evaluation.matching import match
    from napari_uncseg.io.command import command_line

    if not 0 < alpha < 1:
        raise typer.BadParameter("name a share between 0 and 1, such as 0.1", param_hint="--alpha")
    if is_dir(out, SaveError):
        raise SaveError(f"{out} is a folder; name the file to write, such as {out / 'calibration.json'}.")
    CalibrationFormat.check_replaceable(out)
    if exists(out, SaveError) and not overwrite:
        raise SaveError(f"{out} is there already; choose another name, or replace it with --overwrite.")
    check_writable(out.parent)
    settings = FitSettings(method, VoxelSet(voxel_set), alpha, coding)
    said: dict[str, object] = {"--reference": reference, "-o": out, "--method": method, "--voxels": voxel_set}
    said |= {"--alpha": alpha, "--images": images, "--coding": coding}
    command = command_line("calibrate", predictions, options=said)
    pairs = match(predictions, reference, images).pairs
    with stop_on_interrupt() as cancelled, study_progress("Counting") as progress:
        fit = calibrate_pairs(pairs, settings, command=command, progress=progress, cancelled=cancelled)
    for study, error in fit.failures.items():
        report(error, debug=debug, study=study)
    fit.calibration.save(out)
    print_fit(fit, settings.voxel_set, out)
    exit_if_failed(fit.failures, len(pairs))


def print_fit(fit: Fit, voxel_set: str, place: Path) -> None:
    """Print a table of figures before and after, the thresholds, what has to be known, and where the file is."""
    calibration = fit.calibration
    rows = []
    for region, found in fit.regions.items():
        names = ("ece_classwise", "nll", "brier")
        figures = (f"{_number(found.before[name])} → {_number(found.after[name])}" for name in names)
        share = f"{found.positives / found.voxels:.2%}" if found.voxels else "–"
        rows.append(
            [str(region), found.map.words(), str(found.studies_with_region), f"{found.voxels:,}", share, *figures]
        )
    head = ("region", "curve", "studies", "voxels", "prevalence", "ECE", "NLL, nats", "Brier")
    print_table(head, rows, words=(0, 1))
    what = f"Before → after, on the voxel set {voxel_set}, voxels of {len(fit.studies)} studies together"
    print_lines(f"{what}; after: each study recalibrated by a curve fitted on the others. ECE class-wise, 15 bins.")
    for region, control in calibration.controls.items():
        marked = fit.regions[region].marked_over_region
        if control.threshold is not None:
            mask = f", by a mask {marked:.3g} times as large as the region" if marked is not None else ""
            here = f"Here {control.false_negative_rate:.3g}, in {control.studies} studies{mask}."
            print_lines(f"{region}: {control.words()} {here}")
    if any(control.threshold is not None for control in calibration.controls.values()):
        print_lines(f"{GUARANTEE} It holds for studies like these, not for a single one.")
    print_lines(
        *(f"note: {note}" for note in fit.notes),
        f"Saved as {place}, for the members {calibration.ensemble} of the model {calibration.model_sha256[:12]} alone.",
        RESEARCH_USE_ONLY,
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}" if value >= 0.01 else f"{value:#.2g}"
