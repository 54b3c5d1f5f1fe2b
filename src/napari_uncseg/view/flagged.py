"""How much of a study lies above a threshold of a map, read off a histogram that is counted once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_uncseg.study.prediction import Prediction
from napari_uncseg.view.layers import upper_bound

STEPS = 200
"""Thresholds a map can be cut at, evenly spaced from 0 to its upper bound."""


@dataclass(frozen=True, eq=False)
class Flagged:
    """Voxels at or above each threshold.

    Parameters
    ----------
    thresholds : ndarray of float, shape (STEPS + 1,)
        From 0 to the map's upper bound.
    voxels : ndarray of int, shape (STEPS + 1,)
        Voxels of the whole volume whose value is not below the threshold.
    tumour_voxels : ndarray of int, shape (STEPS + 1,)
        Those of them in the predicted whole tumour; the first entry counts all of it.
    voxel_ml : float
        Volume of a voxel in millilitres.
    """

    thresholds: npt.NDArray[np.float64]
    voxels: npt.NDArray[np.int64]
    tumour_voxels: npt.NDArray[np.int64]
    voxel_ml: float

    def volume_ml(self, step: int) -> float:
        """Flagged volume at a threshold, in millilitres."""
        return float(self.voxels[step] * self.voxel_ml)

    def tumour_share(self, step: int) -> float:
        """Share of the predicted whole tumour that is flagged, 0 to 1; nan when nothing was predicted."""
        whole = int(self.tumour_voxels[0])
        return float(self.tumour_voxels[step] / whole) if whole else float("nan")


def count_flagged(prediction: Prediction, name: str) -> Flagged:
    """Count the voxels of a map above every threshold.

    Parameters
    ----------
    prediction : Prediction
        Its segmentation tells the predicted tumour.
    name : str
        Map to count.

    Returns
    -------
    Flagged
    """
    values = prediction.maps[name]
    # Maps are float32: the edges are rounded the same way, so that a value equal to a threshold counts as flagged.
    edges = np.linspace(0.0, upper_bound(prediction, name), STEPS + 1).astype(np.float32)
    tumour = prediction.segmentation > 0
    # Most of a masked map is 0, which is above no threshold but the first.
    raised = values >= edges[1]
    return Flagged(
        thresholds=edges.astype(np.float64),
        voxels=_not_below(values[raised], edges, values.size),
        tumour_voxels=_not_below(values[raised & tumour], edges, int(tumour.sum())),
        voxel_ml=float(abs(np.linalg.det(prediction.affine[:3, :3]))) / 1000.0,
    )


def _not_below(values: npt.NDArray[np.float32], edges: npt.NDArray[np.float32], whole: int) -> npt.NDArray[np.int64]:
    """Values not below each edge; the first count is the whole."""
    bins = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)[: len(edges) + 1]
    above = counts[::-1].cumsum()[::-1][1:]
    above[0] = whole
    return np.asarray(above, dtype=np.int64)
