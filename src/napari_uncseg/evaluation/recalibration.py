"""From calibration studies to a calibration: voxels are counted study by study, maps fitted and honestly judged.

What is kept of a study are its voxels by probability, in the steps of a file, so that nothing is lost and memory does
not grow with voxels. The figures after recalibration are made leaving one study out: each study is recalibrated by a
map that was fitted on the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_uncseg.arrays import Floats64
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.calibration import NO_VOXELS
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.calibration import calibration_errors
from napari_uncseg.metrics.histograms import BINS, bin_indices
from napari_uncseg.metrics.voxel_sets import FitSet, VoxelSet
from napari_uncseg.uncertainty.conformal import RiskControl, control_risk, false_negative_rates, thresholds
from napari_uncseg.uncertainty.recalibration.fit import Counts, count_steps, fit, negative_log_likelihood
from napari_uncseg.uncertainty.recalibration.models import IDENTITY, SMALLEST, STEPS, Method, MonotoneMap, steps_of

FIGURES = ("voxels", "positives", "studies_with_region", "before", "after", "marked_over_region")
"""What a calibration tells of the fit of a region."""

ECE_BINS = 15

FEW_STUDIES = 10
"""With fewer calibration studies a remark is made."""


@dataclass(eq=False)
class ProbabilitySteps(Metric):
    """Voxels of a region by probability, in the steps of a file.

    Parameters
    ----------
    region : Region
    voxel_set : VoxelSet
        The voxels a map is fitted on.

    Notes
    -----
    ``nll`` is the mean negative log-likelihood in nats per voxel, with probabilities kept a quarter of a step off 0 and
    1; ``brier`` and ``ece_classwise`` are those of
    :class:`~napari_uncseg.evaluation.calibration.ProbabilityCalibration`.
    """

    name: ClassVar[str] = "probability_steps"
    additive: ClassVar[bool] = True

    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN

    def measure(self, case: Case) -> Statistic:
        """Voxels of the set (``count``), those in the region (``true``), all that are in the region (``found``)."""
        steps = steps_of(case.probability(self.region))
        reference, chosen = case.true(self.region), case.voxels(self.voxel_set, self.region)
        return {
            "count": count_steps(steps[chosen]),
            "true": count_steps(steps[chosen & reference]),
            "found": count_steps(steps[reference]),
        }

    def read(self, statistic: Statistic) -> list[MetricResult]:
        """Figures of the probabilities as they are, each defined when there is a voxel."""
        numbers, count = judge([(IDENTITY, counts_of(statistic))]), int(statistic["count"].sum())
        bins = {"ece_classwise": ECE_BINS}
        return [self.result(name, each, count, NO_VOXELS, bins=bins.get(name)) for name, each in numbers.items()]


@dataclass(frozen=True, eq=False)
class RegionFit:
    """What came out for a region.

    Parameters
    ----------
    map : MonotoneMap
        Fitted on all studies.
    voxels, positives : int
        Voxels of the set, and those of them that are in the region, over all studies.
    studies_with_region : int
        Studies that have the region.
    before, after : mapping of str to float
        ``nll`` (nats per voxel), ``brier`` and ``ece_classwise``, over the voxels of all studies together: as the
        predictions are, and with each study recalibrated by the others (NaN when there is but one).
    control : RiskControl, optional
        When a false-negative rate was asked for.
    marked_over_region : float, optional
        Voxels of the set above its threshold, as a multiple of those in the region: what the promise costs.
    notes : tuple of str
        A sentence each, which does not name the region.
    """

    map: MonotoneMap
    voxels: int
    positives: int
    studies_with_region: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    control: RiskControl | None
    marked_over_region: float | None
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return {name: getattr(self, name) for name in FIGURES}


def fit_region(metric: ProbabilitySteps, method: Method, alpha: float | None = None) -> RegionFit:
    """Fit and judge the map of a region.

    Parameters
    ----------
    metric : ProbabilitySteps
        Fed with the calibration studies.
    method : Method
    alpha : float, optional
        Largest expected false-negative rate, when a threshold that keeps it is wanted.

    Returns
    -------
    RegionFit

    Raises
    ------
    EvaluationError
        When there is no study, or the reference decides which voxels are in the set.
    """
    if metric.voxel_set.value not in list(FitSet):
        raise EvaluationError(f"A map cannot be fitted on the voxel set {metric.voxel_set}: the reference decides it.")
    total, studies = metric.total(), list(metric.cases.values())
    counts = counts_of(total)
    fitted = fit(method, counts)
    # Where there is nothing to miss, the promise is empty.
    losses = [false_negative_rates(statistic["found"]) for statistic in studies if statistic["found"].any()]
    count = len(losses)
    before = judge([(IDENTITY, counts)])
    after = judge(_left_out(studies, total, method)) if len(studies) > 1 else dict.fromkeys(before, math.nan)
    control = marked = None
    if alpha is not None:
        control = control_risk(np.sum(losses, axis=0) if losses else np.zeros(STEPS), count, alpha, thresholds())
    if control is not None and control.threshold is not None and counts.positives:
        marked = float(counts.count[counts.probability > control.threshold].sum() / counts.positives)
    notes = [f"{fitted.note}."] if fitted.note else []
    if 0 < count < FEW_STUDIES:
        have = "study has" if count == 1 else "studies have"
        notes.append(f"only {count} {have} the region; {FEW_STUDIES} or more are advised.")
    if len(studies) == 1:
        notes.append("one study leaves no other to judge the curve by; the figures after are missing.")
    elif after["nll"] > before["nll"]:
        notes.append("on studies left out the NLL is no lower than before: this calibration will not help on others.")
    if control is not None and control.reason:
        notes.append(control.reason)
    return RegionFit(fitted.map, counts.voxels, counts.positives, count, before, after, control, marked, tuple(notes))


def judge(recalibrated: Iterable[tuple[MonotoneMap, Counts]]) -> dict[str, float]:
    """Figures of recalibrated voxels, all together.

    Parameters
    ----------
    recalibrated : iterable of (MonotoneMap, Counts)
        The voxels of a study and the map to recalibrate them with.

    Returns
    -------
    dict of str to float
        ``nll``, ``brier`` and ``ece_classwise``; NaN without a voxel.
    """
    nll, total = 0.0, Statistic()
    for change, counts in recalibrated:
        if counts.voxels:
            within = counts.clipped()
            nll += negative_log_likelihood(within, change.curve(within.probability)) * within.voxels
        bins = fine_bins(change, counts)
        total = {key: total[key] + bins[key] if total else bins[key] for key in bins}
    number, errors = int(total["count"].sum()), calibration_errors(total, ECE_BINS)
    return {"nll": nll / number if number else math.nan} | {name: errors[name] for name in ("brier", "ece_classwise")}


def fine_bins(change: MonotoneMap, counts: Counts) -> Statistic:
    """Recalibrated voxels as :func:`~napari_uncseg.metrics.calibration.reliability` reads them.

    Parameters
    ----------
    change : MonotoneMap
    counts : Counts
        Before it.

    Returns
    -------
    dict of str to ndarray, shape (4096,)
        ``count``, ``true`` (int64) and the ``sum`` of the probabilities (float64) of each bin; and ``squared``, of
        shape (1,), the sum of squared differences.
    """
    q = _recalibrated(change, counts)
    place, totals = bin_indices(q.astype(np.float32)), (counts.count, counts.true, counts.count * q)
    count, true, claimed = (np.bincount(place, weights, minlength=BINS) for weights in totals)
    squared = np.array([(counts.count * q * q - 2 * counts.true * q + counts.true).sum()])
    return {"count": count.astype(np.int64), "true": true.astype(np.int64), "sum": claimed, "squared": squared}


def counts_of(statistic: Statistic) -> Counts:
    """The voxels a map is fitted on, of a statistic of :class:`ProbabilitySteps`."""
    return Counts.of_steps(statistic["count"], statistic["true"])


def _recalibrated(change: MonotoneMap, counts: Counts) -> Floats64:
    if change == IDENTITY:  # the figures before are those of the file, as an evaluation has them
        return counts.probability
    return change.curve(np.clip(counts.probability, SMALLEST, 1 - SMALLEST))


def _left_out(studies: Sequence[Statistic], total: Statistic, method: Method) -> Iterator[tuple[MonotoneMap, Counts]]:
    """Each study, and the map that the others give."""
    for statistic in studies:
        others = {key: total[key] - statistic[key] for key in ("count", "true")}
        yield fit(method, counts_of(others)).map, counts_of(statistic)
