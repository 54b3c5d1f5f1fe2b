"""Folds of a cohort of patients: balanced by source, size and enhancement, and no patient on two sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from napari_uncseg.arrays import Ints64
from napari_uncseg.inference.resampling import resample
from napari_uncseg.labels import region_masks
from uncseg_training.data.cases import Cases

ALIKE = 0.9
"""Least correlation of the T1n images of two studies that are looked at as one patient's."""

_TRIES = 20_000
_ENHANCING_ML = (1.0, 15.0)


@dataclass(frozen=True)
class Traits:
    """What folds are balanced by.

    Parameters
    ----------
    source : str
        Where a study was published, from its name.
    size, enhancement : int
        Third of the cohort by volume of the whole tumour; enhancing tumour below 1 mL, below 15 mL, or more.
    """

    source: str
    size: int
    enhancement: int


def traits_of(cases: Cases, spacing: float) -> dict[str, Traits]:
    """Source, size and enhancement of every case."""
    volumes = {name: region_masks(cases.labels(name)).sum((1, 2, 3)) * spacing**3 / 1000 for name in cases.names}
    whole = np.array([volume[0] for volume in volumes.values()])
    bounds = np.quantile(whole, [1 / 3, 2 / 3])
    return {
        name: Traits(
            source_of(name), int(np.searchsorted(bounds, volume[0])), int(np.searchsorted(_ENHANCING_ML, volume[2]))
        )
        for name, volume in volumes.items()
    }


def source_of(name: str) -> str:
    """Data set and site in the name of a BraTS study: ``Brats18_CBICA`` of ``Brats18_CBICA_ABM_1``."""
    dataset, _, rest = re.sub(r"[-_]+", "_", name).partition("_")
    site = re.match(r"[A-Za-z]+", rest)
    return dataset if site is None else f"{dataset}_{site.group()}"


def balanced_splits(traits: Mapping[str, Traits], folds: int = 5, seed: int = 12345) -> list[dict[str, list[str]]]:
    """Folds in which every source, size and enhancement is held out about equally often.

    Of many random splits into equal parts the one is taken whose counts differ least from equal shares, by the sum of
    squares over traits and folds.

    Parameters
    ----------
    traits : mapping of str to Traits
        By study; one study is one patient.
    folds, seed : int
        How many parts, and of the random splits.

    Returns
    -------
    list of dict
        ``train`` and ``val``, sorted.

    Raises
    ------
    ValueError
        When there are fewer studies than folds.
    """
    names = sorted(traits)
    if len(names) < folds:
        raise ValueError(f"{len(names)} studies cannot be split into {folds} folds; ask for fewer.")
    columns = []
    for trait in ("source", "size", "enhancement"):
        values = [getattr(traits[name], trait) for name in names]
        columns += [[value == wanted for value in values] for wanted in sorted(set(values))]
    table = np.array(columns, dtype=float)
    random = np.random.default_rng(seed)
    parts = np.arange(len(names)) % folds
    best: tuple[float, Ints64] | None = None
    for _ in range(_TRIES):
        drawn = random.permutation(parts)
        counts = table @ (drawn[:, None] == np.arange(folds))
        badness = float(((counts - table.sum(1, keepdims=True) / folds) ** 2).sum())
        if best is None or badness < best[0]:
            best = (badness, drawn)
    assert best is not None
    held = [sorted(name for name, part in zip(names, best[1], strict=True) if part == fold) for fold in range(folds)]
    return [{"train": sorted(set(names) - set(part)), "val": part} for part in held]


def alike(cases: Cases, tell: Callable[[str], None] = lambda _: None) -> list[tuple[str, str, float]]:
    """Pairs of studies whose T1n images look like one head, the most alike first.

    Images lie on the grid of the cases, all upright about the middle of the brain; they are compared at a third of its
    resolution by their correlation where both hold brain.

    Parameters
    ----------
    cases : Cases
        The cohort.
    tell : callable
        Told of the pair that is most alike, which says how far the others are from being one patient.

    Returns
    -------
    list of (str, str, float)
        Those with a correlation of at least :data:`ALIKE`.
    """
    small = []
    for name in cases.names:
        image = torch.from_numpy(cases.load(name).images[1:2].astype(np.float32))
        small.append(resample(image, [size // 3 for size in image.shape[1:]])[0].numpy())
    pairs = []
    for first in range(len(small)):
        for second in range(first):
            inside = (small[first] != 0) & (small[second] != 0)
            value = float(np.corrcoef(small[first][inside], small[second][inside])[0, 1])
            pairs.append((cases.names[second], cases.names[first], value))
    pairs.sort(key=lambda pair: -pair[2])
    if pairs:
        tell("most alike: {} and {}, correlation {:.3f}".format(*pairs[0]))
    return [pair for pair in pairs if pair[2] >= ALIKE]
