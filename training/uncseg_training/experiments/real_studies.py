"""Dice of a model on real studies with references: ``python -m uncseg_training.experiments.real_studies DIR``.

Prints one row per study and region (Dice over the whole volume, volumes in mL) and the means over the regions of at
least 1 mL in the reference; smaller ones are listed but kept out of the means. Studies without a reference are listed
with the volume that was found.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.network.model import load_model
from napari_uncseg.study.discover import find_studies
from napari_uncseg.study.load import load_study

SMALLEST_ML = 1.0


@dataclass(frozen=True)
class Row:
    """One region of one study.

    Parameters
    ----------
    study, region : str
        Which.
    dice : float
        ``nan`` without a reference, or where reference and prediction are both empty.
    reference_ml, predicted_ml : float
        Volumes; ``nan`` without a reference.
    """

    study: str
    region: str
    dice: float
    reference_ml: float
    predicted_ml: float


def score(folder: Path, model: Path | None = None, device: str = "auto") -> list[Row]:
    """Predict every study of a folder and compare it with its reference."""
    predictor = Predictor(load_model(model), device=device)
    rows = []
    for files in find_studies(folder):
        study = load_study(files)
        prediction = predictor.predict(study)
        predicted = region_masks(prediction.segmentation)
        reference = None if study.reference is None else region_masks(study.reference)
        for index, region in enumerate(REGIONS):
            found = float(predicted[index].sum()) * study.voxel_ml
            if reference is None:
                rows.append(Row(study.id, region, float("nan"), float("nan"), found))
                continue
            total = int(predicted[index].sum()) + int(reference[index].sum())
            dice = 2 * int((predicted[index] & reference[index]).sum()) / total if total else float("nan")
            rows.append(Row(study.id, region, dice, float(reference[index].sum()) * study.voxel_ml, found))
    return rows


def means(rows: list[Row]) -> dict[str, tuple[float, int]]:
    """Mean Dice and count per region over the studies where the reference has at least 1 mL of it."""
    result = {}
    for region in REGIONS:
        values = [row.dice for row in rows if row.region == region and row.reference_ml >= SMALLEST_ML]
        result[str(region)] = (float(np.mean(values)) if values else float("nan"), len(values))
    return result


def main(
    folder: Annotated[Path, typer.Argument(help="A study folder or a folder of studies.")],
    model: Annotated[Path | None, typer.Option(help="Model folder; the bundled one by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Also write the rows as JSON.")] = None,
) -> None:
    """Print the table."""
    rows = score(folder, model, device)
    typer.echo(f"{'study':24}{'region':8}{'Dice':>7}{'reference mL':>15}{'predicted mL':>15}")
    for row in rows:
        typer.echo(f"{row.study:24}{row.region:8}{row.dice:7.3f}{row.reference_ml:15.1f}{row.predicted_ml:15.1f}")
    for region, (mean, count) in means(rows).items():
        typer.echo(
            f"mean Dice {region}: {mean:.3f} over {count} studies with at least {SMALLEST_ML:g} mL in the reference"
        )
    if out is not None:
        out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
