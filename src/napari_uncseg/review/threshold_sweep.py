"""What a threshold flags, and with a reference what that is worth: counted once for all; and where a review begins.

A result that speaks against itself begins lower: nothing looks clean that is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from napari_uncseg.arrays import AnyInts, Floats32, Floats64, Ints64, Mask, Places
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.overlap import dice_of_counts
from napari_uncseg.review.watershed import STEPS
from napari_uncseg.uncertainty.needs_review import Reason
from napari_uncseg.uncertainty.prediction_maps import map_upper, map_values

START = 0.2
"""Fraction of a map's range at which it is cut when nobody has moved the threshold."""

PLACES_ML = 10.0
"""Volume that is at least flagged at first in a doubtful result, however low its map is."""


@dataclass(frozen=True, eq=False)
class ThresholdSweep:
    """Voxels at or above each of :data:`~napari_uncseg.review.watershed.STEPS` + 1 thresholds of a map.

    Parameters
    ----------
    key : MapName
    thresholds : ndarray of float, shape (STEPS + 1,)
        From 0 to the map's upper bound.
    voxels : ndarray of int, shape (STEPS + 1,)
        Voxels of the voxel set whose value is not below the threshold; the first entry counts all of it.
    tumour : ndarray of int, shape (STEPS + 1,)
        Those of them in the predicted whole tumour.
    voxel_ml : float
        Volume of a voxel in millilitres.
    tp, errors : ndarray of int, shape (STEPS + 1,), optional
        Those rightly predicted as the region, and those predicted wrongly or missed, where there is a reference.
    """

    key: MapName
    thresholds: Floats64
    voxels: Ints64
    tumour: Ints64
    voxel_ml: float
    tp: Ints64 | None = None
    errors: Ints64 | None = None

    def step(self, threshold: float) -> int:
        """Number of the threshold nearest to a value."""
        return min(max(round(threshold / float(self.thresholds[-1]) * STEPS), 0), STEPS)

    def volume_ml(self, step: int) -> float:
        """Flagged volume at a threshold, in millilitres."""
        return float(self.voxels[step] * self.voxel_ml)

    def tumour_share(self, step: int) -> float:
        """Share of the predicted whole tumour that is flagged, 0 to 1; nan when nothing of it lies in the voxel set."""
        return _share(self.tumour[step], self.tumour[0])

    def errors_caught(self, step: int) -> float:
        """Share of the region's errors that are flagged, 0 to 1; nan without a reference or an error."""
        return math.nan if self.errors is None else _share(self.errors[step], self.errors[0])

    def precision(self, step: int) -> float:
        """Share of the flagged voxels that are errors, 0 to 1; nan without a reference or a flagged voxel."""
        return math.nan if self.errors is None else _share(self.errors[step], self.voxels[step])

    def filtered_dice(self) -> Floats64:
        """Dice of the region over the voxels that each threshold does not flag; nan without a reference.

        Returns
        -------
        ndarray of float, shape (STEPS + 1,)
            1 where no voxel left is predicted or true. The threshold of nothing left is the first one.

        References
        ----------
        Mehta et al. 2022, MELBA 1:026 (QU-BraTS): voxels more uncertain than a threshold are left out; here those as
        uncertain as it are too, because they are flagged.
        """
        if self.tp is None or self.errors is None:
            return np.full(len(self.thresholds), math.nan)
        return np.asarray(dice_of_counts(self.tp[0] - self.tp, self.errors[0] - self.errors, 0))

    @property
    def dice(self) -> float:
        """Dice of the region over the whole voxel set; nan without a reference."""
        if self.tp is None or self.errors is None:
            return math.nan
        return float(dice_of_counts(self.tp[0], self.errors[0], 0))


