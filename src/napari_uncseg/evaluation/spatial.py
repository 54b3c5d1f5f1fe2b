"""Where uncertainty lies: near the boundary or not, calibrated near and far, and beside the errors it is about.

The measures are inspired by those of Zeevi et al., "Spatially-aware evaluation of segmentation uncertainty"
(arXiv 2506.16589), and Jungo et al., Frontiers in Neuroscience 14 (2020), 282; they are defined here and are not
claimed to be equal to theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_uncseg.evaluation.case import Case, upper_bound
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.voxel_sets import VoxelSet, voxels
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.metrics.surface import SHELL_EDGES_MM, Mask, boundary_shells

SMOOTHING_MM: tuple[float, ...] = (1.0, 2.0, 4.0)
"""Standard deviations of the smoothings of ``smooth_mae``."""

NEAR_SHELLS = 2
"""Shells that count as near the boundary: up to 3 mm."""

THRESHOLDS = 100
"""Steps of the thresholds of ``ue_overlap`` between 0 and the map's upper bound."""

Boundary: TypeAlias = Literal["reference", "prediction"]

_TRUNCATE = 4.0
_NO_BOUNDARY = "empty reference, no boundary"


@dataclass(eq=False)
class Spatial(Metric):
    """Near-boundary share, smoothed agreement with the errors, and overlap with the errors, of one map.

    ``buc``: share of the uncertainty in the brain that lies within 3 mm of the boundary of the reference, 0..1.
    ``smooth_mae_1mm``, ``_2mm``, ``_4mm``: mean of ``|G ∗ u - G ∗ F|`` over the tumour set, with ``G`` a Gaussian of
    that standard deviation and ``F`` the failure: a map that is right but a voxel off is forgiven. The map enters in
    its own unit, so that the number speaks of maps that claim a probability of error.
    ``ue_overlap_best``: largest Dice of the voxels of the brain above a threshold with the failure. The threshold was
    chosen by the same errors, so the number flatters; ``ue_overlap`` is at ``threshold`` and there once it is set, by
    :func:`best_threshold` of calibration studies.

    Parameters
    ----------
    map : str
        Name of the map.
    region : Region
    threshold : float, optional
        For ``ue_overlap``, in the map's unit.
    """

    name: ClassVar[str] = "spatial"
    additive: ClassVar[bool] = True

    map: str
    region: Region
    threshold: float | None = None

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    @property
    def thresholds(self) -> npt.NDArray[np.float32]:
        """Thresholds of ``ue_overlap``, ascending; a voxel above one is flagged."""
        steps = np.linspace(0, upper_bound(self.map), THRESHOLDS, endpoint=False)
        own = [] if self.threshold is None else [self.threshold]
        return np.unique(np.concatenate([steps, own]).astype(np.float32))

    def measure(self, case: Case) -> Statistic:
        """Sums of uncertainty by shell, of differences by smoothing, and voxels flagged and caught by threshold."""
        at = _brain(case)
        u, failure = case.uncertainty_at(self.map, self.region, at), case.failure(self.region).ravel()[at]
        shells: npt.NDArray[np.float64] = np.zeros(len(SHELL_EDGES_MM) + 1)
        if case.reference[REGIONS.index(self.region)].any():
            shell = shells_of(case, "reference", self.region).ravel()[at]
            shells = np.bincount(shell, weights=u, minlength=shells.size).astype(np.float64)
        above = np.searchsorted(self.thresholds, u)
        flagged, caught = (_above(numbers, len(self.thresholds)) for numbers in (above, above[failure]))
        return {
            "shells": shells,
            "differences": self._differences(case),
            "flagged": flagged,
            "caught": caught,
            "voxels": np.array([at.size, np.count_nonzero(case.tumour), np.count_nonzero(failure)], dtype=np.int64),
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        brain, tumour, failing = (int(number) for number in statistic["voxels"])
        value = Value("", math.nan, region=self.region, map=self.map, voxel_set=VoxelSet.BRAIN, count=brain)
        total = float(statistic["shells"].sum())
        if total > 0:
            near = float(statistic["shells"][:NEAR_SHELLS].sum())
            values = [replace(value, metric="buc", value=near / total)]
        else:
            values = [replace(value, metric="buc", undefined=f"{_NO_BOUNDARY}, or no uncertainty in the brain")]
        for mm, difference in zip(SMOOTHING_MM, statistic["differences"], strict=True):
            smooth = replace(value, metric=f"smooth_mae_{mm:g}mm", voxel_set=VoxelSet.TUMOUR, count=tumour)
            if tumour:
                values.append(replace(smooth, value=float(difference) / tumour))
            else:
                values.append(replace(smooth, undefined="no tumour in prediction or reference"))
        overlaps = self.overlaps(statistic)
        names = {"ue_overlap_best": int(overlaps.argmax())}
        if self.threshold is not None:
            names["ue_overlap"] = int(np.searchsorted(self.thresholds, np.float32(self.threshold)))
        for name, index in names.items():
            found = replace(value, metric=name, bins=len(overlaps))
            reason = "" if failing else "no errors"
            values.append(replace(found, value=float(overlaps[index]) if failing else math.nan, undefined=reason))
        return values

    def _differences(self, case: Case) -> npt.NDArray[np.float64]:
        """Smoothed differences within the tumour set, read no farther around it than the widest Gaussian reaches."""
        tumour = case.tumour
        box = bounding_box(tumour, margin=_reach(SMOOTHING_MM[-1], case.spacing))
        if box is None:
            return np.zeros(len(SMOOTHING_MM))
        x, y, z = (np.arange(axis.start, axis.stop) for axis in box)
        at = np.ravel_multi_index(np.ix_(x, y, z), case.shape)
        u = case.uncertainty_at(self.map, self.region, at.ravel()).reshape(at.shape)
        return smoothed_differences(u, case.failure(self.region)[box], tumour[box], case.spacing)

    def overlaps(self, statistic: Statistic) -> npt.NDArray[np.float64]:
        """Dice of flagged voxels and failure, in 0..1, at each of :attr:`thresholds`; 0 without failure."""
        failing = int(statistic["voxels"][2])
        return np.asarray(2 * statistic["caught"] / np.maximum(statistic["flagged"] + failing, 1))


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
    bins: int = 15

    def __post_init__(self) -> None:
        self.region = Region(self.region)

    def measure(self, case: Case) -> Statistic:
        """Voxels, sum of probabilities and voxels of the region, each of shape (shells, bins)."""
        shape = (len(SHELL_EDGES_MM) + 1, self.bins)
        reference = case.reference[REGIONS.index(self.region)]
        probability = case.probability(self.region)
        if not reference.any():
            return {
                "count": np.zeros(shape, np.int64),
                "probability": np.zeros(shape),
                "region": np.zeros(shape, np.int64),
            }
        at = _brain(case)
        p, y = probability.ravel()[at], reference.ravel()[at]
        cell = np.minimum((p * self.bins).astype(np.int64), self.bins - 1)
        cell += self.bins * shells_of(case, "reference", self.region).ravel()[at].astype(np.int64)
        size = shape[0] * shape[1]
        return {
            "count": np.bincount(cell, minlength=size).reshape(shape),
            "probability": np.bincount(cell, weights=p, minlength=size).reshape(shape),
            "region": np.bincount(cell[y], minlength=size).reshape(shape),
        }

    def read(self, statistic: Statistic) -> list[Value]:
        """See the class."""
        values = []
        counts = statistic["count"].sum(axis=1)
        gaps = np.abs(statistic["probability"] - statistic["region"]).sum(axis=1)
        reason = "no voxel in this shell" if counts.any() else _NO_BOUNDARY
        for shell, count, gap in zip(shell_names(), counts, gaps, strict=True):
            values.append(
                Value(
                    f"ece_by_distance_{shell}",
                    float(gap / count) if count else math.nan,
                    region=self.region,
                    voxel_set=VoxelSet.BRAIN,
                    bins=self.bins,
                    count=int(count),
                    undefined="" if count else reason,
                )
            )
        return values


def best_threshold(spatial: Spatial) -> float:
    """Threshold at which the flagged voxels of all studies together overlap best with the errors.

    Parameters
    ----------
    spatial : Spatial
        Fed with calibration studies, which are not among those to be judged.

    Returns
    -------
    float
        In the map's unit, for ``Spatial(..., threshold=...)``.

    Raises
    ------
    EvaluationError
        When it has seen no study.
    """
    return float(spatial.thresholds[int(spatial.overlaps(spatial.total()).argmax())])


def shells_of(case: Case, boundary: Boundary, region: Region) -> npt.NDArray[np.uint8]:
    """Shells around a region's boundary, see :func:`boundary_shells`, computed once per case.

    Parameters
    ----------
    case : Case
    boundary : {"reference", "prediction"}
        Whose boundary.
    region : Region

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        Not to be written to.
    """
    mask = (case.reference if boundary == "reference" else case.prediction)[REGIONS.index(region)]
    return case.once(("shells", boundary, region), lambda: boundary_shells(mask, case.spacing))


def shell_names() -> tuple[str, ...]:
    """Names of the shells for metrics, the nearest first."""
    starts = (0.0, *SHELL_EDGES_MM)
    names = [f"{start:g}_{end:g}mm" for start, end in zip(starts, SHELL_EDGES_MM, strict=False)]
    return (*names, f"beyond_{SHELL_EDGES_MM[-1]:g}mm")


def smoothed_differences(
    uncertainty: npt.NDArray[np.float32], failure: Mask, within: Mask, spacing: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Sum of ``|G ∗ u - G ∗ F|`` over a set of voxels, for each of :data:`SMOOTHING_MM`.

    Parameters
    ----------
    uncertainty : ndarray of float32, shape (x, y, z)
    failure, within : ndarray of bool, shape (x, y, z)
    spacing : sequence of float
        Voxel size along each axis, mm.

    Returns
    -------
    ndarray of float64, shape (len(SMOOTHING_MM),)

    Notes
    -----
    Smoothing is linear, so that the difference is smoothed, once per width. The volume is mirrored at its border.
    """
    sums = np.zeros(len(SMOOTHING_MM))
    for index, mm in enumerate(SMOOTHING_MM):
        sigmas = [mm / size for size in spacing]
        reach = _reach(mm, spacing)
        box = bounding_box(within, margin=reach)
        if box is not None:
            difference = uncertainty[box] - failure[box].astype(np.float32)
            ndimage.gaussian_filter(difference, sigmas, output=difference, radius=reach)
            sums[index] = np.abs(difference[within[box]]).sum(dtype=np.float64)
    return sums


def _brain(case: Case) -> npt.NDArray[np.intp]:
    return case.once(("voxels", VoxelSet.BRAIN, None), lambda: np.flatnonzero(voxels(case, VoxelSet.BRAIN, Region.WT)))


def _reach(mm: float, spacing: Sequence[float]) -> list[int]:
    """Voxels along each axis after which a Gaussian is cut off."""
    return [int(_TRUNCATE * mm / size + 0.5) for size in spacing]


def _above(numbers: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.int64]:
    """How many voxels lie above each threshold, given how many thresholds lie below each voxel."""
    return np.bincount(numbers, minlength=size + 1)[::-1].cumsum()[::-1][1:].astype(np.int64)
