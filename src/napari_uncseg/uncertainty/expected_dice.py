"""How good a segmentation is without a reference: its expected Dice per region, with an interval.

Two numbers tell most of it. Members (networks, mirrored inputs) that draw different tumours cannot all be right; and
probabilities near one half cannot all be on the right side. A linear model of their logits, fitted on patients that no
member had seen, turns them into a Dice; how far it is off on patients that it was fitted without gives the interval.

References
----------
Roy et al., "Bayesian QuickNAT: model uncertainty in deep whole-brain segmentation for structure-wise quality control",
NeuroImage 195 (2019): overlap between samples. Zenk et al., "Comparative benchmarking of failure detection methods in
medical image segmentation", Medical Image Analysis 101 (2025): pairwise Dice of an ensemble ranks best. Borges et al.,
"Soft Dice confidence", arXiv 2402.10665 (2024). Butler and Rothman, "Predictive intervals based on reuse of the
sample", Journal of the American Statistical Association 75 (1980): intervals from models that left the study out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats64
from napari_uncseg.errors import EvaluationError
from napari_uncseg.io.provenance import Fraction
from napari_uncseg.labels import REGIONS, Region

COVERAGE = 0.9
"""Share of studies whose true Dice the interval is to hold."""

EMPTY_ML = 0.05
"""A region predicted smaller than this counts as empty: nothing in it tells how good it is."""

_EDGE = 0.02
"""Dice and agreement are kept this far from 0 and 1 before their logit is taken."""

_RIDGE = 1.0
"""Penalty on the coefficients of standardised features, in studies."""


@dataclass(frozen=True)
class Quality:
    """What a prediction tells of its own quality, of one region.

    Parameters
    ----------
    agreement : float
        Overlap between members, see :func:`agreement_of`; 1 with a single member.
    soft_dice : float
        Overlap between the mean probability and its own segmentation, see :func:`soft_dice_of`.
    volume_ml : float
        Predicted volume.
    stages : float
        Dice between the two stages of a cascade, 1 without one: two networks that look at other voxels.
    """

    agreement: float
    soft_dice: float
    volume_ml: float
    stages: float = 1.0

    @property
    def features(self) -> Floats64:
        """Logits of the three overlaps and the logarithm of the volume, shape (4,)."""
        overlaps = [_logit(each) for each in (self.agreement, self.soft_dice, self.stages)]
        return np.array([*overlaps, np.log10(max(self.volume_ml, EMPTY_ML))])


@dataclass(frozen=True)
class Estimate:
    """Expected Dice of a region with its interval, 0..1."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def expected_dice_of(provenance: Mapping[str, Any]) -> dict[Region, Estimate]:
    """Expected Dice that a result tells; empty where it tells none."""
    told = provenance.get("expected_dice") or {}
    ends = ("value", "low", "high")
    return {region: Estimate(*(told[region][end] for end in ends)) for region in REGIONS if region in told}


def agreement_of(votes: Any, members: int) -> float:
    """Overlap between the segmentations of members: Dice over all pairs, weighted by the size of each pair.

    Parameters
    ----------
    votes : ndarray or Tensor of int, any shape
        How many members ``n`` put a voxel into the region. Over all pairs of ``members``, twice the overlap adds up to
        ``sum n (n - 1)`` and the sizes to ``(members - 1) sum n``, so that counts suffice.
    members : int
        How many there are.

    Returns
    -------
    float
        0..1; 1 for a single member, and where no member found anything.
    """
    total = float(votes.sum())
    if members < 2 or total == 0:
        return 1.0
    counts = np.bincount(np.asarray(votes).ravel().astype(np.int64, copy=False), minlength=members + 1)
    number = np.arange(len(counts), dtype=np.float64)
    return float((counts * number * (number - 1)).sum() / ((members - 1) * total))


def soft_dice_of(probability: Any) -> float:
    """Dice between a probability and where it is above one half: ``2 sum p [p > 1/2] / sum (p + [p > 1/2])``.

    Parameters
    ----------
    probability : ndarray or Tensor of float, any shape
        0..1.

    Returns
    -------
    float
        0..1; 0 where it is nowhere above one half.
    """
    inside = probability > 0.5
    size = float(inside.sum())
    if size == 0:
        return 0.0
    return 2 * float(probability[inside].sum()) / (float(probability.sum()) + size)


