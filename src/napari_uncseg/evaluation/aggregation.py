"""One number of uncertainty per study, none of which needs a reference.

What is averaged over decides everything: a sum over the brain grows with the tumour, whatever the network knows. So
the predicted volume stands beside every aggregate, as the confounder to compare it with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_uncseg.evaluation.case import TUMOUR_MARGIN_MM, Case, upper_bound
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.morphology import bounding_box, dilate_mm
from napari_uncseg.metrics.voxel_sets import VoxelSet

PATCH_MM = 10.0
"""Edge of the patch of ``top_patch``."""

NEAR_SHELLS = 2
"""Shells that count as near the boundary: up to 3 mm."""

_NOTHING_PREDICTED, _NEITHER = "empty prediction", "empty prediction, or no brain"


class Aggregator(NamedTuple):
    """What a reader sees, the voxels it looks at (None: no named set), and why it may be undefined."""

    title: str
    voxel_set: VoxelSet | None
    undefined: str


_OFF = "mean there, more than 3 mm from the boundary of the predicted region"
_HIGH = "mean of the brain's voxels above half the map's upper bound"

AGGREGATORS: Mapping[str, Aggregator] = {
    "mean_brain": Aggregator("mean in the brain", VoxelSet.BRAIN, "no brain"),
    "mean_prediction": Aggregator("mean in the predicted region", VoxelSet.PREDICTION, _NOTHING_PREDICTED),
    "mean_tumour": Aggregator("mean in the predicted whole tumour and 5 mm around it", None, _NOTHING_PREDICTED),
    "mean_off_boundary": Aggregator(_OFF, None, "empty prediction, or none of it off the boundary"),
    "top_patch": Aggregator("largest mean of a cube of 10 mm", VoxelSet.BRAIN, "no brain"),
    "above_threshold": Aggregator(_HIGH, VoxelSet.BRAIN, "no brain, or none of it above half the upper bound"),
    "sum_over_volume": Aggregator("sum in the brain over the number of predicted voxels", VoxelSet.BRAIN, _NEITHER),
}
"""Aggregates per study by name, in the order of the statistic."""


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
    meanings: ClassVar[Mapping[str, str]] = {
        "volume_confounder": "predicted volume, beside the scores that rank studies",
        **{name: f"score of a study: {aggregator.title}" for name, aggregator in AGGREGATORS.items()},
    }

    map: str
    region: Region

    def measure(self, case: Case) -> Statistic:
        """Aggregates in the order of :data:`AGGREGATORS`, voxels behind each, and the predicted volume in mL."""
        predicted = case.predicted(self.region)
        size = int(np.count_nonzero(predicted))
        whole = case.predicted(Region.WT)
        tumour = case.once("predicted tumour", lambda: dilate_mm(whole, case.spacing, TUMOUR_MARGIN_MM))
        far = case.shells("prediction", self.region) >= NEAR_SHELLS
        brain = case.uncertainty_at(self.map, self.region, case.indices(VoxelSet.BRAIN, self.region))
        found = {"mean_brain": _mean(brain)}
        for name, mask in (("prediction", predicted), ("tumour", tumour), ("off_boundary", tumour & far)):
            found[f"mean_{name}"] = _mean(case.uncertainty_at(self.map, self.region, np.flatnonzero(mask)))
        found["top_patch"] = _top_patch(case, brain)
        found["above_threshold"] = _mean(brain[brain > upper_bound(self.map) / 2])
        mean, count = found["mean_brain"]
        found["sum_over_volume"] = (mean * count / size if size and count else math.nan), count
        return {
            "aggregates": np.array([found[name][0] for name in AGGREGATORS], dtype=np.float64),
            "counts": np.array([*(found[name][1] for name in AGGREGATORS), size], dtype=np.int64),
            "volume_ml": np.array(size * case.voxel_ml),
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        numbers, counts = statistic["aggregates"].tolist(), statistic["counts"].tolist()
        results = [
            self.result(name, number, count, undefined, voxels)
            for (name, (_, voxels, undefined)), number, count in zip(AGGREGATORS.items(), numbers, counts, strict=False)
        ]
        volume = float(statistic["volume_ml"])
        return [*results, self.result("volume_confounder", volume, counts[-1], "", VoxelSet.PREDICTION, unit="mL")]


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
    extents = [min(max(wanted, 1), whole) for wanted, whole in zip(size, values.shape, strict=True)]
    means = ndimage.uniform_filter(values.astype(np.float64), extents, mode="constant")
    pairs = zip(extents, values.shape, strict=True)
    inner = tuple(slice(extent // 2, whole - extent + extent // 2 + 1) for extent, whole in pairs)
    return float(means[inner].max())


def _mean(values: npt.NDArray[np.float32]) -> tuple[float, int]:
    return (float(values.mean(dtype=np.float64)) if values.size else math.nan), int(values.size)


def _top_patch(case: Case, values: npt.NDArray[np.float32]) -> tuple[float, int]:
    box = bounding_box(case.brain)
    if box is None:
        return math.nan, 0
    # A patch at the brain's edge reaches beyond it, where uncertainty counts as 0.
    size = [max(round(PATCH_MM / edge), 1) for edge in case.spacing]
    within = np.zeros([axis.stop - axis.start for axis in box], dtype=np.float32)
    within[case.brain[box]] = values
    cut = [min(wanted, extent) for wanted, extent in zip(size, within.shape, strict=True)]
    return top_patch_mean(within, size), math.prod(cut)
