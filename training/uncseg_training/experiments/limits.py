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

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.inference.preprocessing import InputPlan, frame_of, on_crop
from napari_uncseg.inference.resampling import resample
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, labels_from_regions, region_masks
from napari_uncseg.models.model import load_model
from uncseg_training.experiments.real_studies import Overlap, means, overlaps
from uncseg_training.experiments.studies import usable
from uncseg_training.train.sentences import run_plainly

SPACINGS = (3.0, 2.0, 1.5, 1.0)
"""Voxel sizes, mm."""

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def through_grid(study: Study, plan: InputPlan, *, fractions: bool) -> list[Overlap]:
    """The reference against itself after it was on a network's grid.

    Parameters
    ----------
    study : Study
        With a reference.
    plan : InputPlan
        Says the grid.
    fractions : bool
        Keep what share of a voxel belongs to a region, instead of whether more than half of it does.

    Returns
    -------
    list of Overlap
    """
    assert study.reference is not None
    frame = frame_of(study, plan)
    regions = np.ascontiguousarray(frame.enter(region_masks(study.reference)), dtype=np.float32)
    there = resample(torch.from_numpy(regions), frame.shape)
    back = frame.leave(on_crop(there if fractions else (there > 0.5).float(), frame).numpy())
    return overlaps(study, labels_from_regions(back))


def table(rows: Sequence[tuple[str, Sequence[Overlap]]], name: str) -> str:
    """One line per setting: the mean Dice of each region."""
    lines = [f"{name:24}" + "".join(f"{region:>8}" for region in REGIONS)]
    for setting, found in rows:
        lines.append(f"{setting:24}" + "".join(f"{mean:8.3f}" for mean, _ in means(found).values()))
    return "\n".join(lines)


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of studies with references.")],
    model: Annotated[Path | None, typer.Option(help="Model folder; the bundled one by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
) -> None:
    """Print the tables."""
    loaded = load_model(model)
    predictor, plan = Predictor(loaded, device=device), InputPlan.from_plans(loaded.plans)
    results: dict[str, Any] = {"model": loaded.sha256}
    for folder in folders:
        grids: dict[str, list[Overlap]] = {}
        cuts: dict[str, list[Overlap]] = {}
        for study in usable(folder):
            for spacing in SPACINGS:
                on_grid = replace(plan, spacing=(spacing,) * 3)
                for fractions in (False, True):
                    name = f"{spacing:g} mm, {'fractions' if fractions else 'labels'}"
                    grids.setdefault(name, []).extend(through_grid(study, on_grid, fractions=fractions))
            probabilities = predictor.predict(study).probabilities
            for threshold in THRESHOLDS:
                labels = labels_from_regions(probabilities, threshold)
                cuts.setdefault(f"{threshold:g}", []).extend(overlaps(study, labels))
        typer.echo(f"\n{folder.name}: mean Dice over regions of at least 1 mL")
        typer.echo(table(list(grids.items()), "the reference on a grid"))
        typer.echo(table(list(cuts.items()), "probability cut at"))
        results[folder.name] = {
            "resolution": {name: means(rows) for name, rows in grids.items()},
            "threshold": {name: means(rows) for name, rows in cuts.items()},
        }
    if out is not None:
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run_plainly(main)
