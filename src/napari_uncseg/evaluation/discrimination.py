"""Does a map rise where the prediction fails? Ranking, QU-BraTS score and correlation, as metrics over studies.

And the mean of a map over a study, which needs no reference: what expected Dice is compared with. What is averaged over
decides everything: a mean over the brain grows with the tumour, whatever the network knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from napari_uncseg.arrays import Array
from napari_uncseg.evaluation.case import TUMOUR_MARGIN_MM, Case
from napari_uncseg.evaluation.histograms import histogram
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics import discrimination as formulas
from napari_uncseg.metrics.histograms import BINS, IS_ERROR, in_set
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.metrics.voxel_sets import VoxelSet

MEAN_TUMOUR = "mean_tumour"
"""The mean over the predicted tumour and 5 mm around it, by which studies are ordered where one map is to do it."""

_SETS: Mapping[str, VoxelSet | None] = {
    "mean_brain": VoxelSet.BRAIN,
    "mean_prediction": VoxelSet.PREDICTION,
    MEAN_TUMOUR: None,
}
"""Means by name, and the voxel set that they are taken over (None: no named set)."""

NO_ERRORS, ONLY_ERRORS, NO_VOXELS = "no errors", "only errors", "empty voxel set"


@dataclass(eq=False)
class Discrimination(Metric):
    """How well a map tells voxels that fail from voxels that do not, read from two histograms of 4096 bins.

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
    Formulas and sources: :mod:`napari_uncseg.metrics.discrimination`.
    """

    name: ClassVar[str] = "discrimination"
    additive: ClassVar[bool] = True

    map: str
    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN

    def measure(self, case: Case) -> Statistic:
        """Histograms of the map where the segmentation is right (``correct``) and where it fails (``failure``)."""
        counted = histogram(case, self.map, self.region, outside=self.voxel_set is VoxelSet.ALL)
        chosen, error = in_set(self.voxel_set), IS_ERROR
        return {
            "correct": counted.counts[chosen & ~error].sum(axis=0),
            "failure": counted.counts[chosen & error].sum(axis=0),
            "levels": counted.levels,
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """AUROC, AUPRC (also over its chance level, the prevalence), FPR at 95 % TPR, errors caught and precision."""
        correct, failure = int(statistic["correct"].sum()), int(statistic["failure"].sum())
        reason = NO_VOXELS if not correct + failure else NO_ERRORS if not failure else ONLY_ERRORS
        scores = formulas.discrimination_scores(statistic).items()
        return [self.result(name, number, correct + failure, reason, bins=BINS) for name, number in scores]


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
    Dice and true positives are of the whole volume, true negatives of the brain. Formulas and source:
    :func:`~napari_uncseg.metrics.discrimination.qubrats_scores`.
    """

    name: ClassVar[str] = "qubrats"
    additive: ClassVar[bool] = True

    map: str
    region: Region = Region.WT

    def measure(self, case: Case) -> Statistic:
        """True and false positives and negatives among the voxels kept at each of the 41 thresholds, int64 (41,)."""
        return formulas.count_kept(histogram(case, self.map, self.region).counts)

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """Areas of the three curves, the score and its gain over no uncertainty; always defined."""
        count = sum(int(statistic[kind][-1]) for kind in ("tp", "fp", "fn", "tn"))
        scores, brain = formulas.qubrats_scores(statistic).items(), VoxelSet.BRAIN
        return [
            self.result(name, score, count, voxel_set=brain, bins=len(formulas.THRESHOLDS)) for name, score in scores
        ]


@dataclass(eq=False)
class Alignment(Metric):
    """RMSD, Pearson and Spearman correlation of a map with the failure of a region, or with another map.

    ``rmsd`` is the root of the mean of ``(u - v)²`` over the voxel set; with ``v`` the failure it is the root of the
    Brier score of ``u`` as a probability of failure. ``pearson`` is undefined where one side hardly varies, never 0.
    ``spearman`` is the correlation of ranks within a study, ties sharing their mean rank; the pooled one adds the
    studies' rank sums, so that it asks about the order within studies and not between them. Against another map the
    names end in ``_to_`` and its name.

    Parameters
    ----------
    map : str
        Name of the map.
    region : Region
    voxel_set : VoxelSet
    against : str, optional
        Another map; the failure when left out.
    """

    name: ClassVar[str] = "alignment"
    additive: ClassVar[bool] = True

    map: str
    region: Region
    voxel_set: VoxelSet = VoxelSet.TUMOUR
    against: str | None = None

    def measure(self, case: Case) -> Statistic:
        """Voxels, and sums of values and of centred ranks: ``[u, v, uu, vv, uv]`` and ``[uu, vv, uv]``."""
        at = case.indices(self.voxel_set, self.region)
        u = case.uncertainty_at(self.map, self.region, at)
        if self.against is None:
            v: Array = case.failure(self.region).ravel()[at]
            ranks = formulas.rank_sums_of_failure(u, v)
        else:
            v = case.uncertainty_at(self.against, self.region, at)
            ranks = formulas.rank_sums(u, v)
        return {"count": np.array(u.size, dtype=np.int64), "moments": formulas.moments(u, v), "ranks": ranks}

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        count = int(statistic["count"])
        found = dict.fromkeys(("rmsd", "pearson", "spearman"), (math.nan, "no voxels"))
        if count:
            u, v, uu, vv, uv = (float(number) / count for number in statistic["moments"])
            found["rmsd"] = math.sqrt(max(uu + vv - 2 * uv, 0.0)), ""
            found["pearson"] = formulas.correlation(
                uu - u * u, vv - v * v, uv - u * v, formulas.SMALLEST_VARIANCE, self.against
            )
            rank_u, rank_v, rank_uv = (float(number) for number in statistic["ranks"])
            found["spearman"] = formulas.correlation(rank_u, rank_v, rank_uv, 0.0, self.against)
        suffix = "" if self.against is None else f"_to_{self.against}"
        return [self.result(name + suffix, number, count, why) for name, (number, why) in found.items()]


@dataclass(eq=False)
class MeanUncertainty(Metric):
    """Means of one map over a study: in the brain, in the predicted region, in the predicted tumour and round it.

    None looks at the reference: each can be computed for a study that nobody has outlined. An empty prediction leaves
    two of them undefined.

    Parameters
    ----------
    map : str
        Name of the map.
    region : Region
    """

    name: ClassVar[str] = "mean_uncertainty"

    map: str
    region: Region

    def measure(self, case: Case) -> Statistic:
        """Means, and the number of voxels behind each."""
        whole = case.predicted(Region.WT)
        tumour = case.once("predicted tumour", lambda: dilate_mm(whole, case.spacing, TUMOUR_MARGIN_MM))
        masks = (case.brain, case.predicted(self.region), tumour)
        values = [case.uncertainty_at(self.map, self.region, np.flatnonzero(mask)) for mask in masks]
        means = [each.mean(dtype=np.float64) if each.size else math.nan for each in values]
        return {"means": np.array(means), "counts": np.array([each.size for each in values], dtype=np.int64)}

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        numbers = zip(_SETS.items(), statistic["means"].tolist(), statistic["counts"].tolist(), strict=True)
        return [
            self.result(name, mean, count, "no brain" if voxels is VoxelSet.BRAIN else "empty prediction", voxels)
            for (name, voxels), mean, count in numbers
        ]
