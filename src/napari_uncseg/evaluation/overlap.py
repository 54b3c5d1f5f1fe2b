"""Overlap of a predicted region with the reference, as a whole and lesion by lesion, and as it was expected to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.lesionwise import score_lesions
from napari_uncseg.metrics.overlap import SMALL_ML, dice_of_counts, is_small
from napari_uncseg.metrics.surface import hd95
from napari_uncseg.metrics.voxel_sets import VoxelSet


@dataclass(eq=False)
class Overlap(Metric):
    """Dice, hd95 and volumes of one region.

    A handful of voxels must not decide a mean: ``dice`` and ``hd95`` are undefined for studies whose reference holds
    less than ``small_ml`` of the region, ``dice_small`` and ``hd95_small`` for the others.

    Parameters
    ----------
    region : Region
    empty_hd95 : float
        hd95 when only one of prediction and reference is empty, mm.
    small_ml : float
        Smallest volume in the reference that counts as a region of its own, mL.
    """

    name: ClassVar[str] = "overlap"

    region: Region
    empty_hd95: float = 374.0
    small_ml: float = SMALL_ML

    def measure(self, case: Case) -> Statistic:
        """Voxels in both, in the prediction and in the reference, of the volume; mL of a voxel; hd95 in mm."""
        prediction, reference = case.predicted(self.region), case.true(self.region)
        masks = (prediction & reference, prediction, reference)
        return {
            "voxels": np.array([*(np.count_nonzero(mask) for mask in masks), prediction.size], dtype=np.int64),
            "voxel_ml": np.array(case.voxel_ml),
            "hd95": np.array(hd95(prediction, reference, case.spacing, self.empty_hd95)),
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        both, predicted, expected, size = (int(number) for number in statistic["voxels"])
        voxel_ml = float(statistic["voxel_ml"])
        small = is_small(expected * voxel_ml, self.small_ml)
        dice = float(dice_of_counts(both, predicted - both, expected - both))
        numbers = {}
        for name, number in (("dice", dice), ("hd95", float(statistic["hd95"]))):
            numbers[name], numbers[f"{name}_small"] = (math.nan, number) if small else (number, math.nan)
            numbers[f"{name}_any_size"] = number
        numbers |= {"volume_prediction": predicted * voxel_ml, "volume_reference": expected * voxel_ml}
        below = "below" if small else "not below"
        reason = f"reference {below} {self.small_ml:g} mL: see the number {'with' if small else 'without'} _small"
        units = {"dice": "", "hd95": "mm", "volume": "mL"}
        return [
            self.result(name, number, size, reason, VoxelSet.ALL, unit=units[name.partition("_")[0]])
            for name, number in numbers.items()
        ]


@dataclass(eq=False)
class Lesionwise2023(Metric):
    """Lesion-wise Dice and hd95 of one region by the rules of BraTS 2023, with counts of lesions.

    Dice and hd95 are sums over the lesions that count, divided by their number and that of the false positives, each of
    which adds Dice 0 and ``empty_hd95``; without any of both they are 1 and 0. The pooled scores are those of all
    lesions of the cohort, whichever study they are in. ``count`` is the number of lesions and false positives.

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

    def measure(self, case: Case) -> Statistic:
        """Lesions (tp, fp, fn, dropped) and the sums of Dice and hd95 over those that count."""
        masks = (case.predicted(self.region), case.true(self.region))
        scores = score_lesions(*masks, case.spacing, self.dilations, self.smallest_mm3, self.empty_hd95)
        return {
            "lesions": np.array([scores.tp, scores.fp, scores.fn, scores.dropped], dtype=np.int64),
            "sums": np.array([scores.dice.sum(), scores.hd95.sum()], dtype=np.float64),
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        tp, fp, fn, dropped = (float(number) for number in statistic["lesions"])
        dice, hd95 = (float(number) for number in statistic["sums"])
        number = tp + fn + fp
        found = {
            "dice": (dice / number if number else 1.0, ""),
            "hd95": ((hd95 + self.empty_hd95 * fp) / number if number else 0.0, "mm"),
            **{name: (count, "lesions") for name, count in (("tp", tp), ("fp", fp), ("fn", fn), ("dropped", dropped))},
        }
        return [
            self.result(f"{self.name}_{name}", value, int(number), voxel_set=VoxelSet.ALL, unit=unit)
            for name, (value, unit) in found.items()
        ]


@dataclass(eq=False)
class DiceForecast(Metric):
    """The expected Dice of a region and its interval, of regions of any size.

    Parameters
    ----------
    region : Region
    """

    name: ClassVar[str] = "expected_dice"

    region: Region

    def measure(self, case: Case) -> Statistic:
        """Expected Dice and the ends of its interval."""
        told = case.expected_dice.get(self.region)
        if told is None:
            raise EvaluationError(f"Case {case.id} tells no expected Dice of {self.region}; leave this metric out.")
        return {"estimate": np.array([told.value, told.low, told.high]), "size": np.array(case.brain.size)}

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        parts, size = zip(("", "_low", "_high"), statistic["estimate"].tolist(), strict=True), int(statistic["size"])
        return [self.result(self.name + part, number, size, voxel_set=VoxelSet.ALL) for part, number in parts]
