"""The score of the BraTS challenge on uncertainty, QU-BraTS: leaving voxels out should raise Dice and cost little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.histograms import BRAIN, CODES, PREDICTED, TRUE, bin_edges, histogram
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import Region

Numbers = npt.NDArray[np.float64]

THRESHOLDS: Numbers = np.linspace(0.0, 100.0, 41)
"""Uncertainties, in per cent of the map's largest possible value, up to which voxels are kept."""


@dataclass(frozen=True, eq=False)
class FilterCurves:
    """What happens when voxels more uncertain than a threshold are left out.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (41,)
        0 to 100.
    dice : ndarray of float64, shape (41,)
        Dice score of the voxels kept; 1 when none of them is predicted or true.
    filtered_true_positives, filtered_true_negatives : ndarray of float64, shape (41,)
        Share of the true positives, and of the true negatives in the brain, that were left out; 0 when there are none.
    """

    thresholds: Numbers
    dice: Numbers
    filtered_true_positives: Numbers
    filtered_true_negatives: Numbers

    def areas(self) -> tuple[float, float, float]:
        """Areas under the three curves over thresholds scaled to 0..1, by trapezoids."""
        dice, positives, negatives = (
            float(np.trapezoid(curve, self.thresholds / 100))
            for curve in (self.dice, self.filtered_true_positives, self.filtered_true_negatives)
        )
        return dice, positives, negatives


@dataclass(eq=False)
class QUBraTS(Metric):
    """Score of uncertainty maps as in the BraTS challenges of 2019 and 2020.

    Parameters
    ----------
    map : str
        Name of the uncertainty map; 0..100 stands for 0 to its largest possible value (ln 2 for entropy, 0.25 for
        variance, else 1), the same for all cases. Another scaling gives another score.
    region : Region

    Notes
    -----
    Mehta et al. 2022, MELBA 1:026, arXiv 2112.10074: (AUC of Dice + 1 − AUC of filtered true positives + 1 − AUC of
    filtered true negatives) / 3. No uncertainty at all scores (Dice + 2) / 3, which is hard to beat when Dice is high:
    ``qubrats_gain`` is the score beyond that. The challenge ranked teams by ranks of the parts, not by this mean. Dice
    and true positives are of the whole volume, true negatives of the brain.
    """

    name: ClassVar[str] = "qubrats"
    additive: ClassVar[bool] = True

    map: str
    region: Region = Region.WT

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    def measure(self, case: Case) -> Statistic:
        """True and false positives and negatives among the voxels kept at each of the 41 thresholds, int64 (41,)."""
        counts = histogram(case, self.map, self.region).counts
        last = np.searchsorted(bin_edges(100.0)[1:], THRESHOLDS - 1e-9)
        predicted, true, brain = (CODES & PREDICTED) > 0, (CODES & TRUE) > 0, (CODES & BRAIN) > 0
        kinds = {
            "tp": predicted & true,
            "fp": predicted & ~true,
            "fn": ~predicted & true,
            "tn": ~predicted & ~true & brain,
        }
        return {kind: np.cumsum(counts[chosen].sum(axis=0))[last] for kind, chosen in kinds.items()}

    def read(self, statistic: Statistic) -> list[Value]:
        """Areas of the three curves, the score and its gain over no uncertainty; always defined."""
        curves = filter_curves(statistic)
        dice, positives, negatives = curves.areas()
        score = (dice + (1 - positives) + (1 - negatives)) / 3
        numbers = {
            "qubrats_dice_auc": dice,
            "qubrats_ftp_auc": positives,
            "qubrats_ftn_auc": negatives,
            "qubrats_score": score,
            "qubrats_gain": score - (float(curves.dice[-1]) + 2) / 3,
        }
        count = sum(int(statistic[kind][-1]) for kind in ("tp", "fp", "fn", "tn"))
        return [
            Value(
                metric=metric,
                value=number,
                region=self.region,
                map=self.map,
                voxel_set=VoxelSet.BRAIN,
                bins=len(THRESHOLDS),
                count=count,
            )
            for metric, number in numbers.items()
        ]


def filter_curves(statistic: Statistic) -> FilterCurves:
    """Dice score and losses against the threshold.

    Parameters
    ----------
    statistic : Statistic
        Of :class:`QUBraTS`.

    Returns
    -------
    FilterCurves
    """
    tp, fp, fn, tn = (statistic[kind].astype(np.float64) for kind in ("tp", "fp", "fn", "tn"))
    tumour = 2 * tp + fp + fn
    dice = np.divide(2 * tp, tumour, out=np.ones_like(tumour), where=tumour > 0)
    return FilterCurves(THRESHOLDS, dice, _lost(tp), _lost(tn))


def _lost(kept: Numbers) -> Numbers:
    return 1 - kept / kept[-1] if kept[-1] else np.zeros_like(kept)
