"""The lesion-wise scores of BraTS 2023 as a metric over studies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.lesions import LesionScores, score_lesions

__all__ = ["LesionScores", "Lesionwise2023", "score_lesions"]


@dataclass(eq=False)
class Lesionwise2023(Metric):
    """Lesion-wise Dice and hd95 of one region by the rules of BraTS 2023, with counts of lesions.

    Gives ``lesionwise_2023_dice`` and ``lesionwise_2023_hd95`` (mm): sums over the lesions that count, divided by
    their number and that of the false positives, each of which adds Dice 0 and ``empty_hd95``; without any of both
    they are 1 and 0. ``lesionwise_2023_tp``, ``_fp``, ``_fn`` and ``_dropped`` are numbers of lesions, see
    :class:`napari_uncseg.metrics.lesions.LesionScores`. The pooled scores are those of all lesions of the cohort,
    whichever study they are in. ``count`` is the number of lesions and false positives.

    Parameters
    ----------
    region : Region
    dilations : int
        3 for glioma, 1 for meningioma and metastases.
    smallest_mm3 : float
        A lesion must be larger to count, 50 for glioma, 2 for metastases.
    empty_hd95 : float
        hd95 of a missed lesion and of a false positive, mm.
    """

    name: ClassVar[str] = "lesionwise_2023"
    additive: ClassVar[bool] = True

    region: Region
    dilations: int = 3
    smallest_mm3: float = 50.0
    empty_hd95: float = 374.0

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    def measure(self, case: Case) -> Statistic:
        """Lesions (tp, fp, fn, dropped) and the sums of Dice and hd95 over those that count."""
        index = REGIONS.index(self.region)
        scores = score_lesions(
            case.prediction[index],
            case.reference[index],
            case.spacing,
            dilations=self.dilations,
            smallest_mm3=self.smallest_mm3,
            empty=self.empty_hd95,
        )
        return {
            "lesions": np.array([scores.tp, scores.fp, scores.fn, scores.dropped], dtype=np.int64),
            "sums": np.array([scores.dice.sum(), scores.hd95.sum()], dtype=np.float64),
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        tp, fp, fn, dropped = (int(number) for number in statistic["lesions"])
        dice, hd95 = (float(number) for number in statistic["sums"])
        number = tp + fn + fp
        value = Value("", math.nan, region=self.region, voxel_set=VoxelSet.ALL, count=number)
        scores = (
            ("dice", dice / number if number else 1.0, ""),
            ("hd95", (hd95 + self.empty_hd95 * fp) / number if number else 0.0, "mm"),
            *((name, float(lesions), "lesions") for name, lesions in zip(_COUNTS, (tp, fp, fn, dropped), strict=True)),
        )
        return [replace(value, metric=f"{self.name}_{name}", value=score, unit=unit) for name, score, unit in scores]


_COUNTS = ("tp", "fp", "fn", "dropped")
