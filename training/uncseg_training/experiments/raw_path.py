"""What the way from raw images costs: ``python -m uncseg_training.experiments.raw_path HEADS -o OUT``.

Phantoms with a skull, four images on grids of their own of a head that moved between them, are prepared and predicted;
beside it the same images without any move and with the true mask of the brain. Told is the Dice of WT, TC and ET of
both, and what is lost, of all phantoms and of those that stand out of the brain round them as the tumours of patients
do: what a network makes of a fainter one is chance either way. Each phantom is kept when it is done, so that a run goes
on.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy import ndimage

from napari_uncseg.arrays import Floats32, Labels, Mask
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import three, voxel_ml
from napari_uncseg.io.loading import PREPARATION_SUFFIX, load_study
from napari_uncseg.io.nifti import write_volume
from napari_uncseg.io.study import z_scores
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.metrics.surface import hd95
from napari_uncseg.models.model import load_model
from napari_uncseg.preparation.brain_network import load_brain_network
from napari_uncseg.preparation.registration import Matrix, on_grid_of
from uncseg_training.brain.heads import Head, load_heads
from uncseg_training.brain.phantoms import make_phantom, rigid
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.registration import surface_error, surface_of
from uncseg_training.experiments.studies import region_dice

AIM = 0.02
"""Dice of WT that the raw path may lose in the mean."""

FAINTEST = 1.0
"""Step of a patient's tumour in FLAIR or T2w, in standard deviations of the brain: the least of 46 gliomas is 1.05."""


def draw_moves(seed: int) -> dict[str, Matrix]:
    """Moves of a patient between sequences: some millimetres and degrees, now and then many."""
    random = np.random.default_rng(seed)
    moves = {}
    for role in MODALITIES[1:]:
        size = random.choice([0.2, 1.0, 3.0])
        moves[role] = rigid(size * random.normal(0, 3, 3), size * random.normal(0, 3, 3))
    return moves


def step(images: Floats32, labels: Labels, brain: Mask, spacing: float) -> float:
    """How far a tumour stands out in FLAIR or T2w, whichever is more, in standard deviations of the brain.

    Medians, at about 2 mm: from 3 mm within the whole tumour to the brain 4 to 14 mm round it; NaN for a thin one.
    """
    every = max(1, round(2 / spacing))
    whole, brain_there = (mask[::every, ::every, ::every] for mask in (labels > 0, brain))
    size = spacing * every
    inner = ndimage.distance_transform_edt(whole) * size > 3
    away = ndimage.distance_transform_edt(~whole) * size
    near = (away > 4) & (away < 14) & brain_there
    if not (inner.any() and near.any()):
        return float("nan")
    scores = [ndimage.uniform_filter(z_scores(image, brain), every)[::every, ::every, ::every] for image in images[2:]]
    return max(float(np.median(image[inner]) - np.median(image[near])) for image in scores)


def prepared(scans: Path, study: Path) -> Row:
    """What ``uncseg prepare`` tells of a study, run as a user does: the training knows nothing of its pages."""
    words = ["-m", "napari_uncseg.cli.app", "prepare", str(scans), "-o", str(study), "--id", "phantom"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"uncseg prepare failed: {done.stderr.strip()}")
    told: Row = json.loads((study / f"phantom{PREPARATION_SUFFIX}").read_text())
    return told


def judge(head: Head, number: int, predictor: Predictor) -> Row:
    """Both ways of one phantom."""
    made, moves = make_phantom(head, 5_000_000 + number), draw_moves(number)
    raw, shape = made.raw(moves), three(made.labels.shape)
    row: Row = {"tumour mL": round(float((made.labels > 0).sum()) * voxel_ml(made.affine), 1)}
    row["step"] = harness.rounded(step(made.images, made.labels, made.brain, geometry.spacing(made.affine)[0]), 2)
    with tempfile.TemporaryDirectory(prefix="uncseg-") as folder:
        for role, scan in raw.scans.items():
            write_volume(Path(folder, "scans", f"phantom-{role}.nii.gz"), scan.values, scan.affine)
        told = prepared(Path(folder, "scans"), Path(folder, "raw"))
        for role, scan in raw.scans.items():
            matrix = moves.get(role, np.eye(4))
            image = on_grid_of(scan.values, scan.affine, matrix, shape, made.affine, 0.0)
            write_volume(
                Path(folder, "perfect", f"perfect-{role}.nii.gz"),
                np.where(made.brain, image, np.float32(0)),
                made.affine,
            )
        for name, source in (("raw", Path(folder, "raw")), ("perfect", Path(folder, "perfect"))):
            study = load_study(source)
            found = predictor.predict(study).segmentation
            scores = region_dice(found, made.labels, voxel_ml(made.affine))
            row |= {f"{region} {name}": harness.rounded(value) for region, value in scores.items()}
            if name == "raw":
                row["mask Dice"] = harness.rounded(dice(study.brain, made.brain))
                row["mask HD95 mm"] = harness.rounded(hd95(study.brain, made.brain, study.spacing))
                row["tumour kept"] = harness.rounded(float(study.brain[made.labels > 0].mean()))
    error = max(
        surface_error(
            np.array(told["registration"][role]["t1c_mm_to_image_mm"]), move, surface_of(made.brain, made.affine)
        )
        for role, move in moves.items()
    )
    row["registration error mm"] = round(error, 3)
    return row | {"reasons": [reason["code"] for reason in told["needs_review"]]}


@harness.experiment
def main(
    heads: Annotated[Path, typer.Argument(help="File heads.npz of the run of uncseg-train brain.")],
    out: harness.Out,
    count: Annotated[int, typer.Option("-n", "--count", help="How many phantoms.")] = 10,
    model: harness.ModelOption = None,
    device: harness.Device = "auto",
    minutes: harness.Minutes = None,
) -> None:
    """Predict phantoms with a skull by the raw path, and from a perfect preparation."""
    clock, predictor = harness.Clock(minutes), Predictor(load_model(model), device=device)
    seen = load_brain_network().trained_on
    unseen = [head for head in load_heads(heads) if head.name not in seen]
    if not unseen:
        raise ValueError(f"{heads} holds no head that the brain network was not trained on; give other heads.")
    rows = []
    for number in range(count):
        clock.check()
        one = partial(judge, unseen[number % len(unseen)], number, predictor)
        row = harness.kept(out / "studies" / f"{number:03d}.json", one)
        rows.append({"phantom": number, **row})
        typer.echo(" ".join(f"{key} {value}" for key, value in rows[-1].items()))
    frame = pd.DataFrame(rows)
    lost: list[Row] = []
    faint = frame["step"].astype(float) < FAINTEST
    for region, (what, part) in itertools.product(REGIONS, (("all", frame), ("as in patients", frame[~faint]))):
        pair = part[[f"{region} raw", f"{region} perfect"]].astype(float).dropna()
        difference = pair.iloc[:, 1] - pair.iloc[:, 0]
        lost.append(
            {
                "region": str(region),
                "tumours": what,
                "phantoms": len(pair),
                "raw path": harness.rounded(float(pair.iloc[:, 0].mean())),
                "perfect": harness.rounded(float(pair.iloc[:, 1].mean())),
                "lost": harness.interval(difference),
            }
        )
    harness.write_table(rows, out / "raw_path_studies", "The raw path, phantom by phantom")
    harness.write_table(lost, out / "raw_path", "Dice after the raw path and after a perfect preparation")
    harness.write_json({"aim": AIM, "rows": rows, "lost": lost}, out / "raw_path.json")


if __name__ == "__main__":
    typer.run(main)
