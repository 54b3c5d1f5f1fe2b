"""How good masks of the brain are: ``python -m uncseg_training.experiments.brain HEADS -o OUT [--open-ms FOLDER]``.

Three kinds of heads that the network was not trained on: label maps in random contrasts, phantoms with a tumour in the
four contrasts of a study, and real scans with a published mask. Told are Dice, sensitivity and HD95, the share of the
tumour that the mask keeps, and the seconds of each. HD-BET is judged beside it where it is installed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.nn import functional as F

from napari_uncseg.arrays import Floats32, Floats64, Mask
from napari_uncseg.errors import NoBrainMask
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import three
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.labels import MODALITIES
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.metrics.surface import hd95
from napari_uncseg.preparation.brain import BUNDLED, Extractor, Method, find_extractor
from napari_uncseg.preparation.brain_network import load_brain_network, signed_distance
from napari_uncseg.preparation.registration import on_grid_of
from uncseg_training.brain.heads import SPACING, Head, load_heads
from uncseg_training.brain.images import draw
from uncseg_training.brain.phantoms import centred, make_phantom
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.open_ms import FLAIR, read_visits

AIMS = {"Dice": 0.95, "sensitivity": 0.985, "HD95 mm": 5.0}

FIELD = (96, 112, 112)
"""Voxels of an image in a random contrast."""

MIDDLE_MM, TISSUE = 8.0, (0.7, 1.6)
"""How deep the middle of a brain begins, and how bright tissue is in FLAIR beside its median."""

Case = tuple[str, str, Floats32, Floats64, Mask, Mask]
"""Kind, name, images (n, x, y, z), affine, true mask and tumour."""


def drawn(heads: list[Head], count: int) -> Iterator[Case]:
    """Held-out label maps in random contrasts."""
    affine = centred((SPACING,) * 3, FIELD, (0, 0, 0))
    for number in range(count):
        sample = draw(heads[number % len(heads)], FIELD, 9_000_000_011 + number)
        distance = F.interpolate(sample.distance[None, None], scale_factor=2, mode="trilinear")[0, 0]
        yield (
            "random contrast",
            f"{number}",
            sample.image.numpy()[None],
            affine,
            (distance < 0).numpy(),
            sample.tumour.numpy(),
        )


def phantoms(heads: list[Head], count: int) -> Iterator[Case]:
    """Phantoms with a tumour, in each of the four contrasts and in all of them together."""
    for number in range(count):
        made = make_phantom(heads[number % len(heads)], 8_000_000 + number)
        for role, image in zip(MODALITIES, made.images, strict=True):
            yield "phantom", f"{number} {role}", image[None], made.affine, made.brain, made.labels > 0
        yield "phantom, four images", f"{number}", made.images, made.affine, made.brain, made.labels > 0


def real(folder: Path) -> Iterator[Case]:
    """Real scans: folders that hold ``mask.nii.gz`` and images in its space, on any grid."""
    for path in sorted(folder.glob("*/mask.nii.gz")):
        published = read_volume(path)
        whole = (published.values() > 0).astype(np.uint8)
        for scan in sorted(path.parent.glob("*.nii.gz")):
            if scan != path:
                volume = read_volume(scan)
                values = np.asarray(volume.values(), np.float32)
                mask = geometry.resample(whole, published.affine, three(values.shape), volume.affine, order="nearest")
                name = f"{path.parent.name} {scan.name.removesuffix('.nii.gz')}"
                yield "real", name, values[None], volume.affine, np.asarray(mask, bool), np.zeros(values.shape, bool)


def visits(folder: Path) -> Iterator[Case]:
    """Scans of open_ms_data, each alone, and those of a visit together on FLAIR's grid, as preparation has them."""
    for visit in read_visits(folder):
        for name, scan in visit.scans.items():
            outside = np.zeros(scan.shape, bool)
            yield "open_ms_data", f"{visit.name} {name}", scan.values[None], scan.affine, visit.brain(name), outside
        first = visit.scans.get(FLAIR)
        if first is None or len(visit.scans) < 2:
            continue
        images = [
            on_grid_of(scan.values, scan.affine, visit.published[name], first.shape, first.affine, 0.0)
            for name, scan in visit.scans.items()
        ]
        what = ("open_ms_data, visits", visit.name)
        yield (*what, np.stack(images), first.affine, visit.brain(FLAIR), np.zeros(first.shape, bool))


