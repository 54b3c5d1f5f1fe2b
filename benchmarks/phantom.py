"""Time of one 1 mm phantom, and of the phantoms a training is fed with.

    python benchmarks/phantom.py [--anatomies cache/anatomies.npz] [-n 8]

The peer, measured in the same run on the same thread count, is SynthSeg's way to an image with the same anatomies: warp
the label map, draw a Gaussian for each tissue, blur, add a bias field; no tumour, no distractors, one modality, times
four (Billot et al., *Medical Image Analysis* 2023), written with scipy as its users would.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from uncseg_training.phantom.anatomy import Anatomy, build_anatomies, load_anatomies
from uncseg_training.phantom.cohort import Phantoms

FINE, COARSE = (160, 192, 160), (80, 96, 80)
TARGET_CPU, TARGET_GPU = 4.0, 0.3


def seconds(action: Callable[[int], object], count: int) -> float:
    """Median seconds of ``action`` on 0..count-1, after one round to warm up."""
    action(count)
    times = []
    for index in range(count):
        started = time.perf_counter()
        action(index)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peer(anatomy: Anatomy, seed: int) -> np.ndarray:
    """Four images of a healthy head."""
    random = np.random.default_rng(seed)
    labels = anatomy.tissues
    coarse = random.normal(0, 3, (3, *(n // 32 + 2 for n in labels.shape)))
    field = [
        ndimage.zoom(part, [n / m for n, m in zip(labels.shape, part.shape, strict=True)], order=1) for part in coarse
    ]
    places = [axis + shift for axis, shift in zip(np.indices(labels.shape), field, strict=True)]
    moved = ndimage.map_coordinates(labels, places, order=0)
    images = []
    for _ in range(4):
        means, deviations = random.uniform(0, 1, 10), random.uniform(0.01, 0.1, 10)
        image = means[moved] + deviations[moved] * random.normal(size=moved.shape)
        small = random.normal(0, 0.2, [4, 4, 4])
        bias = ndimage.zoom(small, [n / 4 for n in moved.shape], order=1)
        images.append(ndimage.gaussian_filter(image, 0.7) * np.exp(bias))
    return np.stack(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anatomies", type=Path, help="file of 'uncseg-train anatomies'; ICBM152 when left out")
    parser.add_argument("-n", type=int, default=8, help="phantoms per row")
    arguments = parser.parse_args()
    try:
        anatomies = load_anatomies(arguments.anatomies) if arguments.anatomies else build_anatomies()
    except ValueError as error:
        parser.error(str(error))
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads, {len(anatomies)} anatomies, median of {arguments.n}")
    fine = Phantoms(anatomies, FINE, 1.0, seed=1, device=device)
    coarse = Phantoms(anatomies, COARSE, 2.0, seed=1, device=device)
    reused = Phantoms(anatomies, COARSE, 2.0, seed=1, device=device, reuse=2)
    ours = seconds(fine.__getitem__, arguments.n)
    other = seconds(lambda index: peer(anatomies[index % len(anatomies)], index), max(2, arguments.n // 4))
    target = TARGET_GPU if cuda else TARGET_CPU
    verdict = "met" if ours <= target else "MISSED"
    print(f"1 mm phantom, 160x192x160            {ours:7.2f} s   target {target} s: {verdict}")
    print(f"2 mm phantom, 80x96x80               {seconds(coarse.__getitem__, arguments.n):7.2f} s")
    mean = seconds(lambda index: (reused[2 * index], reused[2 * index + 1]), arguments.n) / 2
    print(f"2 mm phantom, each geometry twice    {mean:7.2f} s")
    print(f"peer: four 1 mm images, no tumour    {other:7.2f} s   ours takes {ours / other:.2f} times as long")


if __name__ == "__main__":
    main()