def sweep_thresholds(
    prediction: Prediction, key: MapName, within: Mask | None = None, reference: AnyInts | None = None
) -> ThresholdSweep:
    """Count the voxels of a map above every threshold.

    Parameters
    ----------
    prediction : Prediction
        Its segmentation is the predicted tumour.
    key : MapName
        Map to count.
    within : ndarray of bool, shape (x, y, z), optional
        Voxels that count; the whole volume when left out.
    reference : ndarray of int, shape (x, y, z), optional
        Values of :class:`napari_uncseg.labels.Label`.

    Returns
    -------
    ThresholdSweep

    Raises
    ------
    EvaluationError
        When the prediction has no such map.
    """
    values = map_values(prediction, key)
    # Maps are float32: the edges are rounded the same way, so that a value equal to a threshold counts as flagged.
    edges = np.linspace(0.0, map_upper(prediction, key), STEPS + 1).astype(np.float32)
    # Most of a masked map is 0, which is above no threshold but the first.
    raised = values >= edges[1]
    if within is not None:
        raised &= within
    at = np.flatnonzero(raised)
    bins = np.searchsorted(edges, values.ravel()[at], side="right")

    def count(mask: Mask) -> Ints64:
        whole = np.count_nonzero(mask if within is None else mask & within)
        return _not_below(bins[mask.ravel()[at]], int(whole))

    voxels = _not_below(bins, values.size if within is None else int(np.count_nonzero(within)))
    tumour = count(prediction.segmentation > 0)
    sweep = ThresholdSweep(key, edges.astype(np.float64), voxels, tumour, prediction.voxel_ml)
    if reference is not None:
        index = REGIONS.index(key.region)
        predicted, true = (region_masks(labels)[index] for labels in (prediction.segmentation, reference))
        sweep = replace(sweep, tp=count(predicted & true), errors=count(predicted ^ true))
    return sweep


def value_histogram(values: Floats32, upper: float, bins: int = 100) -> Ints64:
    """Voxels of a map by value, without the lowest bin: what is 0 would hide all others.

    Parameters
    ----------
    values : ndarray of float32
    upper : float
        Upper end of the last bin.
    bins : int

    Returns
    -------
    ndarray of int, shape (bins,)
        Bins are ``upper / bins`` wide; the first one is 0.
    """
    flat = values.ravel()
    raised = flat[flat >= np.float32(upper / bins)]
    counts, _ = np.histogram(raised, bins=bins, range=(0.0, upper))
    counts[0] = 0
    return np.asarray(counts, dtype=np.int64)


def reasons_of(prediction: Prediction) -> tuple[str, ...]:
    """Why a result needs review, a sentence each, as it was told when it was made; an empty one always does."""
    told = prediction.provenance.get("needs_review") or ()
    reasons = tuple(str(reason.get("text")) for reason in told)
    if not reasons and not prediction.segmentation.any():
        return (Reason.of("no_tumour").text,)
    return reasons


def leading_map(prediction: Prediction) -> str:
    """Name of the map that a review begins with.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    str
        ``error_risk`` where there is one, for it knows of members and of what lies outside of the mask. Else
        ``unc_output``; of a doubtful result ``unc_output_unmasked``, for its mask is as doubtful.
    """
    unmasked = (Measure.UNC_OUTPUT_UNMASKED,) if reasons_of(prediction) else ()
    wanted = (Measure.ERROR_RISK, *unmasked, Measure.UNC_OUTPUT)
    return next((str(name) for name in wanted if name in prediction.maps), str(Measure.ENTROPY))


def start_threshold(prediction: Prediction, sweep: ThresholdSweep) -> float:
    """Where a map is cut first: at :data:`START`; lower in a doubtful result, until it lists places to look at."""
    step = sweep.step(START * float(sweep.thresholds[-1]))
    while step > 1 and reasons_of(prediction) and sweep.volume_ml(step) < PLACES_ML:
        step -= 1
    return float(sweep.thresholds[step])


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else math.nan


def _not_below(bins: Places, whole: int) -> Ints64:
    """Voxels not below each threshold, from the number of thresholds each reaches; the first count is the whole."""
    counts = np.bincount(bins, minlength=STEPS + 2)[: STEPS + 2]
    above = counts[::-1].cumsum()[::-1][1:]
    above[0] = whole
    return np.asarray(above, dtype=np.int64)
