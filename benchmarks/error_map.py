"""Disk and time of the error maps of a training, extrapolated to a BraTS cohort, beside plain arrays.

    python benchmarks/error_map.py [-n 8] [--visits 30] [--studies FOLDER]

The cohort is made up: tumours of the volumes of BraTS (median 90 mL, log-normal) with a rough border, or the references
of a folder of studies, on the grid of BraTS. Each visit predicts them with a border that is displaced by smooth fields,
one the same at every visit and one drawn anew, and adds false alarms; the first visits, of a network that has learnt
little, are four times as wrong as the last. The peers, in the same run, are float16 as it is and numpy's
``savez_compressed`` of it, which cannot be read in part.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_uncseg.metrics.morphology import bounding_box
from uncseg_training.data.case_manifest import preprocessing_hash
from uncseg_training.data.case_maps import Maps
from uncseg_training.paper1.error_map import ErrorMaps, compute_prediction_error_probability

SHAPE = (240, 240, 155)
PATCH = 128
COHORT = 1248
TARGET_GB = 0.6

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def field(shape: tuple[int, ...], smooth: float, random: np.random.Generator) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1."""
    coarse = [max(2, round(2 * size / smooth)) for size in shape]
    noise = ndimage.zoom(random.standard_normal(coarse, dtype=np.float32), np.divide(shape, coarse), order=1)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def made_up_tumour(random: np.random.Generator) -> Bools:
    """A tumour in its box, with room for a displaced border."""
    radius = (random.lognormal(np.log(90_000), 0.7) * 3 / (4 * np.pi)) ** (1 / 3)
    size = min(int(2 * radius * 1.7) + 24, min(SHAPE))
    at = np.linspace(-size / 2, size / 2, size, dtype=np.float32)
    stretch = random.uniform(0.8, 1.25, 3)
    distance = np.sqrt(
        sum((axis / s) ** 2 for axis, s in zip(np.meshgrid(at, at, at, indexing="ij"), stretch, strict=True))
    )
    shape = (size, size, size)
    return np.asarray(distance + 0.2 * radius * field(shape, radius, random) + field(shape, 4, random) < radius)


def tumours(count: int, folder: Path | None, random: np.random.Generator) -> Iterator[Bools]:
    """Made-up tumours, or those of a folder of studies, cut out with a margin."""
    if folder is None:
        yield from (made_up_tumour(random) for _ in range(count))
        return
    for path in sorted(folder.rglob("*-seg.nii.gz"))[:count]:
        labels = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj) > 0
        box = bounding_box(labels) or (slice(0, 24),) * 3
        yield np.pad(labels[box], 12)[tuple(slice(0, size) for size in SHAPE)]


def failures(tumour: Bools, count: int, random: np.random.Generator) -> Iterator[Bools]:
    """Where each visit's prediction differs from the tumour."""
    distance = (ndimage.distance_transform_edt(tumour) - ndimage.distance_transform_edt(~tumour)).astype(np.float32)
    bias = field(tumour.shape, 10, random)
    for worse in np.geomspace(4, 1, count):
        shift = worse * (bias + field(tumour.shape, 6, random)) + 0.5 * field(tumour.shape, 2, random)
        prediction = distance + shift > 0
        for _ in range(int(random.poisson(0.5 * worse))):
            edge = int(random.integers(2, 12))
            corner = [int(random.integers(0, max(1, size - edge))) for size in tumour.shape]
            prediction[tuple(slice(start, start + edge) for start in corner)] = True
        yield prediction ^ tumour


def visited(tumour: Bools, visits: int, random: np.random.Generator) -> tuple[Floats, Bools]:
    """Error map of a tumour's box after all visits but the last, and the failure of the last."""
    *before, last = failures(tumour, visits, random)
    error: Floats = np.zeros(tumour.shape, np.float32)
    count: npt.NDArray[np.integer[Any]] = np.zeros(tumour.shape, np.uint16)
    for failure in before:
        error, count = compute_prediction_error_probability(failure, error, count)
    return error, last


@dataclass(frozen=True)
class Measured:
    """One case: part of its voxels that is not 0, bytes in the store and zipped, seconds of an update and of a read."""

    filled: float
    stored: int
    zipped: int
    update: float
    read: float


def measure(maps: ErrorMaps, case: str, tumour: Bools, visits: int, random: np.random.Generator) -> Measured:
    starts = [int(random.integers(0, size - part + 1)) for size, part in zip(SHAPE, tumour.shape, strict=True)]
    place = tuple(slice(start, start + part) for start, part in zip(starts, tumour.shape, strict=True))
    # All visits but the last in the tumour's box alone, where the failures are: the same map, much sooner.
    before, last = np.zeros((1, *SHAPE), np.float32), np.zeros(SHAPE, bool)
    before[0][place], last[place] = visited(tumour, visits, random)
    maps.store.write(case, Maps(before, np.full(SHAPE, visits - 1, np.uint16)), 0)
    update = seconds(lambda: maps.update(case, last, 1))
    box = [(start, start + PATCH) for start in starts]
    read = seconds(lambda: maps.patch(case, box))
    error, packed = maps.read(case).error, io.BytesIO()
    np.savez_compressed(packed, error.astype(np.float16))
    filled = float((error > 0).mean())
    return Measured(filled, maps.store.sizes()[case], packed.getbuffer().nbytes, update, read)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=8, help="cases to measure")
    parser.add_argument("--visits", type=int, default=30, help="of each case")
    parser.add_argument("--studies", type=Path, help="folder of studies whose references are the tumours")
    options = parser.parse_args()
    random, found = np.random.default_rng(0), list[Measured]()
    cohort = {f"case{number:03}": item for number, item in enumerate(tumours(options.n, options.studies, random))}
    with tempfile.TemporaryDirectory() as folder:
        maps = ErrorMaps.create(Path(folder), dict.fromkeys(cohort, SHAPE), preprocessing_hash({}))
        for case, tumour in cohort.items():
            one = measure(maps, case, tumour, options.visits, random)
            found.append(one)
            volume, filled, size = tumour.sum() / 1000, 100 * one.filled, one.stored / 1e6
            print(f"{case}   {volume:6.1f} mL   {filled:5.2f} % not 0   {size:6.3f} MB", flush=True)
    sizes, raw = [one.stored for one in found], 2 * COHORT * np.prod(SHAPE)
    per_case, deviation = statistics.mean(sizes), statistics.stdev(sizes) if len(sizes) > 1 else float("nan")
    total = COHORT * per_case
    held = total <= TARGET_GB * 1e9
    filled = 100 * statistics.mean(one.filled for one in found)
    print(f"{len(found)} cases, {options.visits} visits each; {filled:.2f} % of voxels not 0")
    print(f"a case       {per_case / 1e6:7.3f} MB (sd {deviation / 1e6:.3f}), visits included")
    for name, size in (("float16", raw / COHORT), ("zipped", statistics.mean(one.zipped for one in found))):
        print(f"   {name:<9} {size / 1e6:7.3f} MB   {size / per_case:6.2f} times as much")
    verdict = f"target {TARGET_GB:g}: {'held' if held else 'MISSED'}"
    print(f"{COHORT} cases   {total / 1e9:7.3f} GB (float16: {raw / 1e9:.1f} GB)   {verdict}")
    print(f"update of a whole volume {statistics.median(one.update for one in found):6.3f} s (median)")
    print(f"patch of {PATCH}³            {statistics.median(one.read for one in found):6.3f} s (median)")
    return int(not held)


if __name__ == "__main__":
    raise SystemExit(main())
