"""Does the uncertainty rank the errors first? AUROC, average precision, what a reviewer would find, and correlation.

And the score of the BraTS challenge on uncertainty, QU-BraTS: leaving voxels out should raise Dice and cost little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from napari_uncseg.arrays import Array, Floats64, Ints64, Mask
from napari_uncseg.metrics.histograms import BRAIN, CODES, PREDICTED, TRUE, bin_edges
from napari_uncseg.metrics.overlap import dice_of_counts

Split: TypeAlias = Mapping[str, Array]
"""Histograms of a map, of shape (4096,) each: of the voxels that are ``correct``, of those that are a ``failure``, and
the ``levels`` that tell ties from values that differ; all additive."""

Kept: TypeAlias = Mapping[str, Array]
"""``tp``, ``fp``, ``fn`` and ``tn`` (in the brain) among the voxels kept at each of 41 thresholds; additive."""

THRESHOLDS: Floats64 = np.linspace(0.0, 100.0, 41)
"""Uncertainties, in per cent of the map's largest possible value, up to which voxels are kept."""

SMALLEST_VARIANCE = 1e-12
"""A map that varies less has no correlation."""

REVIEWED_PERCENT = (1, 2, 5, 10)
"""Shares of the voxel set, most uncertain first, that a reviewer looks at."""


def discrimination_scores(split: Split) -> dict[str, float]:
    """How well a map tells voxels that fail from voxels that do not.

    Parameters
    ----------
    split : mapping of str to ndarray, shape (4096,)
        See :data:`Split`.

    Returns
    -------
    dict of str to float
        Prevalence, AUROC, AUPRC (also over its chance level, the prevalence), FPR at 95 % TPR, errors caught and
        precision; ``nan`` where there are no errors, nothing but errors or no voxels.

    Notes
    -----
    Ties, and voxels of one bin, share half the credit in the AUROC, as in the Mann–Whitney statistic (Fawcett 2006,
    doi 10.1016/j.patrec.2005.10.010).
    """
    correct, failure = int(split["correct"].sum()), int(split["failure"].sum())
    total = correct + failure
    names = ("prevalence", "auroc", "auprc", "auprc_over_prevalence", "fpr_at_95_tpr")
    numbers = dict.fromkeys(names, math.nan)
    if total:
        numbers["prevalence"] = failure / total
    if correct and failure:
        numbers["auroc"] = area_under_roc(split)
        numbers["auprc"] = average_precision(split)
        numbers["auprc_over_prevalence"] = numbers["auprc"] / numbers["prevalence"]
        fpr, tpr = roc_curve(split)
        numbers["fpr_at_95_tpr"] = _first_crossing(0.95, tpr, fpr)
    reviewed, caught = errors_caught_curve(split)
    for percent in REVIEWED_PERCENT:
        share = float(np.interp(percent / 100, reviewed, caught)) if failure else math.nan
        numbers[f"errors_caught_{percent}"] = share
        found = share * failure / (total * percent / 100) if failure else (0.0 if total else math.nan)
        numbers[f"precision_at_{percent}"] = found
    return numbers


def area_under_roc(split: Split) -> float:
    """Chance that a voxel that fails is more uncertain than one that does not; ties count one half.

    Parameters
    ----------
    split : mapping of str to ndarray, shape (4096,)
        See :data:`Split`, with both kinds of voxels.

    Returns
    -------
    float
        In 0..1.
    """
    correct, failure = split["correct"].astype(np.float64), split["failure"].astype(np.float64)
    below = np.cumsum(correct) - correct
    return float(np.sum(failure * (below + correct / 2)) / (correct.sum() * failure.sum()))


