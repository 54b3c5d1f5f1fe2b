"""Time and memory of the metrics of one study of 240x240x155 voxels, against their peers.

    python benchmarks/metrics.py [--no-peer] [--no-distances]

Ours is what an evaluation does with a study that is loaded: histogram metrics for three regions and all their maps on
brain, tumour and union; then Dice, HD95, lesions and correlations. The peers are scikit-learn on the same voxels and
QU-BraTS as it is defined, threshold after threshold; they run after ours in the same process and are not counted in
its memory. Ratios are of processor time, which a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from scipy import ndimage

from napari_uncseg.evaluation.calibration import ErrorCalibration, ProbabilityCalibration, ShellCalibration
from napari_uncseg.evaluation.case import Case, case_from_arrays, upper_bound
from napari_uncseg.evaluation.discrimination import Alignment, Discrimination, QUBraTS
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.overlap import Lesionwise2023, Overlap
from napari_uncseg.labels import REGIONS, Label, Region, labels_from_regions
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.measures import entropy

T = TypeVar("T")

SHAPE = (240, 240, 155)
SETS = (VoxelSet.BRAIN, VoxelSet.TUMOUR, VoxelSet.UNION)
TARGETS = {"histogram metrics": 3.0, "distance metrics": 10.0}
TARGET_GB = 1.5
FASTER_THAN_SCIKIT_LEARN = 10.0
FASTER_THAN_LOOP = 15.0


class Clock:
    """Seconds of named steps, on the wall and of the processor, and whether a target was missed."""

    def __init__(self) -> None:
        self.missed = False

    @contextmanager
    def __call__(self, step: str, target: float | None = None) -> Iterator[None]:
        """Measure the block as ``step``."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        held = None if target is None else wall <= target
        self.tell(f"{step:<42}{wall:8.3f} s   {processor:8.3f} s of the processor", held, target)

    def tell(self, line: str, held: bool | None, target: float | None) -> None:
        """Print a line, with its target and whether it was held."""
        self.missed |= held is False
        print(line if held is None else f"{line}   target {target:g}: {'held' if held else 'MISSED'}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-peer", action="store_true", help="measure ours alone")
    parser.add_argument("--no-distances", action="store_true", help="measure the histogram metrics alone")
    options = parser.parse_args()
    clock = Clock()
    arrays = made_up_arrays()
    print(f"{'peak memory before (arrays were made)':<42}{peak_gb():8.2f} GB")
    case = fresh(arrays)
    with clock("histogram metrics", TARGETS["histogram metrics"]):
        number = feed(histogram_metrics(case), case)
    print(f"   {number} values, {int(case.brain.sum()):,} voxels of brain of {case.brain.size:,}")
    if not options.no_distances:
        with clock("distance metrics", TARGETS["distance metrics"]):
            for step, metrics in distance_metrics(case).items():
                with clock(f"   {step}"):
                    feed(metrics, case)
    gb = peak_gb()
    clock.tell(f"{'peak memory':<42}{gb:8.2f} GB", gb <= TARGET_GB, TARGET_GB)
    if not options.no_peer:
        compare(clock, arrays)
    return int(clock.missed)


def histogram_metrics(case: Case) -> list[Metric]:
    """All that is read from histograms."""
    maps = [(name, region) for region in REGIONS for name in case.uncertainties(region)]
    metrics: list[Metric] = [Discrimination(name, region, one) for name, region in maps for one in SETS]
    metrics += [QUBraTS(name, region) for name, region in maps]
    metrics += [ProbabilityCalibration(region, one) for region in REGIONS for one in SETS]
    return metrics + [ErrorCalibration("unc_output", Region.WT, one) for one in SETS]


def distance_metrics(case: Case) -> dict[str, list[Metric]]:
    """All that needs distances, surfaces or lesions."""
    return {
        "Dice, HD95": [Overlap(region) for region in REGIONS],
        "lesions": [Lesionwise2023(region) for region in REGIONS],
        "correlation": [Alignment(name, region) for region in REGIONS for name in case.uncertainties(region)],
        "calibration by distance": [ShellCalibration(region) for region in REGIONS],
    }


def feed(metrics: list[Metric], case: Case) -> int:
    """Measure and read; gives the number of values."""
    for metric in metrics:
        metric.add(case)
    return sum(len(metric.per_case()) for metric in metrics)


