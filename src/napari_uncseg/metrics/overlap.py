"""Overlap of segmentations: Dice from masks, from counts and from the confusion of two label maps."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from napari_uncseg.arrays import Ints64, Labels, Mask
from napari_uncseg.labels import REGION_LABELS, REGIONS, Label, Region

SMALL_ML = 1.0
"""Regions of less than this in the reference are reported apart from means."""

_MIX_UP_DICE = 0.5
"""Mean label Dice that the other numbering must reach: two bad fits prove nothing."""


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice coefficient of two masks, 2 TP / (2 TP + FP + FN).

    Parameters
    ----------
    prediction, reference : ndarray of bool, one shape

    Returns
    -------
    float
        In 0..1; 1 when both masks are empty and 0 when one is, as BraTS has it.

    References
    ----------
    Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945), 297–302.

    Examples
    --------
    >>> import numpy as np
    >>> dice(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    both = np.count_nonzero(prediction & reference)
    return float(dice_of_counts(both, np.count_nonzero(prediction) - both, np.count_nonzero(reference) - both))


def dice_of_counts(tp: Any, fp: Any, fn: Any) -> Any:
    """Dice coefficient of numbers of voxels.

    Parameters
    ----------
    tp, fp, fn : array_like, one shape
        True positives, false positives and false negatives.

    Returns
    -------
    float or ndarray of float64
        Of the shape given, in 0..1; 1 where all three are 0.
    """
    twice = 2.0 * np.asarray(tp, dtype=np.float64)
    total = np.asarray(twice + fp + fn)
    return np.divide(twice, total, out=np.ones_like(total), where=total > 0)[()]


def is_small(reference_ml: float, small_ml: float = SMALL_ML) -> bool:
    """Whether a region of a reference is too small for the means; rounding does not make 1000 mm³ less than 1 mL."""
    return reference_ml < small_ml * (1 - 1e-9)


def confusion(segmentation: Labels, reference: Labels) -> list[list[int]]:
    """Voxels by label, rows reference and columns prediction, in the order 0, NCR, ED, ET."""
    size = len(Label) + 1
    both = (reference * np.uint8(size) + segmentation).ravel()
    tumour = both[both > 0]  # few of many: counting the rest voxel by voxel would take most of the time
    counts = np.bincount(tumour, minlength=size * size)
    counts[0] = both.size - tumour.size
    table: list[list[int]] = counts.reshape(size, size).tolist()
    return table


def better_numbering(confusion: Ints64) -> tuple[tuple[int, ...], float]:
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
    present, best, gain = _mean_dice(confusion, labels), labels, 0.0
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
    sets = {region: list(map(int, REGION_LABELS[region])) for region in REGIONS}
    there = {region: labels for region, labels in sets.items() if counts[labels].any() or counts[:, labels].any()}
    return {region: _dice_of_labels(counts, labels, labels) for region, labels in there.items()}


def _mean_dice(confusion: Ints64, numbering: tuple[int, ...]) -> float:
    dice = [
        _dice_of_labels(confusion, [meant], [int(label)])
        for label, meant in zip(Label, numbering, strict=True)
        if confusion[meant].any() or confusion[:, label].any()
    ]
    return float(np.mean(dice)) if dice else 0.0


def _dice_of_labels(confusion: Ints64, reference: list[int], predicted: list[int]) -> float:
    """Dice of the union of some labels of the reference with the union of some predicted ones."""
    tp = confusion[np.ix_(reference, predicted)].sum()
    return float(dice_of_counts(tp, confusion[:, predicted].sum() - tp, confusion[reference].sum() - tp))
