"""Predictions and references become a calibration: whether they belong together is checked before voxels are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_uncseg.errors import Cancelled, EvaluationError, StudyError
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.error_models import Sample, fit_error_models, quality_of, sample_of
from napari_uncseg.evaluation.loading import input_hashes, read_case
from napari_uncseg.evaluation.matching import Pair
from napari_uncseg.evaluation.recalibration import ECE_BINS, ProbabilitySteps, RegionFit, fit_region
from napari_uncseg.inference.progress import Progress
from napari_uncseg.io.files import versions
from napari_uncseg.io.results import read_result
from napari_uncseg.labels import REGIONS, Coding, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.models.identity import Identity
from napari_uncseg.uncertainty.conformal import ALPHA
from napari_uncseg.uncertainty.recalibration.io import SINGLE, Calibration
from napari_uncseg.uncertainty.recalibration.models import Method

AGGREGATION = "voxels of all studies together; after: each study recalibrated by a map fitted on the others"
"""How the figures before and after are made."""


@dataclass(frozen=True)
class FitSettings:
    """How a calibration is fitted.

    Parameters
    ----------
    method : Method
    voxel_set : VoxelSet
        Voxels that maps are fitted on and judged by.
    alpha : float, optional
        Largest expected false-negative rate; None leaves the thresholds that keep it out.
    coding : Coding, optional
        How references number their labels; by default names and values tell.
    """

    method: Method = Method.TEMPERATURE
    voxel_set: VoxelSet = VoxelSet.BRAIN
    alpha: float | None = ALPHA
    coding: Coding | None = None


@dataclass(frozen=True, eq=False)
class Fit:
    """A calibration, and how it came about.

    Parameters
    ----------
    calibration : Calibration
    regions : mapping of Region to RegionFit
    studies : tuple of str
        Ids of the studies it was fitted on.
    failures : mapping of str to Exception
        Studies that could not be used, and why.
    notes : tuple of str
        What a user should know, a sentence each.
    """

    calibration: Calibration
    regions: Mapping[Region, RegionFit]
    studies: tuple[str, ...]
    failures: Mapping[str, Exception]
    notes: tuple[str, ...]


def common_origin(pairs: Sequence[Pair]) -> Identity:
    """Model and members that all predictions share.

    Parameters
    ----------
    pairs : sequence of Pair
        Those with a ``problem`` are not looked at.

    Returns
    -------
    Identity

    Raises
    ------
    EvaluationError
        When predictions are of several models or members, were recalibrated already, are partial, or hold no
        probabilities.
    """
    for pair in pairs:
        if pair.foreign:
            raise EvaluationError(f"{pair.prediction.path} is a label file without probabilities; take it out.")
    origins = {pair.id: _origin(pair) for pair in pairs if pair.problem is None}
    if not origins:
        raise EvaluationError(next((pair.problem for pair in pairs if pair.problem), "There is no prediction."))
    (first, origin), *others = origins.items()
    for study, other in others:
        models, members = (origin.sha256[:12], other.sha256[:12]), (origin.ensemble, other.ensemble)
        for what, (here, there) in (("models", models), ("members", members)):
            if here != there:
                raise EvaluationError(
                    f"{first} and {study} were predicted by different {what} ({here}, {there}); fit one at a time."
                )
    return origin


def calibrate_pairs(
    pairs: Sequence[Pair],
    settings: FitSettings,
    *,
    command: str | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Fit:
    """Fit a calibration on studies.

    Parameters
    ----------
    pairs : sequence of Pair
        A study each, predicted by one model with one kind of members.
    settings : FitSettings
    command : str, optional
        The command that makes the same calibration again.
    progress : callable, optional
        Called with the studies done, all studies, and what became of the last one.
    cancelled : callable, optional
        Asked between studies; once true, nothing comes out.

    Returns
    -------
    Fit
        Of the studies that could be read; the others are among its failures.

    Raises
    ------
    EvaluationError
        As :func:`common_origin`, or when no study could be read.
    Cancelled
        When ``cancelled()`` became true.
    """
    origin = common_origin(pairs)
    collected = Collected(settings)
    failures: dict[str, Exception] = {}
    for number, pair in enumerate(pairs, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled("Stopped before all studies were counted; nothing was written.")
        try:
            collected.add(*_read(pair, settings))
        except Exception as error:  # a bad study does not stop the others
            failures[pair.id] = error
        if progress is not None:
            progress(number, len(pairs), f"{pair.id}: {'failed' if pair.id in failures else 'counted'}")
    if not collected.hashes:
        raise next(iter(failures.values()), EvaluationError("There is no study to fit a calibration on."))
    return collected.fit(origin, failures=failures, command=command)


class Collected:
    """What a calibration is fitted on, study by study.

    Parameters
    ----------
    settings : FitSettings

    Attributes
    ----------
    samples : list of Sample
        What error risk and expected Dice are learnt from; empty of results that do not tell their own quality.
    """

    def __init__(self, settings: FitSettings) -> None:
        self.settings = settings
        self.hashes: dict[str, Mapping[str, str]] = {}
        self.samples: list[Sample] = []
        self._metrics = [ProbabilitySteps(region, settings.voxel_set) for region in REGIONS]
        self._models: list[str] = []

    def add(self, case: Case, provenance: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
        """Take in a study: the case, what its result says of itself, and the hashes of its files."""
        for metric, statistic in [(metric, metric.measure(case)) for metric in self._metrics]:
            metric.put(case.id, statistic)
        quality, number = quality_of(provenance), len(self.hashes)
        if quality is not None:
            model = str(provenance.get("model", {}).get("sha256"))
            self._models += [model] * (model not in self._models)
            self.samples.append(sample_of(case, quality, self._models.index(model), number))
        self.hashes[case.id] = hashes

    def fit(
        self, origin: Identity, *, failures: Mapping[str, Exception] | None = None, command: str | None = None
    ) -> Fit:
        """Fit the calibration of a model and its members.

        Parameters
        ----------
        origin : Identity
            Whose calibration it is. The studies may be predicted by other networks of its kind, each by one that had
            not seen it: the folds of a cross-validation.
        failures : mapping of str to Exception, optional
            Studies that could not be used, and why.
        command : str, optional
            The command that makes the same calibration again.
        """
        settings, failures = self.settings, failures or {}
        fits = {metric.region: fit_region(metric, settings.method, settings.alpha) for metric in self._metrics}
        models = fit_error_models(self.samples)
        notes = (
            *_notes_of_regions(fits),
            *_remarks(self.hashes, failures),
            *models.notes,
        )
        calibration = Calibration(
            maps={region: fit.map for region, fit in fits.items()},
            model_sha256=origin.sha256,
            ensemble=origin.ensemble,
            controls={region: fit.control for region, fit in fits.items() if fit.control is not None},
            provenance={
                "model": {"name": origin.name, "sha256": origin.sha256},
                "method": str(settings.method),
                "voxel_set": str(settings.voxel_set),
                "figures": {
                    "aggregation": AGGREGATION,
                    "units": {"nll": "nats per voxel"},
                    "ece_bins": ECE_BINS,
                    "regions": {str(region): fit.content() for region, fit in fits.items()},
                },
                "notes": list(notes),
                "studies": self.hashes,
                "versions": versions("numpy", "scipy", "nibabel"),
                "command": command,
            },
            error_risk=models.error_risk,
            expected_dice=models.expected_dice,
        )
        return Fit(calibration, fits, tuple(self.hashes), failures, notes)


def _notes_of_regions(fits: Mapping[Region, RegionFit]) -> list[str]:
    """Each note once, before it the regions that it speaks of."""
    regions: dict[str, list[str]] = {}
    for region, fit in fits.items():
        for note in fit.notes:
            regions.setdefault(note, []).append(str(region))
    return [f"{', '.join(names)}: {note}" for note, names in regions.items()]


def _origin(pair: Pair) -> Identity:
    """Model and members of a prediction that can be calibrated."""
    result = read_result(pair.prediction.path)
    model, settings = (result.provenance.get(name) or {} for name in ("model", "settings"))
    method = settings.get("method", SINGLE if settings.get("members", 1) == 1 else "")
    if settings.get("calibration") is not None:
        why = "was recalibrated already; predict it again without --calibration, into another folder"
    elif result.partial is not None:
        why = f"is a partial result ({result.partial.done} of {result.partial.wanted} members); predict it again"
    elif not model.get("sha256") or not method:
        unsaid = "which members it is the mean of" if model.get("sha256") else "the hash of its model"
        why = f"does not tell {unsaid}; predict it again with a saved model"
    else:
        return Identity(str(model.get("name") or ""), model["sha256"], ensemble=method)
    raise EvaluationError(f"{pair.id} {why}.")


def _read(pair: Pair, settings: FitSettings) -> tuple[Case, Mapping[str, Any], dict[str, str]]:
    """A study as it is calibrated on, what its result says, and the hashes of what was read."""
    in_brain = settings.voxel_set is VoxelSet.BRAIN
    hashes = input_hashes(pair) if pair.problem is None else {}
    read = read_case(pair if in_brain else replace(pair, images=None), coding=settings.coding, keep_images=True)
    if in_brain and read.no_brain:
        what = f"{pair.id}: {read.no_brain}; name the folder of the images with --images"
        raise StudyError(f"{what}, or choose --voxels all or tumour.")
    told: dict[str, str] = {
        role: hashes[role] for role in ("prediction", "prediction/probabilities", "reference") if role in hashes
    }
    return read.case, read_result(pair.prediction.path).provenance, told


def _remarks(hashes: Mapping[str, Mapping[str, str]], failures: Mapping[str, Exception]) -> Iterator[str]:
    """Whether studies are independent of one another, and which were left out."""
    seen: dict[str, str] = {}
    twins = [(seen.setdefault(files.get("reference", study), study), study) for study, files in hashes.items()]
    for first, study in [pair for pair in twins if pair[0] != pair[1]][:1]:
        yield f"{first} and {study} have the same reference; the figures after recalibration flatter."
    if failures:
        yield f"Not used, for they could not be read: {', '.join(failures)}."
