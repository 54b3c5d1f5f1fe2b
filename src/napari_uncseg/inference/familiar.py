"""Whether images look like those that the release network learned from: grey levels, detail, how they go together.

A few numbers of a study are held against the range that they have in the patients of the training. What lies far
outside is told, for a network may say anything there. Gain, offset and spacing play no part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from itertools import combinations

import numpy as np
from scipy import ndimage

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest value of each number in the patients of the training."""

MARGIN = 0.5
"""How far beyond a range, in its widths, a number may lie: of 46 patients none lies so far from the 45 others."""

_SLICES = 6
"""Slices above and below the middle one in which detail is measured."""

_WORDS = {
    "dark": "how dark its darkest parts are",
    "bright": "how bright its brightest parts are",
    "skew": "whether it is mostly dark or bright",
    "levels": "how its grey levels are spread",
    "detail": "its noise or sharpness",
}


def unfamiliar(study: Study, images: Floats32, brain: Mask) -> list[tuple[str, str]]:
    """What of a study lies far from all that the release network learned from.

    Parameters
    ----------
    study : Study
    images : ndarray of float32, shape (4, x, y, z)
        The study's images on coarse voxels.
    brain : ndarray of bool, shape (x, y, z)
        Coarse voxels that lie in the brain.

    Returns
    -------
    list of (str, str)
        Name of the image, or of two, and what is unusual, in words; the farthest first, one for each image.
    """
    beyond = distances(features(study, images, brain), ranges())
    found: dict[str, str] = {}
    for name in sorted(beyond, key=beyond.__getitem__, reverse=True):
        if beyond[name] > MARGIN:
            what, _, kind = name.partition(" ")
            titles = " and ".join(MODALITY_TITLES[role] for role in what.split("+"))
            found.setdefault(titles, _WORDS.get(kind, "how they go together"))
    return list(found.items())


def features(study: Study, images: Floats32, brain: Mask) -> dict[str, float]:
    """Numbers by which images are compared, named by image and kind.

    Returns
    -------
    dict of str to float
        Per image: logarithm of the extent of its dark and of its bright end over that of its middle half, skewness of
        its deciles (-1..1), logarithm of the largest of 64 bins' share, and logarithm of the median difference of a
        voxel from its neighbours in the plane over the middle half; per pair of images: correlation of ranks.
    """
    found: dict[str, float] = {}
    inside = [image[brain] for image in images]
    for role, values in zip(MODALITIES, inside, strict=True):
        low, tenth, quarter, half, three, ninth, high = (float(each) for each in np.percentile(values, _PERCENTS))
        middle = max(three - quarter, 1e-6 * max(abs(high), 1.0))
        found[f"{role} dark"] = _log((half - low) / middle)
        found[f"{role} bright"] = _log((high - half) / middle)
        found[f"{role} skew"] = (ninth - 2 * half + tenth) / max(ninth - tenth, middle)
        bins = np.histogram(values, 64, (low, max(high, low + middle)))[0]
        found[f"{role} levels"] = _log(float(bins.max() / max(bins.sum(), 1)))
        found[f"{role} detail"] = _log(_detail(study, MODALITIES.index(role)) / middle)
    ranks = np.argsort(np.argsort(np.array(inside), axis=1, kind="stable"), axis=1, kind="stable")
    together = np.atleast_2d(np.corrcoef(ranks))
    for first, second in combinations(range(len(MODALITIES)), 2):
        found[f"{MODALITIES[first]}+{MODALITIES[second]}"] = float(together[first, second])
    return found


def distances(found: Mapping[str, float], known: Ranges) -> dict[str, float]:
    """How far each number lies outside of its range, in widths of the range; negative within."""
    return {
        name: max(low - found[name], found[name] - high) / max(high - low, 1e-6) for name, (low, high) in known.items()
    }


def ranges_of(studies: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Ranges of the numbers of some studies."""
    rows = list(studies)
    return {name: (min(row[name] for row in rows), max(row[name] for row in rows)) for name in rows[0]}


@cache
def ranges() -> Ranges:
    """Ranges in the patients that the release network learned from; ``experiments.input_checks`` wrote them."""
    told = json.loads(files(__package__).joinpath("familiar.json").read_text(encoding="utf-8"))
    return {name: (low, high) for name, (low, high) in told["ranges"].items()}


_PERCENTS = (1, 10, 25, 50, 75, 90, 99)


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-4)))


def _detail(study: Study, index: int) -> float:
    """Median difference of a voxel from the mean of its four neighbours in the middle slices, within the brain."""
    middle = int(np.median(np.flatnonzero(study.brain.any((0, 1)))))
    part = slice(max(0, middle - _SLICES), middle + _SLICES)
    image, brain = study.images[index][:, :, part], study.brain[:, :, part]
    inner = ndimage.binary_erosion(brain, np.ones((5, 5, 1)))
    if not inner.any():
        return 0.0
    around = sum(np.roll(image, step, axis) for axis in (0, 1) for step in (-1, 1))
    return float(np.median(np.abs(image - around / 4)[inner]))