def compare(clock: Clock, arrays: dict[str, Any]) -> None:
    """Ours and the peers, each from a case where nothing is computed yet but its voxel sets."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    def ranks(failure: np.ndarray, values: np.ndarray, chosen: list[np.ndarray]) -> list[tuple[float, float]]:
        voxels = ((failure[one], values[one]) for one in chosen)
        return [(roc_auc_score(*each), average_precision_score(*each)) for each in voxels]

    for sets in ((VoxelSet.ALL,), (VoxelSet.BRAIN,), SETS):
        case = fresh(arrays)
        chosen = [case.voxels(one, Region.WT) for one in (*sets, VoxelSet.TUMOUR)][: len(sets)]
        failure, values = case.failure(Region.WT), case.maps["entropy"]
        metrics = [Discrimination("entropy", Region.WT, one) for one in sets]
        ours, read = timed(partial(_numbers_of, metrics, case))
        peer, expected = timed(partial(ranks, failure, values, chosen))
        differences = [
            max(abs(one[name] - other[place]) for one, other in zip(read, expected, strict=True))
            for place, name in enumerate(("auroc", "auprc"))
        ]
        print(
            f"AUROC and AUPRC, {', '.join(sets)}: {ours:.3f} s, scikit-learn {peer:.3f} s; differences "
            f"{differences[0]:.1e}, {differences[1]:.1e}"
        )
        ratio = peer / ours
        clock.tell(f"   times as fast: {ratio:.1f}", ratio >= FASTER_THAN_SCIKIT_LEARN, FASTER_THAN_SCIKIT_LEARN)
    case = fresh(arrays)
    case.voxels(VoxelSet.TUMOUR, Region.WT)
    ours, score_here = timed(lambda: numbers(QUBraTS("entropy"), case))
    peer, score = timed(lambda: qubrats_loop(case, "entropy", Region.WT))
    print(f"QU-BraTS: {ours:.3f} s, loop {peer:.3f} s; difference {abs(score_here['qubrats_score'] - score):.1e}")
    clock.tell(f"   times as fast: {peer / ours:.1f}", peer / ours >= FASTER_THAN_LOOP, FASTER_THAN_LOOP)


def numbers(metric: Metric, case: Case) -> dict[str, float]:
    return {value.metric: value.value for value in metric.read(metric.measure(case))}


def _numbers_of(metrics: list[Discrimination], case: Case) -> list[dict[str, float]]:
    return [numbers(one, case) for one in metrics]


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the processor, and the result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def qubrats_loop(case: Case, name: str, region: Region) -> float:
    """QU-BraTS as it is defined."""
    index = REGIONS.index(region)
    prediction, reference = case.prediction[index], case.reference[index]
    uncertainty = 100 * (case.uncertainty(name, region) / np.float32(upper_bound(name)))
    dice: list[float] = []
    positives: list[int] = []
    negatives: list[int] = []
    for threshold in np.linspace(0, 100, 41):
        kept = uncertainty <= threshold
        p, r = prediction & kept, reference & kept
        both, size = int((p & r).sum()), int(p.sum() + r.sum())
        dice.append(2 * both / size if size else 1.0)
        positives.append(both)
        negatives.append(int((kept & case.brain & ~prediction & ~reference).sum()))
    lost = [1 - np.array(counts) / max(counts[-1], 1) for counts in (positives, negatives)]
    areas = [float(np.trapezoid(curve, np.linspace(0, 1, 41))) for curve in (np.array(dice), *lost)]
    return (areas[0] + 2 - areas[1] - areas[2]) / 3


def made_up_arrays() -> dict[str, Any]:
    """A brain-sized ellipsoid with a rough tumour, and a prediction that is unsure where it is often wrong."""
    generator = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in SHAPE), indexing="ij", sparse=True)
    brain = ((x - 120) / 68) ** 2 + ((y - 120) / 85) ** 2 + ((z - 77) / 66) ** 2 < 1
    distance = np.sqrt((x - 145) ** 2 + (y - 110) ** 2 + (z - 85) ** 2)

    def rough(amount: float) -> np.ndarray:
        coarse = ndimage.gaussian_filter(generator.normal(size=[size // 4 + 1 for size in SHAPE]), 1.2)
        fine = ndimage.zoom(coarse.astype(np.float32), 4, order=1)[tuple(slice(size) for size in SHAPE)]
        return np.asarray(distance + np.float32(amount / coarse.std()) * fine)

    outside = rough(3)
    reference = np.zeros(SHAPE, dtype=np.uint8)
    for radius, label in ((30, Label.ED), (19, Label.ET), (13, Label.NCR)):
        reference[(outside < radius) & brain] = label
    guessed = (outside + rough(5)) / 2
    probabilities = np.stack(
        [1 / (1 + np.exp(np.minimum((guessed - radius) / 1.2, 80))) for radius in (30.5, 18.5, 18.5)]
    )
    probabilities[2] /= 1 + np.exp((13 - guessed) / 1.2)
    probabilities = (probabilities * brain).astype(np.float32)
    unsure = entropy(probabilities[0])
    learned = np.clip(unsure / np.log(2) + 0.1 * generator.standard_normal(SHAPE, dtype=np.float32), 0, 1)
    return {
        "segmentation": labels_from_regions(probabilities),
        "reference": reference,
        "probabilities": probabilities,
        "maps": {"unc_output": (learned * (distance < 45)).astype(np.float32), "entropy": np.abs(unsure)},
        "brain": brain,
    }


def fresh(arrays: dict[str, Any]) -> Case:
    """A case where nothing is computed yet."""
    return case_from_arrays(**arrays)


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    sys.exit(main())
