"""From studies with references to what tells errors without one: error risk and expected Dice.

Both are judged on studies that they were not fitted on: studies are dealt into folds, those of one network into one
fold where several networks predicted them, and each fold is estimated by what was fitted on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import Case
from napari_uncseg.io.study import z_scores
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import Measure
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.error_risk import ErrorRisk, Evidence, fit_perceptron
from napari_uncseg.uncertainty.expected_dice import EMPTY_ML, ExpectedDice, Quality, fit_dice_model, out_of_fold

NEAR, FAR = 6000, 3000
"""Voxels drawn from a study near the tumour and in the rest of the brain; each stands for as many as there are."""

REVIEWED = 0.25
"""Share of the studies that the bound on expected Dice sends to review."""

OUT_OF_FOLD = {"estimates": "fitted out of fold"}
"""What the settings of a result say that was made by a network, and by error models, that never saw its study."""

FEWEST = 5
"""Of fewer studies nothing is learnt."""

FOLDS = 5
"""Into how many parts studies are dealt that one network predicted."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What is learnt from one study.

    Parameters
    ----------
    id : str
        The study's id.
    names : tuple of str
        Features, see :attr:`napari_uncseg.uncertainty.error_risk.Evidence.names`.
    features : ndarray of float32, shape (n, features)
        Of voxels drawn in the brain.
    wrong : ndarray of bool, shape (n, 3)
        Whether WT, TC and ET are wrong there.
    weights : ndarray of float32, shape (n,)
        How many voxels each stands for.
    quality : mapping of Region to Quality
        What the prediction tells of itself.
    dice : mapping of Region to float
        True Dice.
    fold : int
    """

    id: str
    names: tuple[str, ...]
    features: Floats32
    wrong: Mask
    weights: Floats32
    quality: Mapping[Region, Quality]
    dice: Mapping[Region, float]
    fold: int


def evidence_of(case: Case) -> tuple[Evidence, tuple[slice, ...]]:
    """What a case tells of its errors, in the bounding box of its brain.

    Raises
    ------
    EvaluationError
        When it has no probabilities, or no brain.
    """
    box = bounding_box(case.brain)
    if case.probabilities is None or box is None:
        raise EvaluationError(f"Case {case.id} has no probabilities or no brain, so nothing tells of its errors.")
    asked = {"channel": Measure.UNC_OUTPUT_UNMASKED, "variance": Measure.VARIANCE if case.member_count > 1 else ""}
    there = {name: case.maps[measure] for name, measure in asked.items() if measure in case.maps}
    maps = {name: np.ascontiguousarray(volume[box]) for name, volume in there.items()}
    if case.images is not None:
        maps["images"] = np.stack([z_scores(image, case.brain[box]) for image in case.images[:, *box]])
    return Evidence(np.ascontiguousarray(case.probabilities[:, *box]), case.spacing, **maps), box


def sample_of(case: Case, quality: Mapping[Region, Quality], fold: int, seed: int = 0) -> Sample:
    """Draw voxels of a study; the same seed draws the same ones."""
    evidence, box = evidence_of(case)
    near = case.voxels(VoxelSet.TUMOUR, Region.WT)[box] & case.brain[box]
    random = np.random.default_rng(seed)
    drawn, weights = [], []
    for places, count in ((np.flatnonzero(near), NEAR), (np.flatnonzero(case.brain[box] & ~near), FAR)):
        taken = random.choice(places, min(count, len(places)), replace=False)
        drawn.append(taken)
        weights.append(np.full(len(taken), len(places) / max(len(taken), 1), np.float32))
    voxels = np.concatenate(drawn)
    return Sample(
        case.id,
        evidence.names,
        np.stack(list(evidence.features(voxels)), axis=1),
        np.stack([case.failure(region)[box].ravel()[voxels] for region in REGIONS], axis=1),
        np.concatenate(weights),
        quality,
        {region: dice(case.predicted(region), case.true(region)) for region in REGIONS},
        fold,
    )


def quality_of(provenance: Mapping[str, Any]) -> dict[Region, Quality] | None:
    """What a result tells of its own quality; None of one that was made by an older version."""
    told = provenance.get("quality")
    try:
        return {region: Quality(**told[region]) for region in REGIONS} if told else None
    except (KeyError, TypeError):
        return None


@dataclass(frozen=True)
class ErrorModels:
    """Error risk and expected Dice, as far as the studies allow; what they do not is among the notes."""

    error_risk: ErrorRisk | None = None
    expected_dice: ExpectedDice | None = None
    notes: tuple[str, ...] = ()


def fit_error_models(samples: Sequence[Sample]) -> ErrorModels:
    """Fit error risk and expected Dice on all studies."""
    samples, notes = in_folds(samples), []
    if len(samples) < FEWEST:
        what = (
            f"Error risk and expected Dice are not fitted: they need {FEWEST} studies whose results are of this version"
        )
        return ErrorModels(notes=(f"{what}; here are {len(samples)}.",))
    fitted: dict[str, Any] = {}
    for name, fit in (("error_risk", fit_error_risk), ("expected_dice", fit_expected_dice)):
        try:
            fitted[name] = fit(samples)
        except EvaluationError as error:
            notes.append(str(error))
    return ErrorModels(**fitted, notes=tuple(notes))


def in_folds(samples: Sequence[Sample]) -> list[Sample]:
    """Studies of several networks as they are; those of a single one are dealt into :data:`FOLDS`."""
    if len({sample.fold for sample in samples}) > 1:
        return list(samples)
    return [replace(sample, fold=number % FOLDS) for number, sample in enumerate(samples)]


def fit_error_risk(samples: Sequence[Sample]) -> ErrorRisk:
    """Fit the risk of every region on voxels of studies.

    Raises
    ------
    EvaluationError
        When the studies do not tell the same, or a region has no error to learn.
    """
    names = {sample.names for sample in samples}
    if len(names) != 1:
        raise EvaluationError(
            "The results do not hold the same maps, so that error risk cannot be fitted; predict them all in one way."
        )
    features = np.concatenate([sample.features for sample in samples])
    wrong = np.concatenate([sample.wrong for sample in samples])
    weights = np.concatenate([sample.weights for sample in samples])
    fits = {region: fit_perceptron(features, wrong[:, i], weights) for i, region in enumerate(REGIONS)}
    return ErrorRisk(names.pop(), fits)


def fit_expected_dice(samples: Sequence[Sample]) -> ExpectedDice:
    """Fit the expected Dice of every region; a quarter of the studies lie below its bound.

    Raises
    ------
    EvaluationError
        When there are too few studies that a region is predicted in.
    """
    folds = [sample.fold for sample in samples]
    qualities = {region: [sample.quality[region] for sample in samples] for region in REGIONS}
    true = {region: [sample.dice[region] for sample in samples] for region in REGIONS}
    for region, found in qualities.items():
        there = sum(each.volume_ml >= EMPTY_ML for each in found)
        if there < FEWEST:
            what = f"it needs {FEWEST} studies in which {region} is predicted; here are {there}."
            raise EvaluationError(f"Expected Dice is not fitted: {what}")
    fits = {region: fit_dice_model(qualities[region], true[region]) for region in REGIONS}
    whole = out_of_fold(qualities[Region.WT], true[Region.WT], folds)
    return ExpectedDice(fits, round(float(np.quantile([each.value for each in whole], REVIEWED)), 3))
