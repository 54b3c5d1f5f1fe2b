"""Whether a score per study tells good predictions from poor ones: over all studies, and split in two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from napari_uncseg.evaluation.aggregation import AGGREGATORS
from napari_uncseg.evaluation.table import by_case, select
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.selective import RiskCoverage, Triage, augrc, aurc, e_aurc, risk_coverage, triage_auroc
from napari_uncseg.metrics.statistics import TwoGroups, holm, mann_whitney, partial_spearman

Floats = npt.NDArray[np.float64]

TRIAGE_AGGREGATOR = "mean_tumour"
"""Aggregator of the triage score: the mean over the predicted tumour and 5 mm around it."""

POOR_DICE = (0.7, 0.8)
"""Below these a prediction counts as poor, for the triage AUROC."""

_FEWEST = 3


@dataclass(frozen=True, eq=False)
class Ranking:
    """Studies ranked by one score, compared with their Dice.

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
        Scores above it are the uncertain half.
    in_sample : bool
        Whether the threshold is the median of these very studies.
    below, above : ndarray of float, shape (studies,)
        Dice on both sides.
    test : TwoGroups
        The certain half against the uncertain one.
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


def rankings(table: pd.DataFrame) -> list[Ranking]:
    """Rank studies by every aggregate of every map.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies: aggregates, ``volume_confounder`` and ``dice``.

    Returns
    -------
    list of Ranking
        By region, map and aggregator; none for fewer than three studies.
    """
    found = []
    for region in REGIONS:
        here = select(table, region=region, aggregation="case")
        dice = by_case(here, metric="dice")
        for name in here.loc[here["metric"].isin(AGGREGATORS), "map"].unique():
            aggregates = _aggregates(here, name, region)
            for aggregator in (each for each in AGGREGATORS if each in aggregates):
                studies = pd.DataFrame({"score": _scores(aggregates, aggregator), "dice": dice})
                studies["volume"] = aggregates["volume_confounder"]
                if len(studies.dropna()) >= _FEWEST:
                    found.append(_rank(aggregator, name, region, studies))
    return found


def scores_of(table: pd.DataFrame, name: str, region: Region) -> pd.Series:
    """Triage score of every study by its id.

    Parameters
    ----------
    table : pandas.DataFrame
    name : str
        The map.
    region : Region

    Returns
    -------
    pandas.Series
        Infinite where nothing was predicted: nobody should trust that unseen. Studies whose score is undefined for
        another reason are left out.
    """
    aggregates = _aggregates(table, name, region)
    return _scores(aggregates, TRIAGE_AGGREGATOR) if TRIAGE_AGGREGATOR in aggregates else pd.Series(dtype=float)


def stratify(
    table: pd.DataFrame,
    calibration: pd.DataFrame | None = None,
    maps: Sequence[str] = ("entropy", "unc_output"),
    resamples: int = 2000,
) -> list[Stratification]:
    """Split studies at the median of their triage score and compare the Dice of both halves.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies.
    calibration : pandas.DataFrame, optional
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
            dice = by_case(table, metric="dice", region=region)
            both = pd.DataFrame({"score": scores_of(table, name, region), "dice": dice}).dropna()
            known = both["score"] if calibration is None else scores_of(calibration, name, region)
            if len(both) < _FEWEST or known.empty:
                continue
            threshold = float(np.median(known))
            # With an infinite median, studies without a prediction are the uncertain half.
            uncertain = (both["score"] > threshold) | np.isinf(both["score"])
            below, above = (both.loc[half, "dice"].to_numpy() for half in (~uncertain, uncertain))
            test = mann_whitney(below, above, resamples)
            found.append(Stratification(name, region, threshold, calibration is None, below, above, test))
    adjusted = holm([each.test.p_value for each in found])
    return [replace(each, p_holm=float(p)) for each, p in zip(found, adjusted, strict=True)]


def _rank(aggregator: str, name: str, region: Region, studies: pd.DataFrame) -> Ranking:
    some = int(studies[["score", "dice"]].notna().any(axis=1).sum())
    studies = studies.dropna()
    score, dice, volume = (studies[column].to_numpy() for column in studies)
    # A finite stand-in keeps the order: an empty prediction is the least certain of all.
    risk, ranks = 1 - dice, stats.rankdata(score)
    order = (risk, -ranks)
    areas = (aurc(*order), e_aurc(*order), augrc(*order))
    partial = partial_spearman(ranks, dice, volume).value
    correlations = (_spearman(ranks, dice), _spearman(ranks, volume), partial)
    triage = tuple(triage_auroc(ranks, dice, threshold) for threshold in POOR_DICE)
    ranked = (tuple(studies.index), score, dice, volume, some - len(studies))
    return Ranking(aggregator, name, region, *ranked, risk_coverage(*order), *areas, *correlations, triage)


def _aggregates(table: pd.DataFrame, name: str, region: Region) -> pd.DataFrame:
    """Aggregates of one map and the predicted volume, a row per study."""
    found = select(table, map=name, region=region, aggregation="case")
    return found[found["metric"].isin([*AGGREGATORS, "volume_confounder"])].pivot(
        index="case", columns="metric", values="value"
    )


def _scores(aggregates: pd.DataFrame, aggregator: str) -> pd.Series:
    scores = aggregates[aggregator]
    return scores.mask(scores.isna() & (aggregates["volume_confounder"] == 0), math.inf).dropna()


def _spearman(x: Floats, y: Floats) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.spearmanr(x, y).statistic)
