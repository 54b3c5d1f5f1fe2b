"""Which label was taken for which: the confusion of two label maps, and what can be told from it alone."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.labels import REGION_LABELS, REGIONS, Label, Region

_MIX_UP_DICE = 0.5
"""Mean label Dice that the other numbering must reach: two bad fits prove nothing."""


def confusion(segmentation: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Voxels by label, rows reference and columns prediction, in the order 0, NCR, ED, ET."""
    size = len(Label) + 1
    counts = np.bincount((reference.astype(np.intp) * size + segmentation).ravel(), minlength=size * size)
    return [[int(count) for count in row] for row in counts.reshape(size, size)]


def better_numbering(confusion: npt.NDArray[np.int64]) -> tuple[tuple[int, ...], float]:
    """The reading of the predicted labels that fits best, and how much it wins.

    Parameters
    ----------
    confusion : ndarray of int, shape (4, 4)
        Voxels, rows reference and columns prediction, in the order 0, NCR, ED, ET.

    Returns
    -------
    tuple of int and float
        What the predicted 1, 2, 3 would mean, and the gain in the mean Dice of the labels; 0 when nothing is better.
    """
    labels = tuple(int(label) for label in Label)
    present = _mean_dice(confusion, labels)
    best, gain = labels, 0.0
    for numbering in permutations(labels):
        found = _mean_dice(confusion, numbering)
        if found - present > gain + 1e-12 and found >= _MIX_UP_DICE:
            best, gain = numbering, found - present
    return best, gain


def region_dice(confusion: Any) -> dict[Region, float]:
    """Dice of the regions from the confusion of labels; a region that both lack is left out."""
    if confusion is None:
        return {}
    counts = np.asarray(confusion, dtype=np.int64)
    result = {}
    for region in REGIONS:
        labels = [int(label) for label in REGION_LABELS[region]]
        total = int(counts[labels].sum() + counts[:, labels].sum())
        if total:
            result[region] = 2 * int(counts[np.ix_(labels, labels)].sum()) / total
    return result


def _mean_dice(confusion: npt.NDArray[np.int64], numbering: tuple[int, ...]) -> float:
    dice = []
    for label, meant in zip(Label, numbering, strict=True):
        total = int(confusion[meant].sum() + confusion[:, label].sum())
        if total:
            dice.append(2 * int(confusion[meant, label]) / total)
    return float(np.mean(dice)) if dice else 0.0
