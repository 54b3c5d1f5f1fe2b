"""What the glance at the input finds: ``python -m uncseg_training.experiments.input_checks STUDIES -o OUT``.

Every study is looked at as it is, and once with each fault put in; faults with a size are put in at several sizes, in a
direction drawn at random. What is found of each study is kept, so that a command that was cut goes on. Two tables:
studies in which each check raises an alarm although nothing was put in, and the share of faults that are found, by
size, with the size at which half are. Beside them ``familiar.json``, the ranges of what images look like, which the
package brings along, and the studies that lie outside of the others' ranges.
"""

from __future__ import annotations

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import typer
from numpy.random import Generator
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_uncseg.arrays import Floats32
from napari_uncseg.inference import familiar
from napari_uncseg.inference.input_checks import Glance, check_input
from napari_uncseg.io.study import Study
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.studies import usable

T1C, T1N, T2F, T2W = range(4)
SHIFTS_MM, TURNS_DEGREES, SLICES_MM = (2, 3, 4, 6), (2, 3, 4, 6), (4, 6, 8, 10)
GAMMAS, CLIPPED, LEVELS, NOISE, BLUR_MM = (2, 4), (0.9, 0.75, 0.6), (8, 4, 2), (0.1, 0.3, 1), (3, 4, 8)
MISSING, SCALES, RECOMPRESSED = (0.02, 0.05, 0.1, 0.3), (0.5, 0.7, 1.3), (1, 4)


def shifted(image: Floats32, study: Study, mm: float, random: Generator) -> Floats32:
    """An image moved in a direction drawn at random; the brain mask stays where it is."""
    way = random.normal(size=3)
    voxels = mm * way / np.linalg.norm(way) / study.spacing
    return np.asarray(ndimage.shift(image, voxels, order=1, mode="nearest") * study.brain, np.float32)


def turned(image: Floats32, study: Study, degrees: float, random: Generator) -> Floats32:
    """An image turned about an axis drawn at random, through the middle of the brain."""
    way = random.normal(size=3)
    matrix = Rotation.from_rotvec(np.radians(degrees) * way / np.linalg.norm(way)).as_matrix()
    centre = np.argwhere(study.brain[::4, ::4, ::4]).mean(0) * 4
    moved = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="nearest")
    return np.asarray(moved * study.brain, np.float32)