def average_precision(split: Split) -> float:
    """Mean, over the voxels that fail, of the precision when everything as uncertain or more is called a failure.

    Parameters
    ----------
    split : mapping of str to ndarray, shape (4096,)
        See :data:`Split`, with at least one voxel that fails.

    Returns
    -------
    float
        In 0..1; its chance level is the prevalence.

    Notes
    -----
    Average precision as scikit-learn defines it, without interpolation between thresholds (Davis and Goadrich 2006,
    doi 10.1145/1143844.1143874, say why). Voxels of one bin that differ in value are taken to be mixed at random: a
    failure at the fraction t of a bin of m voxels, a of them failures, after n voxels with k failures, has the
    precision (k + 1 + t (a − 1)) / (n + 1 + t (m − 1)), which is integrated over t. A bin of tied voxels is one step.
    """
    failure = split["failure"][::-1].astype(np.float64)
    every = failure + split["correct"][::-1]
    found, seen = np.cumsum(failure), np.cumsum(every)
    tied = (split["levels"][::-1] == 0) | (every < 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = found / seen
        before, among = found - failure + 1, seen - every + 1
        slope = (failure - 1) / (every - 1)
        mixed = slope + (before - among * slope) / (every - 1) * np.log1p((every - 1) / among)
    precision = np.where(tied, step, mixed)
    some = failure > 0
    return float(np.sum(failure[some] * precision[some]) / found[-1])


def roc_curve(split: Split) -> tuple[Floats64, Floats64]:
    """Receiver operating characteristic, one point per bin.

    Parameters
    ----------
    split : mapping of str to ndarray, shape (4096,)
        See :data:`Split`.

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (4097,)
        From (0, 0) to (1, 1), the most uncertain bin first; NaN where a class is empty.
    """
    return _cumulated(split["correct"]), _cumulated(split["failure"])


def errors_caught_curve(split: Split) -> tuple[Floats64, Floats64]:
    """Share of the errors found against the share of voxels reviewed, most uncertain first.

    Parameters
    ----------
    split : mapping of str to ndarray, shape (4096,)
        See :data:`Split`.

    Returns
    -------
    reviewed, caught : ndarray of float64, shape (4097,)
        From (0, 0) to (1, 1); between two points, voxels of a bin are reviewed in random order. NaN where there are no
        voxels, or no errors.
    """
    return _cumulated(split["correct"] + split["failure"]), _cumulated(split["failure"])


def moments(u: Array, v: Array) -> Floats64:
    """Sums of ``u``, ``v``, ``u²``, ``v²`` and ``u v``.

    Parameters
    ----------
    u, v : ndarray of float or bool, shape (n,)

    Returns
    -------
    ndarray of float64, shape (5,)
    """
    a, b = u.astype(np.float64), v.astype(np.float64)
    return np.array([a.sum(), b.sum(), a @ a, b @ b, a @ b])


def rank_sums(u: Array, v: Array) -> Floats64:
    """Sums of squares and products of the centred ranks of two samples, ties sharing their mean rank.

    Parameters
    ----------
    u, v : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float64, shape (3,)
        ``uu``, ``vv`` and ``uv``.

    References
    ----------
    Spearman, American Journal of Psychology 15 (1904), 72–101; mean ranks for ties as in Kendall, "Rank correlation
    methods" (1948).
    """
    from scipy.stats import rankdata  # a review loads this module, and needs none of the rest of it

    a, b = (rankdata(sample) - (sample.size + 1) / 2 for sample in (u, v))
    return np.array([a @ a, b @ b, a @ b])


def rank_sums_of_failure(u: Array, failure: Mask) -> Floats64:
    """Compute what :func:`rank_sums` does when the second sample is true or false, without ranking every voxel.

    Parameters
    ----------
    u : ndarray of float, shape (n,)
    failure : ndarray of bool, shape (n,)

    Returns
    -------
    ndarray of float64, shape (3,)
        ``uu``, ``vv`` and ``uv``.
    """
    n = u.size
    if n == 0:
        return np.zeros(3)
    ordered = np.sort(u)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, n)).astype(np.float64)
    centred = starts + (lengths + 1) / 2 - (n + 1) / 2
    failing = centred[np.searchsorted(ordered[starts], u[failure])]
    share = failing.size / n
    # The ranks of true and false lie n / 2 apart.
    return np.array([(lengths * centred**2).sum(), n**3 / 4 * share * (1 - share), n / 2 * failing.sum()])


def correlation(uu: float, vv: float, uv: float, smallest: float, against: str | None) -> tuple[float, str]:
    """Correlation of two variances and a covariance.

    Parameters
    ----------
    uu, vv, uv : float
        Variances of both sides and their covariance.
    smallest : float
        A side that varies no more has no correlation.
    against : str or None
        Name of the map on the second side; None for the failure.

    Returns
    -------
    float and str
        In −1..1, or ``nan`` and the reason.
    """
    if uu <= smallest:
        return math.nan, "the map is constant"
    if vv <= smallest:
        return math.nan, "failure is everywhere or nowhere" if against is None else f"the map {against} is constant"
    return min(max(uv / math.sqrt(uu * vv), -1.0), 1.0), ""


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


def _cumulated(counts: Ints64) -> Floats64:
    """Cumulated share from the last bin down, starting at 0."""
    cumulated = np.concatenate([[0], np.cumsum(counts[::-1])]).astype(np.float64)
    return cumulated / cumulated[-1] if cumulated[-1] else np.full_like(cumulated, math.nan)


def _first_crossing(level: float, rising: Floats64, other: Floats64) -> float:
    """Value of the other curve where the rising one first reaches a level, between points on a straight line."""
    after = int(np.searchsorted(rising, level))
    low, high = rising[after - 1], rising[after]
    return float(other[after - 1] + (level - low) / (high - low) * (other[after] - other[after - 1]))


def _lost(kept: Array) -> Floats64:
    return 1 - kept / float(kept[-1]) if kept[-1] else np.zeros(kept.shape)
