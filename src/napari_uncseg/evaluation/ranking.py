"""Whether a score per study tells good predictions from poor ones: over all studies, and split in two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.aggregation import (
    AGGREGATORS,
    RiskCoverage,
    Triage,
    augrc,
    aurc,
    e_aurc,
    risk_coverage,
    triage_auroc,
)
from napari_uncseg.evaluation.evaluation import select
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.statistics import TwoGroups, holm, mann_whitney, median_split, partial_spearman

Floats = npt.NDArray[np.float64]

TRIAGE_AGGREGATOR = "mean_tumour"
"""Aggregator of the triage score: the mean over the predicted tumour and 5 mm around it."""

POOR_DICE = (0.7, 0.8)
"""Below these a prediction counts as poor, for the triage AUROC."""

_FEWEST = 3


@dataclass(frozen=True, eq=False)
class Ranking:
    """Studies ranked by one score, held against their Dice.

    Parameters
    ----------
    aggregator, map : str
        The score.
    region : Region
        Of map and Dice.
    studies : tuple of str
        Those with a score and a Dice (the reference holds at least 1 mL).
    scores, dice, volumes_ml : ndarray of float, shape (studies,)
        Score (infinite for an empty prediction), Dice, and predicted volume.
    left_out : int
        Studies without one of them.
    curve : RiskCoverage
        Of risk 1 - Dice and confidence - score.
    aurc, e_aurc, augrc : float
        Areas; see :mod:`~napari_uncseg.metrics.selective`.
    spearman_dice, spearman_volume : float
        Rank correlation of the score with Dice and with the predicted volume; nan where one does not vary.
    partial : float
        Rank correlation with Dice, the predicted volume held fixed.
    triage : tuple of Triage
        One for each of :data:`POOR_DICE`.
    """

    aggregator: str
    map: str
    region: Region
    studies: tuple[str, ...]
    scores: Floats
    dice: Floats
    volumes_ml: Floats
    left_out: int
    curve: RiskCoverage
    aurc: float
    e_aurc: float
    augrc: float
    spearman_dice: float
    spearman_volume: float
    partial: float
    triage: tuple[Triage, ...]


@dataclass(frozen=True, eq=False)
class Stratification:
    """Dice of the studies on both sides of a threshold of their triage score.

    Parameters
    ----------
    map : str
        Map of the score.
    region : Region
        Of map and Dice.
    threshold : float
        Scores above it are the unsure half.
    in_sample : bool
        Whether the threshold is the median of these very studies.
    below, above : ndarray of float, shape (studies,)
        Dice on both sides.
    test : TwoGroups
        The sure half against the unsure one.
    p_holm : float
        Its p-value, adjusted for all regions and maps that were tested.
    """

    map: str
    region: Region
    threshold: float
    in_sample: bool
    below: Floats
    above: Floats
    test: TwoGroups
    p_holm: float = math.nan


def rankings(values: Sequence[Value]) -> list[Ranking]:
    """Rank studies by every aggregate of every map.

    Parameters
    ----------
    values : sequence of Value
        Of single studies: aggregates, ``volume_confounder`` and ``dice``.

    Returns
    -------
    list of Ranking
        By region, map and aggregator; none for fewer than three studies.
    """
    found = []
    for region in REGIONS:
        here = select(values, region=region, aggregation="case")
        dice = _by_case(select(here, metric="dice"))
        for name in dict.fromkeys(value.map for value in here if value.metric in AGGREGATORS and value.map is not None):
            volumes = _by_case(select(here, metric="volume_confounder", map=name))
            for aggregator in AGGREGATORS:
                scores = scores_of(here, name, region, aggregator)
                ranking = _rank(aggregator, name, region, scores, dice, volumes)
                found += [ranking] if ranking is not None else []
    return found


def scores_of(
    values: Sequence[Value], name: str, region: Region, aggregator: str = TRIAGE_AGGREGATOR
) -> dict[str, float]:
    """Score of every study: one aggregate of one map.

    Parameters
    ----------
    values : sequence of Value
    name : str
        The map.
    region : Region
    aggregator : str

    Returns
    -------
    dict of str to float
        Infinite where nothing was predicted: nobody should trust that unseen. Studies whose score is undefined for
        another reason are left out.
    """
    volumes = _by_case(select(values, metric="volume_confounder", map=name, region=region, aggregation="case"))
    scores = {}
    for value in select(values, metric=aggregator, map=name, region=region, aggregation="case"):
        if value.case is not None:
            empty = volumes.get(value.case) == 0 and not value.defined
            scores[value.case] = math.inf if empty else value.value
    return {study: score for study, score in scores.items() if not math.isnan(score)}


def stratify(
    values: Sequence[Value],
    calibration: Sequence[Value] | None = None,
    maps: Sequence[str] = ("entropy", "unc_output"),
    resamples: int = 2000,
) -> list[Stratification]:
    """Split studies at the median of their triage score and compare the Dice of both halves.

    Parameters
    ----------
    values : sequence of Value
        Of single studies.
    calibration : sequence of Value, optional
        Of calibration studies, whose median is the threshold; without them it is that of the studies themselves.
    maps : sequence of str
        Maps to split by.
    resamples : int
        For the interval of the shift.

    Returns
    -------
    list of Stratification
        p-values adjusted by Holm's method over all of them.
    """
    found: list[Stratification] = []
    for name in maps:
        for region in REGIONS:
            scores = scores_of(values, name, region)
            dice = _by_case(select(values, metric="dice", region=region, aggregation="case"))
            studies = [study for study in scores if study in dice]
            own = scores if calibration is None else scores_of(calibration, name, region)
            try:
                threshold = median_split([own[study] for study in own if calibration is not None or study in dice])
            except EvaluationError:
                continue
            if len(studies) < _FEWEST:
                continue
            # With an infinite median, studies without a prediction are the unsure half.
            unsure = {study for study in studies if scores[study] > threshold or math.isinf(scores[study])}
            above = np.array([dice[study] for study in studies if study in unsure])
            below = np.array([dice[study] for study in studies if study not in unsure])
            test = mann_whitney(below, above, resamples)
            found.append(Stratification(name, region, threshold, calibration is None, below, above, test))
    adjusted = holm([each.test.p_value for each in found])
    return [replace(each, p_holm=float(p)) for each, p in zip(found, adjusted, strict=True)]


def _rank(
    aggregator: str,
    name: str,
    region: Region,
    scores: Mapping[str, float],
    dice: Mapping[str, float],
    volumes: Mapping[str, float],
) -> Ranking | None:
    studies = tuple(study for study in scores if study in dice and study in volumes)
    if len(studies) < _FEWEST:
        return None
    score, quality, volume = (np.array([of[study] for study in studies]) for of in (scores, dice, volumes))
    risk = 1 - quality
    # A finite stand-in keeps the order: an empty prediction is the least sure of all.
    ranks = stats.rankdata(score)
    return Ranking(
        aggregator,
        name,
        region,
        studies,
        score,
        quality,
        volume,
        len(set(scores) | set(dice)) - len(studies),
        risk_coverage(risk, -ranks),
        aurc(risk, -ranks),
        e_aurc(risk, -ranks),
        augrc(risk, -ranks),
        _spearman(ranks, quality),
        _spearman(ranks, volume),
        partial_spearman(ranks, quality, volume).value,
        tuple(triage_auroc(ranks, quality, threshold) for threshold in POOR_DICE),
    )


def _spearman(x: Floats, y: Floats) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.spearmanr(x, y).statistic)


def _by_case(values: Sequence[Value]) -> dict[str, float]:
    return {value.case: value.value for value in values if value.case is not None and value.defined}
