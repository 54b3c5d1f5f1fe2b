"""Does the uncertainty rank the errors first? AUROC, average precision, and what a reviewer would find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.histograms import BINS, histogram, in_set, is_error
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import Region

Curve = npt.NDArray[np.float64]

REVIEWED_PERCENT = (1, 2, 5, 10)
"""Shares of the voxel set, most uncertain first, that a reviewer looks at."""

NO_ERRORS, ONLY_ERRORS, NO_VOXELS = "no errors", "only errors", "empty voxel set"


@dataclass(eq=False)
class Discrimination(Metric):
    """How well a map tells voxels that fail from voxels that do not.

    Parameters
    ----------
    map : str
        Name of the uncertainty map.
    region : Region
        Whose failure is to be found.
    voxel_set : VoxelSet
        Voxels that are ranked. The larger the set, the more easy background it holds: an AUROC alone says little.

    Notes
    -----
    Everything is read from two histograms of 4096 bins, of the voxels that fail and of those that do not. Ties, and
    voxels of one bin, share half the credit in the AUROC, as in the Mann–Whitney statistic (Fawcett 2006,
    doi 10.1016/j.patrec.2005.10.010).
    """

    name: ClassVar[str] = "discrimination"
    additive: ClassVar[bool] = True

    map: str
    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN

    def __post_init__(self) -> None:
        self.region, self.voxel_set = Region(self.region), VoxelSet(self.voxel_set)

    def measure(self, case: Case) -> Statistic:
        """Histograms of the map where the segmentation is right (``correct``) and where it fails (``failure``)."""
        counted = histogram(case, self.map, self.region, outside=self.voxel_set is VoxelSet.ALL)
        chosen, error = in_set(self.voxel_set), is_error()
        return {
            "correct": counted.counts[chosen & ~error].sum(axis=0),
            "failure": counted.counts[chosen & error].sum(axis=0),
            "levels": counted.levels,
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """AUROC, AUPRC (also over its chance level, the prevalence), FPR at 95 % TPR, errors caught and precision."""
        correct, failure = int(statistic["correct"].sum()), int(statistic["failure"].sum())
        total = correct + failure
        numbers = {
            "prevalence": failure / total if total else math.nan,
            "auroc": math.nan,
            "auprc": math.nan,
            "auprc_over_prevalence": math.nan,
            "fpr_at_95_tpr": math.nan,
        }
        if correct and failure:
            precision = average_precision(statistic)
            numbers["auroc"] = area_under_roc(statistic)
            numbers["auprc"] = precision
            numbers["auprc_over_prevalence"] = precision / numbers["prevalence"]
            fpr, tpr = roc_curve(statistic)
            numbers["fpr_at_95_tpr"] = _first_crossing(0.95, tpr, fpr)
        reviewed, caught = errors_caught_curve(statistic)
        for percent in REVIEWED_PERCENT:
            share = float(np.interp(percent / 100, reviewed, caught)) if failure else math.nan
            numbers[f"errors_caught_{percent}"] = share
            numbers[f"precision_at_{percent}"] = (
                share * failure / (total * percent / 100) if failure else (0.0 if total else math.nan)
            )
        reason = NO_VOXELS if not total else NO_ERRORS if not failure else ONLY_ERRORS
        return [
            Value(
                metric=metric,
                value=number,
                region=self.region,
                map=self.map,
                voxel_set=self.voxel_set,
                bins=BINS,
                count=total,
                undefined=reason if math.isnan(number) else "",
            )
            for metric, number in numbers.items()
        ]


def area_under_roc(statistic: Statistic) -> float:
    """Chance that a voxel that fails is more uncertain than one that does not; ties count one half.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Discrimination`, with both kinds of voxels.

    Returns
    -------
    float
        In 0..1.
    """
    correct, failure = statistic["correct"].astype(np.float64), statistic["failure"].astype(np.float64)
    below = np.cumsum(correct) - correct
    return float(np.sum(failure * (below + correct / 2)) / (correct.sum() * failure.sum()))


def average_precision(statistic: Statistic) -> float:
    """Mean, over the voxels that fail, of the precision when everything as uncertain or more is called a failure.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Discrimination`, with at least one voxel that fails.

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
    failure = statistic["failure"][::-1].astype(np.float64)
    every = failure + statistic["correct"][::-1]
    found, seen = np.cumsum(failure), np.cumsum(every)
    tied = (statistic["levels"][::-1] == 0) | (every < 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = found / seen
        before, among = found - failure + 1, seen - every + 1
        slope = (failure - 1) / (every - 1)
        mixed = slope + (before - among * slope) / (every - 1) * np.log1p((every - 1) / among)
    precision = np.where(tied, step, mixed)
    some = failure > 0
    return float(np.sum(failure[some] * precision[some]) / found[-1])


def roc_curve(statistic: Statistic) -> tuple[Curve, Curve]:
    """Receiver operating characteristic, one point per bin.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Discrimination`.

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (4097,)
        From (0, 0) to (1, 1), the most uncertain bin first; NaN where a class is empty.
    """
    return _cumulated(statistic["correct"]), _cumulated(statistic["failure"])


def precision_recall_curve(statistic: Statistic) -> tuple[Curve, Curve]:
    """Precision against recall, one point per bin that holds voxels.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Discrimination`.

    Returns
    -------
    recall, precision : ndarray of float64, shape (n,)
        The most uncertain bin first; empty without a voxel that fails.
    """
    failure = statistic["failure"][::-1]
    every = failure + statistic["correct"][::-1]
    found, seen, some = np.cumsum(failure), np.cumsum(every), every > 0
    if not found[-1]:
        return np.empty(0), np.empty(0)
    return found[some] / found[-1], found[some] / seen[some]


def errors_caught_curve(statistic: Statistic) -> tuple[Curve, Curve]:
    """Share of the errors found against the share of voxels reviewed, most uncertain first.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`Discrimination`.

    Returns
    -------
    reviewed, caught : ndarray of float64, shape (4097,)
        From (0, 0) to (1, 1); between two points, voxels of a bin are reviewed in random order. NaN where there are no
        voxels, or no errors.
    """
    return _cumulated(statistic["correct"] + statistic["failure"]), _cumulated(statistic["failure"])


def _cumulated(counts: npt.NDArray[np.int64]) -> Curve:
    """Cumulated share from the last bin down, starting at 0."""
    cumulated = np.concatenate([[0], np.cumsum(counts[::-1])]).astype(np.float64)
    return cumulated / cumulated[-1] if cumulated[-1] else np.full_like(cumulated, math.nan)


def _first_crossing(level: float, rising: Curve, other: Curve) -> float:
    """Value of the other curve where the rising one first reaches a level, between points on a straight line."""
    after = int(np.searchsorted(rising, level))
    low, high = rising[after - 1], rising[after]
    return float(other[after - 1] + (level - low) / (high - low) * (other[after] - other[after - 1]))