def thick(image: Floats32, study: Study, mm: float, random: Generator) -> Floats32:
    """An image in slices of so many mm along an axis drawn at random, interpolated back."""
    axis = int(random.integers(3))
    count = max(2, round(mm / study.spacing[axis]))
    values = np.moveaxis(image, axis, 0)
    slices = np.stack([part.mean(0) for part in np.array_split(values, max(2, len(values) // count))])
    back = ndimage.zoom(slices, (len(values) / len(slices), 1, 1), order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.moveaxis(back, 0, axis) * study.brain, np.float32)


def cut(image: Floats32, study: Study, share: float, random: Generator) -> Floats32:
    """An image that lacks so much of the brain, beyond a plane across an axis drawn at random."""
    axis = int(random.integers(3))
    extent = np.cumsum(study.brain.sum(tuple(each for each in range(3) if each != axis)))
    place = int(np.searchsorted(extent, share * extent[-1]))
    found = image.copy()
    np.moveaxis(found, axis, 0)[: place + 1] = 0
    return found


def _bent(change: Callable[[Floats32, float], Floats32]) -> Callable[[Floats32, Study, float, Generator], Floats32]:
    """A change of grey levels that lie between 0 and 1."""

    def put_in(image: Floats32, study: Study, size: float, random: Generator) -> Floats32:
        low, high = np.percentile(image[study.brain], (0.1, 99.9))
        level = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
        return np.asarray(change(level, size) * study.brain, np.float32)

    return put_in


def clipped(image: Floats32, study: Study, share: float, random: Generator) -> Floats32:
    """An image without what is brighter than this share of the brain."""
    return np.asarray(np.minimum(image, np.quantile(image[study.brain], share)), np.float32)


def noisy(image: Floats32, study: Study, size: float, random: Generator) -> Floats32:
    """An image with noise of so many times the extent of the middle half of its values."""
    low, high = np.percentile(image[study.brain], (25, 75))
    return np.asarray((image + random.normal(0, size * (high - low), image.shape)) * study.brain, np.float32)


def blurred(image: Floats32, study: Study, mm: float, random: Generator) -> Floats32:
    """An image blurred by a Gaussian of this full width at half maximum."""
    return np.asarray(ndimage.gaussian_filter(image, mm / 2.355 / np.array(study.spacing)) * study.brain, np.float32)


UNFAMILIAR: tuple[tuple[str, tuple[float, ...], Callable[[Floats32, Study, float, Generator], Floats32]], ...] = (
    ("inverted", (0,), _bent(lambda level, _: 1 - level)),
    ("gamma", GAMMAS, _bent(lambda level, gamma: level**gamma)),
    ("grey levels left", LEVELS, _bent(lambda level, count: np.floor(level * count) / count)),
    ("brightest share kept", CLIPPED, clipped),
    ("noise, middle halves", NOISE, noisy),
    ("blurred, mm", BLUR_MM, blurred),
)
"""Images that no training holds: what is done, sizes, and how."""


def faults(study: Study, random: Generator) -> Iterator[tuple[str, str, float, Study]]:
    """Studies with a fault put in: the code that should be raised, what was done, its size, and the study."""

    def changed(index: int, image: Floats32) -> Study:
        images = study.images.copy()
        images[index] = image
        return replace(study, images=images)

    def swapped(first: int, second: int) -> Study:
        order = list(range(4))
        order[first], order[second] = second, first
        return replace(study, images=study.images[order])

    yield "modalities_swapped", "FLAIR and T2w swapped", 0, swapped(T2F, T2W)
    yield "modalities_swapped", "T1c and T1n swapped", 0, swapped(T1C, T1N)
    first, second = random.choice(4, 2, replace=False)
    yield "same_image_twice", "one image twice", 0, changed(first, study.images[second])
    rescaled = study.images[second] * np.float32(0.37) + np.float32(11) * study.brain
    yield "same_image_twice", "one image twice, rescaled", 0, changed(first, rescaled)
    levels = max(float(np.ptp(study.images[second])) / 255, 1e-6)
    coarse = np.round(study.images[second] / levels) * levels + random.normal(0, 2 * levels, study.shape) * study.brain
    yield "same_image_twice", "one image twice, in 8 bits and with noise", 0, changed(first, coarse.astype(np.float32))
    moved = int(random.integers(1, 4))
    sized: list[tuple[str, str, tuple[float, ...], Callable[[Floats32, Study, float, Generator], Floats32], int]] = [
        ("not_registered", "shifted, mm", SHIFTS_MM, shifted, moved),
        ("not_registered", "turned, degrees", TURNS_DEGREES, turned, moved),
        ("thick_slices", "slices, mm", SLICES_MM, thick, int(random.integers(4))),
        ("incomplete_modality", "share missing", MISSING, cut, int(random.integers(4))),
    ]
    for code, what, sizes, put_in, index in sized:
        for size in sizes:
            yield code, what, size, changed(index, put_in(study.images[index], study, size, random))
    for what, wrong_by, put_in in UNFAMILIAR:
        index = int(random.integers(4))
        for size in wrong_by:
            yield "unfamiliar_input", what, size, changed(index, put_in(study.images[index], study, size, random))
    for scale in SCALES:
        affine = study.affine.copy()
        affine[:3, :3] *= scale
        yield "brain_size", "voxels too small or too large, times", scale, replace(study, affine=affine)


def half_found(shares: dict[float, float]) -> float | None:
    """Size at which half of the faults are found, linear between the sizes tried; None when it lies outside of them."""
    sizes = sorted(shares)
    for low, high in pairwise(sizes):
        if shares[low] < 0.5 <= shares[high]:
            return round(low + (0.5 - shares[low]) / (shares[high] - shares[low]) * (high - low), 2)
    return None


def _far_from_others(name: str, look: dict[str, float], looks: dict[str, dict[str, float]]) -> bool:
    """Whether a study would raise an alarm if it had not been among those that the ranges are of."""
    others = familiar.ranges_of(each for other, each in looks.items() if other != name)
    return max(familiar.distances(look, others).values()) > familiar.MARGIN


def looked_at(study: Study) -> dict[str, Any]:
    """What is kept of a study: alarms as it is, how long that took, what its images look like, and faults found."""
    started = time.perf_counter()
    usual = {reason.code for reason in check_input(study)}
    seconds, glance = time.perf_counter() - started, Glance.of(study)
    found: list[tuple[str, str, float, bool]] = []
    for code, what, size, faulty in faults(study, np.random.default_rng(zlib.crc32(study.id.encode()))):
        # An alarm that the study raises by itself finds nothing.
        raised = {each.code for each in check_input(faulty)} - usual
        # An image that looks like none may also be told by what else is wrong with it.
        found.append((code, what, size, bool(raised) if code == "unfamiliar_input" else code in raised))
    look = familiar.features(study, glance.images, glance.brain)
    return {"alarms": sorted(usual), "seconds": seconds, "look": look, "faults": found}


@harness.experiment
def main(folders: harness.StudyFolders, out: harness.Out, minutes: harness.Minutes = None) -> None:
    """Count alarms of studies as they are, and faults that are found."""
    clock, records = harness.Clock(minutes), dict[str, dict[str, Any]]()
    for study in (study for folder in folders for study in usable(folder)):
        clock.check()
        records[study.id] = harness.kept(out / "records" / f"{study.id}.json", partial(looked_at, study))
    count, seconds = len(records), [record["seconds"] for record in records.values()]
    looks = {name: record["look"] for name, record in records.items()}
    alarms: dict[str, list[str]] = defaultdict(list)
    found: dict[tuple[str, str], dict[float, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for name, record in records.items():
        for code in record["alarms"]:
            alarms[code].append(name)
        for code, what, size, hit in record["faults"]:
            found[code, what][size].append(hit)
    alarmed = sorted({name for names in alarms.values() for name in names})
    rows: list[Row] = [{"check": code, "studies": ", ".join(names)} for code, names in sorted(alarms.items())]
    rows.append({"check": "any", "studies": f"{len(alarmed)} of {count}"})
    harness.write_table(rows, out / "alarms", f"Alarms of {count} studies as they are")
    table: list[Row] = []
    for (code, what), sizes in found.items():
        shares = {size: float(np.mean(hits)) for size, hits in sizes.items()}
        words = ", ".join(f"{size:g}: {share:.2f}" if size else f"{share:.2f}" for size, share in shares.items())
        table.append({"check": code, "fault": what, "found": words, "half found at": half_found(shares)})
    harness.write_table(table, out / "faults", f"Faults put into {count} studies, share found")
    typer.echo((out / "alarms.md").read_text() + "\n" + (out / "faults.md").read_text())
    typer.echo(f"median {np.median(seconds):.2f} s a study")
    told: dict[str, Any] = {"studies": count, "seconds": round(float(np.median(seconds)), 3), "alarms": dict(alarms)}
    far = [name for name, look in looks.items() if count > 1 and _far_from_others(name, look, looks)]
    typer.echo(f"{len(far)} of {count} are unlike all the others: {', '.join(far) or 'none'}")
    harness.write_json(told | {"faults": table, "unlike_the_others": far}, out / "input_checks.json")
    ranges = {name: [round(low, 4), round(high, 4)] for name, (low, high) in familiar.ranges_of(looks.values()).items()}
    harness.write_json({"studies": count, "ranges": ranges}, out / "familiar.json")


if __name__ == "__main__":
    typer.run(main)
