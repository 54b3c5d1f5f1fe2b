"""A model on real studies: ``python -m uncseg_training.experiments.real_studies DIR``.

Prints one row per study and region (Dice over the whole volume, volumes in mL) and the means over the regions of at
least 1 mL in the reference, from ten studies on with a 95 % BCa bootstrap interval; smaller regions are listed but kept
out of the means. Where the reference holds no tumour, the volume that was hallucinated is told. A second table says how
well the maps find the whole-tumour errors: AUROC over the voxels of the cancer mask (predicted WT dilated by 5 mm), the
error rate there and the rate that ``unc_output`` claims. Studies without a reference are listed with the volume found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from sklearn.metrics import roc_auc_score

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.metrics.bootstrap import bootstrap_bca
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.models.masked import CancerMask
from napari_uncseg.models.model import load_model
from uncseg_training.experiments.studies import usable
from uncseg_training.train.sentences import run_plainly

SMALLEST_ML = 1.0
ENOUGH = 10
"""Studies from which on an interval is told."""


@dataclass(frozen=True)
class Overlap:
    """One region of one study.

    Parameters
    ----------
    study, region : str
        Which.
    dice : float
        ``nan`` without a reference, or where reference and prediction are both empty.
    reference_ml, predicted_ml : float
        Volumes; the first is ``nan`` without a reference.
    """

    study: str
    region: str
    dice: float
    reference_ml: float
    predicted_ml: float


@dataclass(frozen=True)
class Doubt:
    """How the maps of one study relate to its whole-tumour errors inside the cancer mask.

    Parameters
    ----------
    study : str
        Which.
    voxels : int
        Of the cancer mask.
    error_rate, claimed_rate : float
        Share of voxels where prediction and reference differ, and the mean of ``unc_output``, 0..1.
    auroc_unc_output, auroc_entropy : float
        Probability that an erroneous voxel has a higher value than a correct one; ``nan`` when there is one class only.
    """

    study: str
    voxels: int
    error_rate: float
    claimed_rate: float
    auroc_unc_output: float
    auroc_entropy: float


def overlaps(study: Study, segmentation: npt.NDArray[np.uint8]) -> list[Overlap]:
    """Dice and volumes of the three regions of a label map on the study's grid."""
    predicted = region_masks(segmentation)
    reference = None if study.reference is None else region_masks(study.reference)
    rows = []
    for index, region in enumerate(REGIONS):
        found = int(predicted[index].sum())
        expected = float("nan") if reference is None else float(reference[index].sum())
        shared = 0 if reference is None else int((predicted[index] & reference[index]).sum())
        dice = 2 * shared / (found + expected) if found + expected else float("nan")
        rows.append(Overlap(study.id, str(region), dice, expected * study.voxel_ml, found * study.voxel_ml))
    return rows


def doubt(study: Study, prediction: Prediction) -> Doubt | None:
    """Agreement of the maps with the errors; None without a reference or a prediction."""
    if study.reference is None or not prediction.segmentation.any():
        return None
    mask = dilate_mm(prediction.segmentation > 0, study.spacing, CancerMask().dilation_mm)
    error = ((prediction.segmentation > 0) ^ (study.reference > 0))[mask]
    claimed, entropy = prediction.maps["unc_output"][mask], prediction.maps["entropy"][mask]
    return Doubt(
        study.id,
        int(mask.sum()),
        float(error.mean()),
        float(claimed.mean()),
        auroc(error, claimed),
        auroc(error, entropy),
    )


def auroc(error: npt.NDArray[np.bool_], values: npt.NDArray[np.floating]) -> float:
    """Probability that an erroneous voxel has a higher value than a correct one; ``nan`` with one class only."""
    return float(roc_auc_score(error, values)) if error.any() and not error.all() else float("nan")


def means(rows: Sequence[Overlap]) -> dict[str, tuple[float, int]]:
    """Mean Dice and count per region over the studies where the reference has at least 1 mL of it."""
    result = {}
    for region in REGIONS:
        values = of_region(rows, region)
        result[str(region)] = (float(np.mean(values)) if values else float("nan"), len(values))
    return result


def of_region(rows: Sequence[Overlap], region: str) -> list[float]:
    """Dice of a region where the reference has at least 1 mL of it."""
    return [row.dice for row in rows if row.region == region and row.reference_ml >= SMALLEST_ML]


def told_mean(values: Sequence[float]) -> str:
    """Mean, with a 95 % BCa interval where there are studies enough for one."""
    if len(values) < ENOUGH:
        return f"{np.mean(values):.3f}"
    found = bootstrap_bca(values)
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main(
    folder: Annotated[Path, typer.Argument(help="A study folder or a folder of studies.")],
    model: Annotated[Path | None, typer.Option(help="Model folder; the bundled one by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Also write the rows as JSON.")] = None,
) -> None:
    """Print the tables."""
    predictor = Predictor(load_model(model), device=device)
    regions: list[Overlap] = []
    doubts: list[Doubt] = []
    for study in usable(folder, references=False):
        prediction = predictor.predict(study)
        regions += overlaps(study, prediction.segmentation)
        doubts += [row for row in [doubt(study, prediction)] if row is not None]
    typer.echo(f"{'study':24}{'region':8}{'Dice':>7}{'reference mL':>15}{'predicted mL':>15}")
    for row in regions:
        typer.echo(f"{row.study:24}{row.region:8}{row.dice:7.3f}{row.reference_ml:15.1f}{row.predicted_ml:15.1f}")
    for region in REGIONS:
        found = of_region(regions, region)
        if found:
            typer.echo(
                f"mean Dice {region}: {told_mean(found)} over {len(found)} studies with at least {SMALLEST_ML:g} mL in "
                "the reference"
            )
    healthy = [row.predicted_ml for row in regions if row.region == REGIONS[0] and row.reference_ml == 0]
    if healthy:
        typer.echo(
            f"{len(healthy)} studies without a tumour: {np.mean(healthy):.2f} mL predicted in the mean, at most "
            f"{max(healthy):.2f} mL; nothing in {sum(volume == 0 for volume in healthy)}"
        )
    if doubts:
        typer.echo(
            "\nWT errors in the cancer mask: error rate, rate claimed by unc_output, AUROC of unc_output and of entropy"
        )
    for line in doubts:
        typer.echo(
            f"{line.study:24}{line.voxels:9d} voxels{line.error_rate:8.3f}{line.claimed_rate:8.3f}"
            f"{line.auroc_unc_output:8.3f}{line.auroc_entropy:8.3f}"
        )
    if out is not None:
        tables = {"overlap": [asdict(row) for row in regions], "doubt": [asdict(line) for line in doubts]}
        out.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    run_plainly(main)