def judge(find: Extractor, case: Case) -> Row:
    """One mask beside the true one."""
    kind, name, images, affine, truth, tumour = case
    start = time.perf_counter()
    try:
        found = find(images, affine, None)
    except NoBrainMask:
        found = np.zeros(truth.shape, bool)
    seconds = time.perf_counter() - start
    kept = float(found[tumour].mean()) if tumour.any() else float("nan")
    numbers = {
        "Dice": dice(found, truth),
        "sensitivity": float(found[truth].mean()),
        "tissue kept": float("nan"),
        "HD95 mm": hd95(found, truth, geometry.spacing(affine)),
        "tumour kept": kept,
        "seconds": seconds,
    }
    if kind in ("real", "open_ms_data", "open_ms_data, visits") and (name.endswith((FLAIR, "t2f")) or len(images) > 1):
        numbers["tissue kept"] = tissue_kept(found, truth, images[0], geometry.spacing(affine))
    return {"kind": kind, "name": name, **{key: harness.rounded(value) for key, value in numbers.items()}}


def tissue_kept(found: Mask, truth: Mask, flair: Floats32, spacing: tuple[float, float, float]) -> float:
    """Sensitivity in those voxels of a published mask that are about as bright in FLAIR as the brain's middle.

    Fluid, bone and air that a mask holds are darker, fat is brighter; both are no brain by anybody's definition.
    """
    middle = float(np.median(flair[signed_distance(truth, spacing) < -MIDDLE_MM]))
    tissue = truth & (flair > TISSUE[0] * middle) & (flair < TISSUE[1] * middle)
    return float(found[tissue].mean())


def summary(rows: list[Row]) -> list[Row]:
    """Per kind and method: mean, the worst, and how many reach all aims."""
    told: list[Row] = []
    for kind, method in dict.fromkeys((row["kind"], row["method"]) for row in rows):
        part = [row for row in rows if (row["kind"], row["method"]) == (kind, method)]
        line: dict[str, Any] = {"kind": kind, "method": method, "images": len(part)}
        for key in (*AIMS, "tissue kept", "tumour kept"):
            values = [row[key] for row in part if row[key] is not None]
            if values:
                worst = max(values) if key.startswith("HD95") else min(values)
                line |= {key: f"{np.mean(values):.3f}", f"worst {key}": f"{worst:.3f}"}
        told.append(line)
    keys = list(dict.fromkeys(key for line in told for key in line))
    return [{key: line.get(key) for key in keys} for line in told]


@harness.experiment
def main(
    heads: Annotated[Path, typer.Argument(help="File heads.npz of the run of uncseg-train brain.")],
    out: harness.Out,
    weights: Annotated[Path, typer.Option(help="Weights to judge; the bundled ones when left out.")] = BUNDLED,
    scans: Annotated[
        Path | None, typer.Option("--real", help="Folder of folders with mask.nii.gz and images in its space.")
    ] = None,
    open_ms: Annotated[Path | None, typer.Option(help="Folder longitudinal of open_ms_data.")] = None,
    count: Annotated[int, typer.Option(help="Images in random contrasts.")] = 20,
    tumours: Annotated[int, typer.Option(help="Phantoms with a tumour, of four images each.")] = 5,
) -> None:
    """Judge masks of the brain on heads that nothing was trained on."""
    network = load_brain_network(weights)
    unseen = [head for head in load_heads(heads) if head.name not in network.trained_on]
    if not unseen:
        raise ValueError(f"{heads} holds no head that {weights} was not trained on; give other heads.")
    methods: dict[str, Extractor] = {"bundled": network.find}
    if shutil.which("hd-bet"):
        methods["HD-BET"] = find_extractor(Method.HD_BET)
    rows: list[Row] = []
    torch.set_num_threads(1)
    living = [*([real(scans)] if scans else []), *([visits(open_ms)] if open_ms else [])]
    for case in chain(drawn(unseen, count), phantoms(unseen, tumours), *living):
        for method, find in methods.items():
            if method == "bundled" or case[0].startswith(("real", "open_ms")):
                rows.append({"method": method, **judge(find, case)})
                typer.echo(" ".join(f"{key} {value}" for key, value in rows[-1].items()))
    harness.write_table(rows, out / "brain_images", "Masks of the brain, image by image")
    harness.write_table(summary(rows), out / "brain", "Masks of the brain")
    harness.write_json({"aims": AIMS, "weights": weights.name, "rows": rows}, out / "brain.json")


if __name__ == "__main__":
    typer.run(main)