@dataclass(frozen=True)
class DiceModel:
    """The model of one region.

    Parameters
    ----------
    centre, scale, coefficients : tuple of float
        Of the features: mean, standard deviation, and weight of the standardised feature on the logit of Dice.
    intercept : float
        Logit of Dice at the mean of the features.
    residuals : tuple of float
        True less expected logit of Dice of each study, by the model of the others; sorted.
    empty : tuple of int
        Studies in which the region was predicted empty, and of these those in which it was right.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    residuals: tuple[float, ...]
    empty: tuple[int, int] = (0, 0)

    def logit(self, features: Floats64) -> Floats64:
        """Expected logit of Dice of features (..., 4)."""
        standard = (features - np.array(self.centre)) / np.array(self.scale)
        logits: Floats64 = standard @ np.array(self.coefficients) + self.intercept
        return logits

    def estimate(self, quality: Quality, coverage: float = COVERAGE) -> Estimate:
        """Expected Dice of a region with its interval."""
        if quality.volume_ml < EMPTY_ML:
            seen, right = self.empty
            # Right or wrong, 1 or 0: nothing between them is ever true of an empty region.
            return Estimate((right + 1) / (seen + 2), 0.0, 1.0)
        middle = float(self.logit(quality.features))
        half = half_width(self.residuals, coverage)
        return Estimate(_expit(middle), _expit(middle - half), _expit(middle + half))


def half_width(residuals: Sequence[float], coverage: float) -> float:
    """Half the width of the interval that holds a new study with that probability: Student's t times the spread.

    A quantile of the residuals themselves would need at least nineteen studies, and with few more be as wide as the
    two worst of them are apart.
    """
    from scipy import special  # not for a help text

    spread = float(np.sqrt(np.mean(np.square(residuals))))
    return float(special.stdtrit(len(residuals) - 1, (1 + coverage) / 2)) * spread


def fit_dice_model(qualities: Sequence[Quality], dice: Sequence[float], ridge: float = _RIDGE) -> DiceModel:
    """Fit the model of one region.

    Parameters
    ----------
    qualities : sequence of Quality
        Of studies that no member had seen.
    dice : sequence of float
        Their true Dice, 0..1.
    ridge : float
        Penalty, in studies.

    Raises
    ------
    EvaluationError
        When the region is predicted in fewer than three studies.
    """
    drawn = [index for index, quality in enumerate(qualities) if quality.volume_ml >= EMPTY_ML]
    hollow = [float(dice[index]) for index, quality in enumerate(qualities) if quality.volume_ml < EMPTY_ML]
    if len(drawn) < 3:
        raise EvaluationError(f"{len(drawn)} studies are too few to fit expected Dice.")
    features = np.stack([qualities[index].features for index in drawn])
    target = np.array([_logit(dice[index]) for index in drawn])
    residuals = []
    for out in range(len(drawn)):
        part = _ridge(np.delete(features, out, 0), np.delete(target, out), ridge)
        residuals.append(float(target[out] - part.logit(features[out])))
    empty = (len(hollow), sum(value == 1 for value in hollow))
    return replace(_ridge(features, target, ridge), residuals=tuple(sorted(residuals)), empty=empty)


def out_of_fold(
    qualities: Sequence[Quality], dice: Sequence[float], folds: Sequence[int], coverage: float = COVERAGE
) -> list[Estimate]:
    """Expected Dice of every study by a model that was fitted without its fold, interval included."""
    groups = np.asarray(folds)
    estimates: list[Estimate | None] = [None] * len(dice)
    for fold in np.unique(groups):
        rest = np.flatnonzero(groups != fold).tolist()
        model = fit_dice_model([qualities[i] for i in rest], [dice[i] for i in rest])
        for index in np.flatnonzero(groups == fold).tolist():
            estimates[index] = model.estimate(qualities[index], coverage)
    return [estimate for estimate in estimates if estimate is not None]


@dataclass(frozen=True)
class ExpectedDice:
    """The models of all regions, of one model and its members.

    Parameters
    ----------
    regions : mapping of Region to DiceModel
    bound : float
        Expected Dice of the whole tumour below which a study needs review: a quarter of the studies it was fitted on.
    """

    regions: Mapping[Region, DiceModel]
    bound: Fraction

    def __post_init__(self) -> None:
        count = len(Quality(1.0, 1.0, 1.0).features)
        counts = {len(each) for fit in self.regions.values() for each in (fit.centre, fit.scale, fit.coefficients)}
        if set(self.regions) != set(REGIONS) or counts != {count}:
            raise ValueError(f"its regions are not WT, TC and ET of {count} features each")

    def estimate(self, qualities: Mapping[Region, Quality]) -> dict[Region, Estimate]:
        """Expected Dice of every region of a prediction."""
        return {region: self.regions[region].estimate(qualities[region]) for region in REGIONS}


def _ridge(features: Floats64, target: Floats64, penalty: float) -> DiceModel:
    centre, scale = features.mean(0), np.maximum(features.std(0), 1e-6)
    standard, middle = (features - centre) / scale, float(target.mean())
    gram = standard.T @ standard + penalty * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, standard.T @ (target - middle))
    return DiceModel(tuple(map(float, centre)), tuple(map(float, scale)), tuple(map(float, weights)), middle, ())


def _logit(value: float) -> float:
    inside = min(max(float(value), _EDGE), 1 - _EDGE / 10)
    return float(np.log(inside / (1 - inside)))


def _expit(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(1 / (1 + np.exp(-value)))
