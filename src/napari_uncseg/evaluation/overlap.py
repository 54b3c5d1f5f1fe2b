"""Overlap of a predicted region with the reference: Dice, 95th percentile Hausdorff distance and volumes."""

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
from napari_uncseg.metrics.surface import Mask, hd95

__all__ = ["SMALL_ML", "Overlap", "dice", "hd95", "is_small"]

SMALL_ML = 1.0
"""Regions of less than this in the reference are reported apart from means."""


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
    masks = (prediction & reference, prediction, reference)
    both, predicted, expected = (int(np.count_nonzero(mask)) for mask in masks)
    return _dice(both, predicted, expected)


@dataclass(eq=False)
class Overlap(Metric):
    """Dice, hd95 and volumes of one region.

    Gives ``dice`` and ``hd95`` (mm) of studies whose reference holds at least ``small_ml`` of the region, and
    ``dice_small`` and ``hd95_small`` of the others, so that a handful of voxels does not decide a mean; each is
    undefined for the studies of the other kind. ``dice_any_size`` and ``hd95_any_size`` are those of all studies, as
    the BraTS challenges average them. ``volume_prediction`` and ``volume_reference`` are in mL.

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

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    def measure(self, case: Case) -> Statistic:
        """Voxels in both, in the prediction and in the reference, of the volume; mL of a voxel; hd95 in mm."""
        index = REGIONS.index(self.region)
        prediction, reference = case.prediction[index], case.reference[index]
        masks = (prediction & reference, prediction, reference)
        return {
            "voxels": np.array([*(np.count_nonzero(mask) for mask in masks), prediction.size], dtype=np.int64),
            "voxel_ml": np.array(case.voxel_ml),
            "hd95": np.array(hd95(prediction, reference, case.spacing, self.empty_hd95)),
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        both, predicted, expected, size = (int(number) for number in statistic["voxels"])
        voxel_ml = float(statistic["voxel_ml"])
        value = Value("", math.nan, region=self.region, voxel_set=VoxelSet.ALL, count=size)
        small = is_small(expected * voxel_ml, self.small_ml)
        values = []
        for name, number, unit in (
            ("dice", _dice(both, predicted, expected), ""),
            ("hd95", float(statistic["hd95"]), "mm"),
        ):
            here, elsewhere = (f"{name}_small", name) if small else (name, f"{name}_small")
            reason = f"reference {'below' if small else 'not below'} {self.small_ml:g} mL: see {here}"
            found = {
                here: replace(value, metric=here, value=number, unit=unit),
                elsewhere: replace(value, metric=elsewhere, unit=unit, undefined=reason),
            }
            values += [found[name], found[f"{name}_small"]]
            values.append(replace(value, metric=f"{name}_any_size", value=number, unit=unit))
        for name, voxels in (("volume_prediction", predicted), ("volume_reference", expected)):
            values.append(replace(value, metric=name, value=voxels * voxel_ml, unit="mL"))
        return values


def is_small(reference_ml: float, small_ml: float = SMALL_ML) -> bool:
    """Whether a region of a reference is too small for the means; rounding does not make 1000 mm³ less than 1 mL."""
    return reference_ml < small_ml * (1 - 1e-9)


def _dice(both: int, predicted: int, expected: int) -> float:
    return 2 * both / (predicted + expected) if predicted + expected else 1.0
