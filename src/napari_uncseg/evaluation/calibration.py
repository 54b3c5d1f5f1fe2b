"""Calibration of probabilities, of maps that claim to be one, and by distance from the boundary, as metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from napari_uncseg.arrays import Mask
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import PROBABILITY, Case, upper_bound
from napari_uncseg.evaluation.histograms import histogram, moments
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.calibration import DEFAULT_BINS, MINIMUM_COUNT, calibration_errors, check_bins
from napari_uncseg.metrics.histograms import IS_ERROR, IS_TRUE, in_set
from napari_uncseg.metrics.surface import SHELL_EDGES_MM
from napari_uncseg.metrics.voxel_sets import VoxelSet

NO_VOXELS = "empty voxel set"


@dataclass(eq=False)
class ProbabilityCalibration(Metric):
    """Calibration of the probabilities of a region against the reference.

    Parameters
    ----------
    region : Region
    voxel_set : VoxelSet
        All metrics of calibration depend on it more than on the model: background is easy, and calibrated.
    bins : int
        Uniform bins, see :func:`~napari_uncseg.metrics.calibration.reliability`.

    Notes
    -----
    Formulas and sources: :func:`~napari_uncseg.metrics.calibration.calibration_errors`.
    """

    name: ClassVar[str] = "calibration"
    additive: ClassVar[bool] = True

    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN
    bins: int = DEFAULT_BINS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bins(self.bins)

    def measure(self, case: Case) -> Statistic:
        """Voxels, voxels of the region and sum of probabilities by fine bin, and the sum of squared differences."""
        return _sums(case, PROBABILITY, self.region, self.voxel_set, IS_TRUE)

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """Calibration errors and Brier score, each defined when there is a voxel."""
        return _results(self, calibration_errors(statistic, self.bins), statistic, self.bins)


@dataclass(eq=False)
class ErrorCalibration(Metric):
    """Calibration of a map that claims to be the probability of an error, against the errors.

    Parameters
    ----------
    map : str
        Name of a map that spans 0 to 1, such as ``unc_output``.
    region : Region
    voxel_set : VoxelSet
    bins : int
        As for :class:`ProbabilityCalibration`.
    """

    name: ClassVar[str] = "error_calibration"
    additive: ClassVar[bool] = True

    map: str = "unc_output"
    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN
    bins: int = DEFAULT_BINS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bins(self.bins)
        if upper_bound(self.map) != 1.0:
            raise EvaluationError(f"The map {self.map!r} is no probability of an error; name one such as unc_output.")

    def measure(self, case: Case) -> Statistic:
        """Voxels, errors and sum of the map by fine bin, and the sum of squared differences."""
        return _sums(case, self.map, self.region, self.voxel_set, IS_ERROR)

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """Those of :class:`ProbabilityCalibration`, but for the top label, with the map for p and failure for y."""
        errors = calibration_errors(statistic, self.bins)
        del errors["ece_top_label"]
        named = {f"error_{name.removesuffix('_classwise')}": error for name, error in errors.items()}
        return _results(self, named, statistic, self.bins)


@dataclass(eq=False)
class ShellCalibration(Metric):
    """Class-wise calibration error of a region's probabilities by distance from the reference's boundary.

    ``ece_by_distance_0_1mm``, ``_1_3mm``, ``_3_6mm`` and ``_beyond_6mm``: mean over the voxels of a shell, within the
    brain, of the difference between mean probability and frequency of the region in each of ``bins`` equal bins.

    Parameters
    ----------
    region : Region
    bins : int
    """

    name: ClassVar[str] = "shell_calibration"
    additive: ClassVar[bool] = True

    region: Region
    bins: int = DEFAULT_BINS

    def measure(self, case: Case) -> Statistic:
        """Voxels, sum of probabilities and voxels of the region, each of shape (shells, bins)."""
        shape = (len(SHELL_EDGES_MM) + 1, self.bins)
        p, reference = case.probability(self.region), case.true(self.region)
        # Without a boundary there is no shell.
        at = case.indices(VoxelSet.BRAIN, self.region) if reference.any() else np.empty(0, dtype=np.intp)
        p, y = p.ravel()[at], reference.ravel()[at]
        cell = np.minimum((p * self.bins).astype(np.int64), self.bins - 1)
        cell += self.bins * case.shells(self.region).ravel()[at].astype(np.int64)
        sums = {"count": (cell, None), "probability": (cell, p), "region": (cell[y], None)}
        return {
            key: np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape)
            for key, (cells, weights) in sums.items()
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """See the class."""
        counts = statistic["count"].sum(axis=1)
        gaps = np.abs(statistic["probability"] - statistic["region"]).sum(axis=1)
        reason = "no voxel in this shell" if counts.any() else "empty reference, no boundary"
        ends = [f"{end:g}" for end in SHELL_EDGES_MM]
        names = [f"{low}_{high}mm" for low, high in zip(("0", *ends), ends, strict=False)] + [f"beyond_{ends[-1]}mm"]
        errors = np.where(counts > 0, gaps / np.maximum(counts, 1), math.nan)
        return [
            self.result(f"ece_by_distance_{shell}", error, count, reason, VoxelSet.BRAIN, bins=self.bins)
            for shell, error, count in zip(names, errors.tolist(), counts.tolist(), strict=True)
        ]


def _sums(case: Case, name: str, region: Region, voxel_set: VoxelSet, true: Mask) -> Statistic:
    everywhere = voxel_set is VoxelSet.ALL
    counts = histogram(case, name, region, outside=everywhere).counts
    sums, squares = moments(case, name, region, outside=everywhere)
    chosen = in_set(voxel_set)
    positive = counts[chosen & true].sum(axis=0)
    squared = squares[chosen].sum() - 2 * sums[chosen & true].sum() + positive.sum()
    return {
        "count": counts[chosen].sum(axis=0),
        "true": positive,
        "sum": sums[chosen].sum(axis=0),
        "squared": np.array([squared], dtype=np.float64),
    }


def _results(metric: Metric, numbers: Mapping[str, float], statistic: Statistic, bins: int) -> list[MetricResult]:
    total = int(statistic["count"].sum())
    reason = f"no bin of {MINIMUM_COUNT} voxels" if total else NO_VOXELS
    return [
        metric.result(name, number, total, reason, bins=None if name.endswith("brier") else bins)
        for name, number in numbers.items()
    ]
