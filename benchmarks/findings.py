"""How long a threshold takes to become findings, against doing everything anew at each threshold.

    python benchmarks/findings.py [RESULT] [--map NAME] [-n THRESHOLDS]

RESULT is a folder that `uncseg predict` wrote. Without it a tumour of 120 mL is made by formula, with doubt along its
wavy edge and a blob far away, on the grid of a BraTS study (240 x 240 x 155 at 1 mm). The peer finds the same places
with exact Euclidean distance transforms and a watershed of its own for every threshold. Both run in the same process,
in turn; medians are printed, of the time on the clock and of the time of the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.special import expit

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import load_prediction
from napari_uncseg.labels import labels_from_regions
from napari_uncseg.maps import MapName
from napari_uncseg.review.findings import find
from napari_uncseg.review.watershed import (
    BASINS_FROM,
    PARTIAL_VOLUME_VOXELS,
    PEAK_DISTANCE_MM,
    SMOOTHING_MM,
    build_watershed,
)

GRID = (240, 240, 155)
LIMIT_MS = 300


def made_prediction() -> Prediction:
    """A tumour with a wavy edge, and doubt round it."""
    x, y, z = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in GRID), indexing="ij", sparse=True)
    wave = 3 * np.sin(x / 6) * np.sin(y / 7) * np.sin(z / 8)
    distance = np.sqrt((x - 90) ** 2 + (y - 120) ** 2 + (z - 80) ** 2) - 30 + wave
    logits = np.stack([-distance / 2, -(distance + 8) / 2, -(distance + 12) / 2])
    probabilities = expit(logits).astype(np.float32)
    width = 3 + 2 * np.sin(x / 11) * np.cos(y / 13)
    doubt = 0.6 * np.exp(-((distance / width) ** 2))
    doubt += 0.8 * np.exp(-((x - 160) ** 2 + (y - 60) ** 2 + (z - 40) ** 2) / 40)
    return Prediction(
        study_id="made",
        probabilities=probabilities,
        segmentation=labels_from_regions(probabilities),
        maps={"unc_output": np.clip(doubt, 0, 1).astype(np.float32)},
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]),
    )


def find_plainly(prediction: Prediction, key: MapName, threshold: float) -> int:
    """Number of findings, everything computed anew with exact distance transforms; the peer."""
    from skimage.measure import label
    from skimage.segmentation import watershed

    values, region = prediction.maps[str(key)], prediction.segmentation > 0
    flagged = values >= threshold
    box = ndimage.find_objects(flagged.astype(np.int8))[0] if flagged.any() else (slice(0, 1),) * 3
    box = tuple(slice(max(part.start - 4, 0), part.stop + 4) for part in box)
    flagged, inside, cut = flagged[box], region[box], values[box]
    core = ndimage.distance_transform_edt(flagged) > PARTIAL_VOLUME_VOXELS
    opened = ndimage.distance_transform_edt(~core) <= PARTIAL_VOLUME_VOXELS
    near = (ndimage.distance_transform_edt(inside) <= PARTIAL_VOLUME_VOXELS) & (
        ndimage.distance_transform_edt(~inside) <= PARTIAL_VOLUME_VOXELS
    )
    thick = flagged & ~(flagged & ~(opened & flagged) & near)
    smooth = ndimage.gaussian_filter(cut, SMOOTHING_MM, truncate=3.0)
    high = cut >= BASINS_FROM
    peaks = high & (smooth == ndimage.maximum_filter(smooth, 2 * round(PEAK_DISTANCE_MM) + 1))
    basins = watershed(-smooth, ndimage.label(peaks, np.ones((3, 3, 3)))[0], mask=high)
    return int(label(np.where(thick, basins + 1, 0), background=0).max())


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds on the clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path, help="folder of a saved result")
    parser.add_argument("--map", default="unc_output", help="name of the map")
    parser.add_argument("-n", type=int, default=21, help="number of thresholds")
    arguments = parser.parse_args()
    prediction = load_prediction(arguments.result) if arguments.result else made_prediction()
    key = MapName.parse(arguments.map)
    once = timed(lambda: build_watershed(prediction, key))
    watershed = build_watershed(prediction, key)
    thresholds = np.linspace(0.05, 0.6, arguments.n) * watershed.upper
    find(watershed, float(thresholds[0]))  # loads scikit-image
    ours, peers = [], []
    for threshold in thresholds:
        ours.append(timed(partial(find, watershed, float(threshold))))
        peers.append(timed(partial(find_plainly, prediction, key, float(threshold))))
    shape = " x ".join(str(size) for size in prediction.segmentation.shape)
    print(f"{prediction.study_id}, {shape} voxels, {key!s}, {len(thresholds)} thresholds")
    print(f"once per map:              {once[0]:6.0f} ms on the clock, {once[1]:6.0f} ms of the processor")
    for name, times in (("threshold to findings", ours), ("peer, all anew", peers)):
        wall, processor = (statistics.median(each[part] for each in times) for part in (0, 1))
        worst = max(each[0] for each in times)
        print(
            f"{name + ', median:':27}{wall:6.0f} ms on the clock, {processor:6.0f} ms of the processor; "
            f"worst {worst:.0f}"
        )
    clock = [statistics.median(each[0] for each in times) for times in (ours, peers)]
    kept = "kept" if clock[0] <= LIMIT_MS else "MISSED"
    print(f"ratio to the peer: {clock[0] / clock[1]:.3f}; limit {LIMIT_MS} ms: {kept}")


if __name__ == "__main__":
    main()
