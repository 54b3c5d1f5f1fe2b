"""Mean uncertainty of a study, which needs no reference: what expected Dice is compared with.

What is averaged over decides everything: a mean over the brain grows with the tumour, whatever the network knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from napari_uncseg.evaluation.case import TUMOUR_MARGIN_MM, Case
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
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
