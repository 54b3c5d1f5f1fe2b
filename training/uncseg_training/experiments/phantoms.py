"""A model on phantoms it never saw: ``python -m uncseg_training.experiments.phantoms -o OUT`` (``--help``).

Phantoms at 1 mm are drawn, predicted with the model's own members and forgotten; what is kept of each is a file of
numbers, so that a command that was cut goes on. Tables, with 95 % intervals over phantoms:

- *dice* and *expected-dice*: as of patients, see :mod:`uncseg_training.experiments.patients`.
- *tumour-free*: what is taken for tumour in heads that have none, and whether that is sent to review.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from napari_uncseg.evaluation.case import case_from_prediction
from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR
from napari_uncseg.evaluation.expected_dice import ENDS, EXPECTED_DICE
from napari_uncseg.evaluation.table import MetricResult, to_frame
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.model import load_model
from napari_uncseg.uncertainty.measures import entropy
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.patients import expected_dice_rows
from uncseg_training.phantom.anatomy import build_anatomies, load_anatomies
from uncseg_training.phantom.cohort import STEPS_PER_UNIT, Phantom, Phantoms
from uncseg_training.phantom.kinds import Kind

SHAPE, SPACING, SEED = (160, 192, 160), 1.0, 90_210
"""Field of view and voxel of the phantoms, and a seed that no training has."""

LARGE_ML = 1.0
"""More than this in a head without a tumour counts as a false alarm."""


def study_of(phantom: Phantom, name: str) -> Study:
    """A phantom as a study, its grey levels rounded as those of files are."""
    images = np.round(phantom.images.cpu().numpy() * STEPS_PER_UNIT).astype(np.float32)
    affine = np.diag([SPACING] * 3 + [1.0])
    return Study(name, images, affine, phantom.brain.cpu().numpy(), reference=phantom.labels.cpu().numpy())


def judged(predictor: Predictor, study: Study, members: str) -> dict[str, Any]:
    """What is kept of a study: volumes, Dice, mean entropy and expected Dice per region; the reasons for a review."""
    assert study.reference is not None  # phantoms have one
    prediction = predictor.predict(study, ensemble=members)
    case, told = case_from_prediction(prediction, study.reference, brain=study.brain), prediction.provenance
    kept: dict[str, Any] = {"needs_review": [reason["code"] for reason in told["needs_review"]]}
    for index, region in enumerate(REGIONS):
        near = case.voxels(VoxelSet.TUMOUR, region)
        kept[str(region)] = {
            "dice_any_size": told["dice"][region],
            "volume_reference": int(case.true(region).sum()) * study.voxel_ml,
            "volume_prediction": told["volumes_ml"][region],
            MEAN_TUMOUR: float(entropy(prediction.probabilities[index][near]).mean()) if near.any() else None,
        }
        if "expected_dice" in told:
            names = (EXPECTED_DICE[0], *(f"{EXPECTED_DICE[0]}_{end}" for end in ENDS))
            values = (told["expected_dice"][region][end] for end in ("value", *ENDS))
            kept[str(region)] |= dict(zip(names, values, strict=True))
    return kept


def table_of(records: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Numbers of all phantoms, as an evaluation of patients holds them."""
    return to_frame(
        MetricResult(metric, value, case=name, region=region, map="entropy" if metric == MEAN_TUMOUR else None)
        for name, record in records.items()
        for region in REGIONS
        for metric, value in record[str(region)].items()
        if value is not None
    )


def dice_row(records: dict[str, dict[str, Any]]) -> Row:
    """Mean Dice over regions of 1 mL and more."""
    row: Row = {"phantoms": len(records)}
    for region in map(str, REGIONS):
        told = [each[region] for each in records.values() if each[region]["volume_reference"] >= 1]
        row[region] = harness.interval(pd.Series([each["dice_any_size"] for each in told]))
    return row


def tumour_free_row(records: dict[str, dict[str, Any]]) -> Row:
    """What is found in heads without a tumour."""
    volumes = pd.Series({name: record["WT"]["volume_prediction"] for name, record in records.items()})
    marked = {name for name, record in records.items() if record["needs_review"]}
    large = volumes.index[volumes > LARGE_ML]
    return {
        "heads": len(volumes),
        "median mL": round(float(volumes.median()), 2),
        f"more than {LARGE_ML:g} mL": len(large),
        "largest, mL": round(float(volumes.max()), 1),
        f"of those over {LARGE_ML:g} mL sent to review": f"{len(marked.intersection(large))} of {len(large)}",
    }


def _streams(anatomies: harness.AnatomiesOption) -> Iterator[tuple[str, Phantoms]]:
    """Phantoms with a tumour, and without."""
    heads = load_anatomies(anatomies) if anatomies is not None else build_anatomies()
    for name, seed in (("tumour", SEED), ("none", SEED + 1)):
        stream = Phantoms(heads, SHAPE, SPACING, seed)
        kinds = {kind: odds for kind, odds in stream.prior.kinds.items() if (kind is Kind.NONE) == (name == "none")}
        stream.prior = replace(stream.prior, kinds=kinds)
        yield name, stream


def _judged_at(predictor: Predictor, stream: Phantoms, index: int, label: str, members: str) -> dict[str, Any]:
    return judged(predictor, study_of(stream[index], label), members)


@harness.experiment
def main(
    out: harness.Out,
    anatomies: harness.AnatomiesOption = None,
    model: harness.ModelOption = None,
    members: Annotated[str, typer.Option(help="As for uncseg predict.")] = "auto",
    count: Annotated[int, typer.Option(min=3, help="How many phantoms with a tumour.")] = 300,
    without: Annotated[int, typer.Option(min=1, help="How many heads without one.")] = 60,
    device: harness.Device = "auto",
    minutes: harness.Minutes = None,
) -> None:
    """Write the tables of a model on phantoms it never saw."""
    clock, loaded = harness.Clock(minutes), load_model(model)
    predictor = Predictor(loaded, device=device)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (name, stream), number in zip(_streams(anatomies), (count, without), strict=True):
        records = found.setdefault(name, {})
        for index in range(number):
            clock.check()
            label = f"{name}-{index:05d}"
            path = out / "records" / f"{label}.json"
            make = partial(_judged_at, predictor, stream, index, label, members)
            records[label] = harness.kept(path, make)
    content = {
        "dice": [dice_row(found["tumour"])],
        "expected-dice": expected_dice_rows(table_of(found["tumour"])),
        "tumour-free": [tumour_free_row(found["none"])],
    }
    for name, rows in ((name, rows) for name, rows in content.items() if rows):
        harness.write_table(rows, out / name, f"{name.replace('-', ' ').capitalize()}, phantoms")
        typer.echo((out / name).with_suffix(".md").read_text())
    harness.write_json(
        {"model": loaded.sha256, "members": members, "seed": SEED, "tables": content}, out / "phantoms.json"
    )


if __name__ == "__main__":
    typer.run(main)
