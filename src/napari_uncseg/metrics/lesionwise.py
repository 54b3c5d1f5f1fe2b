"""Lesions of two masks and how they correspond, by the rules of the BraTS 2023 challenge; pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from napari_uncseg.arrays import Floats64, Mask
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.metrics.surface import surfel_hd95

Box: TypeAlias = tuple[slice, ...]

_ALL_26 = ndimage.generate_binary_structure(3, 3)
_FACES_AND_EDGES_18 = ndimage.generate_binary_structure(3, 2)


@dataclass(frozen=True)
class LesionScores:
    """How a prediction finds the lesions of one region of one study.

    Parameters
    ----------
    dice, hd95 : ndarray of float64, shape (kept,)
        Of each lesion of the reference that counts; Dice in 0..1, hd95 in mm with ``empty`` for a missed lesion.
    tp, fn : int
        Lesions that count and that the prediction touches or misses; ``tp + fn == kept``.
    fp : int
        Components of the prediction that touch no lesion, of any size.
    dropped : int
        Lesions too small to count.
    """

    dice: Floats64
    hd95: Floats64
    tp: int
    fn: int
    fp: int
    dropped: int


def score_lesions(
    prediction: Mask,
    reference: Mask,
    spacing: Sequence[float],
    dilations: int = 3,
    smallest_mm3: float = 50.0,
    empty: float = 374.0,
) -> LesionScores:
    """Score every lesion of the reference for itself, and count the components of the prediction that belong to none.

    Parameters
    ----------
    prediction, reference : ndarray of bool, shape (x, y, z)
        One region.
    spacing : sequence of float
        Voxel size along each axis, mm.
    dilations : int
        Steps by which lesions are dilated with the 18 neighbours: 3 for adult and paediatric glioma, 1 for
        meningioma and metastases.
    smallest_mm3 : float
        A lesion must be larger to count; 50 for glioma, 2 for metastases.
    empty : float
        hd95 of a missed lesion, mm.

    Returns
    -------
    LesionScores

    Notes
    -----
    Components have 26 neighbours. Components of the reference whose dilations join are one lesion. A lesion is
    compared, undilated, with all components of the prediction that touch its dilation, so that one component may
    serve several lesions; touching a lesion that is too small to count also saves a component from being false.
    Surfaces are weighted by area, as in the challenge.

    References
    ----------
    BraTS 2023 lesion-wise metrics, https://github.com/rachitsaluja/BraTS-2023-Metrics; its rules were written anew
    here. The challenges of 2025 and later match lesions otherwise and print a different metric.
    """
    box = bounding_box(prediction | reference, margin=(dilations + 1,) * 3)
    if box is None:
        return LesionScores(np.empty(0), np.empty(0), 0, 0, 0, 0)
    predicted, _ = ndimage.label(prediction[box], structure=_ALL_26)
    grown = reference[box]
    if dilations and grown.any():
        grown = ndimage.binary_dilation(grown, structure=_FACES_AND_EDGES_18, iterations=dilations)
    zones, lesions = ndimage.label(grown, structure=_ALL_26)
    components = int(predicted.max(initial=0))
    pairs = np.unique(zones[predicted > 0].astype(np.int64) * (components + 1) + predicted[predicted > 0])
    zone_of, component_of = np.divmod(pairs, components + 1)
    touching = zone_of > 0
    sizes = np.bincount(zones[reference[box]], minlength=lesions + 1)
    counts = sizes * float(np.prod(spacing)) > smallest_mm3
    dice, hd95 = [], []
    extents = ndimage.find_objects(zones), ndimage.find_objects(predicted)
    for lesion in np.flatnonzero(counts):
        own = component_of[zone_of == lesion]
        here = _union([extents[0][lesion - 1], *(extents[1][component - 1] for component in own)])
        found = np.isin(predicted[here], own) if own.size else np.zeros_like(zones[here], dtype=bool)
        expected = (zones[here] == lesion) & reference[box][here]
        dice.append(2 * np.count_nonzero(found & expected) / (np.count_nonzero(found) + np.count_nonzero(expected)))
        hd95.append(surfel_hd95(found, expected, spacing, empty))
    hit = np.isin(np.flatnonzero(counts), zone_of)
    return LesionScores(
        np.array(dice),
        np.array(hd95),
        tp=int(hit.sum()),
        fn=int((~hit).sum()),
        fp=components - np.unique(component_of[touching]).size,
        dropped=lesions - int(counts.sum()),
    )


def _union(boxes: Sequence[Box]) -> Box:
    """Smallest box that holds all boxes."""
    return tuple(
        slice(min(one.start for one in axis), max(one.stop for one in axis)) for axis in zip(*boxes, strict=True)
    )
