"""What keeps the Dice of a model down: ``python -m uncseg_training.experiments.limits STUDIES [STUDIES ...]``.

Two tables for each folder of studies, mean Dice over the regions of at least 1 mL in the reference:

- *resolution*: the reference itself, put onto a grid of so many millimetres and back. *Labels*: every voxel of that
  grid right, as the network is taught; *fractions*: how much of each of its voxels belongs to the region is known, more
  than which no network on that grid can know.
- *threshold*: the model's probabilities cut at other values than one half. Where the best value lies far from it,
  regions are drawn too small (best below one half) or too large throughout. For a calibrated probability the best
  threshold is half the Dice that it reaches (Lipton et al., "Optimal thresholding of classifiers to maximize F1
  measure", ECML 2014).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.inference.preprocessing import InputPlan, brain_crop
from napari_uncseg.inference.resampling import resample
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Region, labels_from_regions, region_masks
from napari_uncseg.models.model import load_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.studies import mean_dice, region_dice, usable

SPACINGS = (3.0, 2.0, 1.5, 1.0)
"""Voxel sizes, mm."""

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

Setting = tuple[str, str]
"""Table and row."""


def through_grid(study: Study, plan: InputPlan, *, fractions: bool) -> dict[Region, float]:
    """Dice of the reference against itself after it was on a network's grid.

    Parameters
    ----------
    study : Study
        With a reference.
    plan : InputPlan
        Says the grid.
    fractions : bool
        Keep what share of a voxel belongs to a region, instead of whether more than half of it does.
    """
    assert study.reference is not None
    crop = brain_crop(study, plan)
    regions = np.ascontiguousarray(crop.take(region_masks(study.reference)), dtype=np.float32)
    there = resample(torch.from_numpy(regions), crop.network_shape)
    back = crop.put_back(resample(there if fractions else (there > 0.5).float(), crop.shape).numpy())
    return region_dice(labels_from_regions(back), study.reference, study.voxel_ml)


def settings_of(study: Study, predictor: Predictor, plan: InputPlan) -> Iterator[tuple[Setting, dict[Region, float]]]:
    """Dice of a study in each row of both tables."""
    assert study.reference is not None
    for spacing in SPACINGS:
        for fractions in (False, True):
            row = f"{spacing:g} mm, {'fractions' if fractions else 'labels'}"
            yield (
                ("resolution", row),
                through_grid(study, replace(plan, spacing=(spacing,) * 3), fractions=fractions),
            )
    probabilities = predictor.predict(study).probabilities
    for threshold in THRESHOLDS:
        labels = labels_from_regions(probabilities, threshold)
        yield ("threshold", f"{threshold:g}"), region_dice(labels, study.reference, study.voxel_ml)


@harness.experiment
def main(
    folders: harness.StudyFolders,
    model: harness.ModelOption = None,
    device: harness.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
) -> None:
    """Print the tables."""
    loaded = load_model(model)
    predictor, plan = Predictor(loaded, device=device), InputPlan.from_plans(loaded.plans)
    results: dict[str, dict[str, dict[str, dict[str, tuple[float, int]]]]] = {}
    for folder in folders:
        found: dict[Setting, list[dict[Region, float]]] = defaultdict(list)
        for study in usable(folder):
            for setting, dice in settings_of(study, predictor, plan):
                found[setting].append(dice)
        tables: dict[str, dict[str, dict[str, tuple[float, int]]]] = {"resolution": {}, "threshold": {}}
        for (table, row), rows in found.items():
            tables[table][row] = mean_dice(rows)
        typer.echo(f"\n{folder.name}: mean Dice over regions of at least 1 mL")
        for table, told in tables.items():
            means = {row: {region: mean for region, (mean, _) in each.items()} for row, each in told.items()}
            typer.echo(f"{table}\n{pd.DataFrame(means).T.to_string(float_format='{:.3f}'.format)}")
        results[folder.name] = tables
    if out is not None:
        harness.write_json({"model": loaded.sha256, **results}, out)


if __name__ == "__main__":
    typer.run(main)
