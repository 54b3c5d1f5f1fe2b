"""What the glance at the input finds: ``python -m uncseg_training.experiments.input_checks STUDIES -o OUT``.

Every study is looked at as it is, and once with each fault put in; faults with a size are put in at several sizes, in a
direction drawn at random. Two tables: studies in which each check raises an alarm although nothing was put in, and the
share of faults that are found, by size, with the size at which half are.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import typer
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_uncseg.inference.input_checks import check_input
from napari_uncseg.io.study import Study
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row

T1C, T1N, T2F, T2W = range(4)
SHIFTS_MM, TURNS_DEGREES, SLICES_MM = (2, 3, 4, 6), (2, 3, 4, 6), (4, 6, 8, 10)
MISSING, SCALES, RECOMPRESSED = (0.02, 0.05, 0.1, 0.3), (0.5, 0.7, 1.3), (1, 4)

Images = npt.NDArray[np.float32]
Random = np.random.Generator


def shifted(image: Images, study: Study, mm: float, random: Random) -> Images:
    """An image moved in a direction drawn at random; the brain mask stays where it is."""
    way = random.normal(size=3)
    voxels = mm * way / np.linalg.norm(way) / study.spacing
    return np.asarray(ndimage.shift(image, voxels, order=1, mode="nearest") * study.brain, np.float32)


def turned(image: Images, study: Study, degrees: float, random: Random) -> Images:
    """An image turned about an axis drawn at random, through the middle of the brain."""
    way = random.normal(size=3)
    matrix = Rotation.from_rotvec(np.radians(degrees) * way / np.linalg.norm(way)).as_matrix()
    centre = np.argwhere(study.brain[::4, ::4, ::4]).mean(0) * 4
    moved = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="nearest")
    return np.asarray(moved * study.brain, np.float32)


def thick(image: Images, study: Study, mm: float, random: Random) -> Images:
    """An image in slices of so many mm along an axis drawn at random, interpolated back."""
    axis = int(random.integers(3))
    count = max(2, round(mm / study.spacing[axis]))
    values = np.moveaxis(image, axis, 0)
    slices = np.stack([part.mean(0) for part in np.array_split(values, max(2, len(values) // count))])
    back = ndimage.zoom(slices, (len(values) / len(slices), 1, 1), order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.moveaxis(back, 0, axis) * study.brain, np.float32)


def cut(image: Images, study: Study, share: float, random: Random) -> Images:
    """An image that lacks so much of the brain, beyond a plane across an axis drawn at random."""
    axis = int(random.integers(3))
    extent = np.cumsum(study.brain.sum(tuple(each for each in range(3) if each != axis)))
    place = int(np.searchsorted(extent, share * extent[-1]))
    found = image.copy()
    np.moveaxis(found, axis, 0)[: place + 1] = 0
    return found


def faults(study: Study, random: Random) -> Iterator[tuple[str, str, float, Study]]:
    """Studies with a fault put in: the code that should be raised, what was done, its size, and the study."""

    def changed(index: int, image: Images) -> Study:
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
    sized: list[tuple[str, str, tuple[float, ...], Callable[[Images, Study, float, Random], Images], int]] = [
        ("not_registered", "shifted, mm", SHIFTS_MM, shifted, moved),
        ("not_registered", "turned, degrees", TURNS_DEGREES, turned, moved),
        ("thick_slices", "slices, mm", SLICES_MM, thick, int(random.integers(4))),
        ("incomplete_modality", "share missing", MISSING, cut, int(random.integers(4))),
    ]
    for code, what, sizes, put_in, index in sized:
        for size in sizes:
            yield code, what, size, changed(index, put_in(study.images[index], study, size, random))
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


@harness.experiment
def main(folders: harness.StudyFolders, out: harness.Out) -> None:
    """Count alarms of studies as they are, and faults that are found."""
    random, seconds = np.random.default_rng(0), []
    alarms: dict[str, list[str]] = defaultdict(list)
    found: dict[tuple[str, str], dict[float, list[bool]]] = defaultdict(lambda: defaultdict(list))
    count = 0
    for folder in folders:
        for study in harness.usable(folder):
            count, started = count + 1, time.perf_counter()
            reasons = check_input(study)
            seconds.append(time.perf_counter() - started)
            usual = {reason.code for reason in reasons}
            for code in usual:
                alarms[code].append(study.id)
            for code, what, size, faulty in faults(study, random):
                # An alarm that the study raises by itself finds nothing.
                found[code, what][size].append(code in {each.code for each in check_input(faulty)} - usual)
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
    harness.write_json(told | {"faults": table}, out / "input_checks.json")


if __name__ == "__main__":
    typer.run(main)
