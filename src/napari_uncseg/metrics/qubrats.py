"""The score of the BraTS challenge on uncertainty, QU-BraTS: leaving voxels out should raise Dice and cost little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from napari_uncseg.arrays import Array, Floats64, Ints64
from napari_uncseg.metrics.histograms import BRAIN, CODES, PREDICTED, TRUE, bin_edges
from napari_uncseg.metrics.overlap import dice_of_counts

Kept: TypeAlias = Mapping[str, Array]
"""``tp``, ``fp``, ``fn`` and ``tn`` (in the brain) among the voxels kept at each of 41 thresholds; additive."""

THRESHOLDS: Floats64 = np.linspace(0.0, 100.0, 41)
"""Uncertainties, in per cent of the map's largest possible value, up to which voxels are kept."""


def count_kept(histogram: Ints64) -> dict[str, Array]:
    """Voxels kept at each threshold.

    Parameters
    ----------
    histogram : ndarray of int64, shape (16, 4096)
        Voxels by code and bin, see :mod:`~napari_uncseg.metrics.histograms`.

    Returns
    -------
    dict of str to ndarray of int64, shape (41,)
        See :data:`Kept`.
    """
    last = np.searchsorted(bin_edges(100.0)[1:], THRESHOLDS - 1e-9)
    predicted, true, brain = (CODES & PREDICTED) > 0, (CODES & TRUE) > 0, (CODES & BRAIN) > 0
    kinds = {"tp": predicted & true, "fp": predicted & ~true, "fn": ~predicted & true, "tn": ~predicted & ~true & brain}
    return {kind: np.cumsum(histogram[chosen].sum(axis=0))[last] for kind, chosen in kinds.items()}


def filter_curves(kept: Kept) -> dict[str, Floats64]:
    """What happens when voxels more uncertain than a threshold are left out.

    Parameters
    ----------
    kept : mapping of str to ndarray, shape (41,)
        See :data:`Kept`.

    Returns
    -------
    dict of str to ndarray of float64, shape (41,)
        ``dice`` of the voxels kept at each of :data:`THRESHOLDS`, 1 when none of them is predicted or true;
        ``filtered_true_positives`` and ``filtered_true_negatives``, the share of the true positives, and of the true
        negatives in the brain, that were left out; 0 when there are none.
    """
    dice = dice_of_counts(kept["tp"], kept["fp"], kept["fn"])
    return {"dice": dice, "filtered_true_positives": _lost(kept["tp"]), "filtered_true_negatives": _lost(kept["tn"])}


def qubrats_scores(kept: Kept) -> dict[str, float]:
    """Areas of the three curves, the score and its gain over no uncertainty; always defined.

    Parameters
    ----------
    kept : mapping of str to ndarray, shape (41,)
        See :data:`Kept`.

    Returns
    -------
    dict of str to float
        ``qubrats_score`` = (AUC of Dice + 1 − AUC of filtered true positives + 1 − AUC of filtered true negatives) / 3.
        No uncertainty at all scores (Dice + 2) / 3, which is hard to beat when Dice is high: ``qubrats_gain`` is the
        score beyond that. The challenge ranked teams by ranks of the parts, not by this mean.

    References
    ----------
    Mehta et al. 2022, MELBA 1:026, arXiv 2112.10074.
    """
    curves = filter_curves(kept)
    # By trapezoids over thresholds scaled to 0..1.
    dice, positives, negatives = (float(np.trapezoid(curve, THRESHOLDS / 100)) for curve in curves.values())
    score = (dice + (1 - positives) + (1 - negatives)) / 3
    return {
        "qubrats_dice_auc": dice,
        "qubrats_ftp_auc": positives,
        "qubrats_ftn_auc": negatives,
        "qubrats_score": score,
        "qubrats_gain": score - (float(curves["dice"][-1]) + 2) / 3,
    }


def _lost(kept: Array) -> Floats64:
    return 1 - kept / float(kept[-1]) if kept[-1] else np.zeros(kept.shape)
