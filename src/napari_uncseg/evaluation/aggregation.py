"""One number of uncertainty per study, and whether it tells good predictions from poor ones.

What is averaged over decides everything: a sum over the brain grows with the tumour, whatever the network knows. So
the predicted volume stands beside every aggregate, as the confounder to hold it against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.case import TUMOUR_MARGIN_MM, Case, upper_bound
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.spatial import NEAR_SHELLS, shells_of
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.morphology import bounding_box, dilate_mm
from napari_uncseg.metrics.selective import (
    RiskCoverage,
    Triage,
    augrc,
    aurc,
    e_aurc,
    risk_coverage,
    triage_auroc,
)
from napari_uncseg.metrics.surface import Mask

__all__ = [
    "AGGREGATORS",
    "Aggregates",
    "Aggregator",
    "RiskCoverage",
    "Triage",
    "augrc",
    "aurc",
    "e_aurc",
    "risk_coverage",
    "top_patch_mean",
    "triage_auroc",
]

PATCH_MM = 10.0
"""Edge of the patch of ``top_patch``."""


@dataclass(frozen=True)
class Aggregator:
    """A way to make one number of a map.

    Parameters
    ----------
    title : str
        What a reader sees.
    voxel_set : VoxelSet, optional
        Voxels it looks at; None where no named set is meant, and ``title`` says which.
    measure : callable
        Takes case, name of the map and region; gives the number, ``nan`` when undefined, and the count of voxels.
    undefined : str
        Why it may be undefined.
    """

    title: str
    voxel_set: VoxelSet | None
    measure: Callable[[Case, str, Region], tuple[float, int]]
    undefined: str


@dataclass(eq=False)
class Aggregates(Metric):
    """Every aggregate of :data:`AGGREGATORS` of one map, and ``volume_confounder``, the predicted volume in mL.

    No aggregate looks at the reference: each can be computed for a study that nobody has outlined. An empty
    prediction leaves some of them undefined; whoever ranks studies puts it first (infinite uncertainty).

    Parameters
    ----------
    map : str
        Name of the map.
    region : Region
    """

    name: ClassVar[str] = "aggregates"

    map: str
    region: Region

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    def measure(self, case: Case) -> Statistic:
        """Aggregates in the order of :data:`AGGREGATORS`, voxels behind each, and the predicted volume in mL."""
        found = [aggregator.measure(case, self.map, self.region) for aggregator in AGGREGATORS.values()]
        predicted = int(np.count_nonzero(_predicted(case, self.region)))
        return {
            "aggregates": np.array([number for number, _ in found], dtype=np.float64),
            "counts": np.array([*(count for _, count in found), predicted], dtype=np.int64),
            "volume_ml": np.array(predicted * case.voxel_ml),
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        values = []
        for (name, aggregator), number, count in zip(
            AGGREGATORS.items(), statistic["aggregates"].tolist(), statistic["counts"].tolist(), strict=False
        ):
            values.append(
                Value(
                    name,
                    number,
                    region=self.region,
                    map=self.map,
                    voxel_set=aggregator.voxel_set,
                    count=count,
                    undefined=aggregator.undefined if math.isnan(number) else "",
                )
            )
        volume = Value(
            "volume_confounder",
            float(statistic["volume_ml"]),
            region=self.region,
            map=self.map,
            voxel_set=VoxelSet.PREDICTION,
            unit="mL",
            count=int(statistic["counts"][-1]),
        )
        return [*values, volume]


def top_patch_mean(values: npt.NDArray[np.floating], size: Sequence[int]) -> float:
    """Largest mean over all boxes of one size within an array.

    Parameters
    ----------
    values : ndarray of float, shape (x, y, z)
    size : sequence of int
        Voxels of the box along each axis; cut to the array.

    Returns
    -------
    float
        ``nan`` for an array without voxels.
    """
    if not values.size:
        return math.nan
    sums, number = values.astype(np.float64), 1
    for axis, wanted in enumerate(size):
        extent = min(max(wanted, 1), sums.shape[axis])
        running = np.cumsum(sums, axis=axis)
        ends = np.moveaxis(running, axis, 0)[extent - 1 :].copy()
        ends[1:] -= np.moveaxis(running, axis, 0)[:-extent]
        sums, number = np.moveaxis(ends, 0, axis), number * extent
    return float(sums.max() / number)


def _mean(case: Case, name: str, region: Region, mask: Mask) -> tuple[float, int]:
    values = case.uncertainty_at(name, region, np.flatnonzero(mask))
    return (float(values.mean(dtype=np.float64)) if values.size else math.nan), int(values.size)


def _predicted(case: Case, region: Region) -> Mask:
    mask: Mask = case.prediction[REGIONS.index(region)]
    return mask


def _predicted_tumour(case: Case) -> Mask:
    """Predicted whole tumour and 5 mm around it: the cancer mask of a study without a reference."""
    whole = _predicted(case, Region.WT)
    return case.once("predicted tumour", lambda: dilate_mm(whole, case.spacing, TUMOUR_MARGIN_MM))


def _mean_brain(case: Case, name: str, region: Region) -> tuple[float, int]:
    return _mean(case, name, region, case.brain)


def _mean_prediction(case: Case, name: str, region: Region) -> tuple[float, int]:
    return _mean(case, name, region, _predicted(case, region))


def _mean_tumour(case: Case, name: str, region: Region) -> tuple[float, int]:
    return _mean(case, name, region, _predicted_tumour(case))


def _mean_off_boundary(case: Case, name: str, region: Region) -> tuple[float, int]:
    far = shells_of(case, "prediction", region) >= NEAR_SHELLS
    return _mean(case, name, region, _predicted_tumour(case) & far)


def _top_patch(case: Case, name: str, region: Region) -> tuple[float, int]:
    box = bounding_box(case.brain)
    if box is None:
        return math.nan, 0
    # A patch at the brain's edge reaches beyond it, where uncertainty counts as 0.
    size = [max(round(PATCH_MM / edge), 1) for edge in case.spacing]
    within = np.zeros([axis.stop - axis.start for axis in box], dtype=np.float32)
    within[case.brain[box]] = case.uncertainty_at(name, region, np.flatnonzero(case.brain))
    cut = [min(wanted, extent) for wanted, extent in zip(size, within.shape, strict=True)]
    return top_patch_mean(within, size), math.prod(cut)


def _above_threshold(case: Case, name: str, region: Region) -> tuple[float, int]:
    values = case.uncertainty_at(name, region, np.flatnonzero(case.brain))
    above = values[values > upper_bound(name) / 2]
    return (float(above.mean(dtype=np.float64)) if above.size else math.nan), int(above.size)


def _sum_over_volume(case: Case, name: str, region: Region) -> tuple[float, int]:
    mean, count = _mean_brain(case, name, region)
    predicted = np.count_nonzero(_predicted(case, region))
    return (mean * count / predicted if predicted and count else math.nan), count


_NOTHING_PREDICTED = "empty prediction"

AGGREGATORS: Mapping[str, Aggregator] = MappingProxyType(
    {
        "mean_brain": Aggregator("mean in the brain", VoxelSet.BRAIN, _mean_brain, "no brain"),
        "mean_prediction": Aggregator(
            "mean in the predicted region", VoxelSet.PREDICTION, _mean_prediction, _NOTHING_PREDICTED
        ),
        "mean_tumour": Aggregator(
            "mean in the predicted whole tumour and 5 mm around it", None, _mean_tumour, _NOTHING_PREDICTED
        ),
        "mean_off_boundary": Aggregator(
            "mean there, more than 3 mm from the boundary of the predicted region",
            None,
            _mean_off_boundary,
            "empty prediction, or none of it off the boundary",
        ),
        "top_patch": Aggregator("largest mean of a cube of 10 mm", VoxelSet.BRAIN, _top_patch, "no brain"),
        "above_threshold": Aggregator(
            "mean of the brain's voxels above half the map's upper bound",
            VoxelSet.BRAIN,
            _above_threshold,
            "no brain, or none of it above half the upper bound",
        ),
        "sum_over_volume": Aggregator(
            "sum in the brain over the number of predicted voxels",
            VoxelSet.BRAIN,
            _sum_over_volume,
            "empty prediction, or no brain",
        ),
    }
)
"""Aggregates per study by name; none of them needs a reference."""
