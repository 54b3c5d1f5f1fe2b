"""Scores of a study beside its true Dice: how well each orders the studies, and how good the expected Dice is.

Of expected Dice: how far it is off, how often its intervals hold, and whom its bound marks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR
from napari_uncseg.evaluation.error_models import REVIEWED
from napari_uncseg.evaluation.table import by_case, select
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.selective import augrc, aurc, e_aurc, share_interval, spearman_interval, triage_auroc
from napari_uncseg.metrics.statistics import Interval, TwoGroups, bootstrap_bca, mann_whitney, partial_spearman
from napari_uncseg.uncertainty.expected_dice import COVERAGE

Score = tuple[str, str]
"""Name of a score, and of the map that it is of."""

EXPECTED_DICE: Score = ("expected_dice", "")
VOLUME: Score = ("volume", "")

POOR_DICE = (0.7, 0.8)
"""Below these a prediction counts as poor, for the triage AUROC."""

_FEWEST = 3

POOR_WT = 0.7
"""A study whose whole tumour is segmented with a Dice below it should be marked for review."""

ENDS = ("low", "high")


def study_scores(table: pd.DataFrame, region: Region) -> pd.DataFrame:
    """Doubt about every study by each score; what they are judged by is in :func:`rankings`.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies.
    region : Region

    Returns
    -------
    pandas.DataFrame
        Studies by id; a column per :data:`Score`, larger where the prediction is less certain: 1 less the expected
        Dice where results tell it, the mean of each map round the predicted tumour, and less the predicted volume.
        Infinite where a mean is not defined because nothing was predicted: nobody should trust that unseen.
    """
    volume = by_case(table, metric="volume_prediction", region=region)
    columns = {EXPECTED_DICE: 1 - by_case(table, metric=EXPECTED_DICE[0], region=region)}
    means = select(table, metric=MEAN_TUMOUR, region=region, aggregation="case")
    for name, rows in means.groupby("map", sort=False):
        mean = rows.set_index("case")["value"]
        columns[MEAN_TUMOUR, str(name)] = mean.mask(mean.isna() & (volume.reindex(mean.index) == 0), math.inf)
    columns[VOLUME] = -volume
    return pd.DataFrame(columns).dropna(axis="columns", how="all").sort_index()


def rankings(table: pd.DataFrame) -> pd.DataFrame:
    """Order studies by every score, and tell how well that orders their Dice.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies.

    Returns
    -------
    pandas.DataFrame
        A row per region and score: ``count`` of the studies with score and Dice (of regions of any size) and those
        ``left_out``; ``aurc``, ``e_aurc`` and ``augrc`` of the risk 1 - Dice; rank correlation of the score with Dice,
        the same with the predicted volume held fixed (``partial``), and with that volume; and a
        :class:`~napari_uncseg.metrics.selective.Triage` for each of :data:`POOR_DICE`. None of fewer than three.
    """
    rows = []
    for region in REGIONS:
        dice = by_case(table, metric="dice_any_size", region=region)
        volume = by_case(table, metric="volume_prediction", region=region)
        for score, doubt in study_scores(table, region).items():
            known = pd.DataFrame({"doubt": doubt, "dice": dice, "volume": volume})
            studies = known.dropna()
            if len(studies) < _FEWEST:
                continue
            # A finite stand-in keeps the order: an empty prediction is the least certain of all.
            ranks, true, size = stats.rankdata(studies["doubt"]), studies["dice"].to_numpy(), studies["volume"]
            order = (1 - true, -ranks)
            name, of = score
            rows.append(
                {
                    **{"region": region, "score": name, "map": of, "count": len(studies)},
                    "left_out": len(known) - len(studies),
                    **{"aurc": aurc(*order), "e_aurc": e_aurc(*order), "augrc": augrc(*order)},
                    "spearman_dice": _spearman(ranks, true),
                    "partial": partial_spearman(ranks, true, size).value,
                    "spearman_volume": _spearman(ranks, size.to_numpy()),
                    "triage": tuple(triage_auroc(ranks, true, threshold) for threshold in POOR_DICE),
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Forecast:
    """How good the expected Dice of a region is.

    Parameters
    ----------
    region : Region
    count : int
        Studies that tell it.
    spearman : Interval
        Rank correlation with the true Dice.
    over_entropy, over_volume : Interval
        By how much that is larger than those of mean entropy and of the predicted volume, over the same studies.
    error, error_of_mean : Interval
        Mean absolute error, and that of always saying the mean true Dice of these studies.
    held : Interval
        Share of studies whose interval holds the true Dice; it is to be :data:`COVERAGE`.
    width, constant_width : float
        Mean width of the intervals, and of the single one that would hold as many of these studies.
    """

    region: Region
    count: int
    spearman: Interval
    over_entropy: Interval
    over_volume: Interval
    error: Interval
    error_of_mean: Interval
    held: Interval
    width: float
    constant_width: float


def forecasts(table: pd.DataFrame, resamples: int = 2000) -> list[Forecast]:
    """Judge the expected Dice of every region that tells it.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies.
    resamples : int
        For intervals.
    """
    found = []
    for region in REGIONS:
        scores, told = study_scores(table, region), _estimates(table, region)
        if told.empty:
            continue
        scores = scores.loc[told.index]
        dice, confidence = told["dice"].to_numpy(), told["value"].to_numpy()
        entropy = scores.get((MEAN_TUMOUR, "entropy"), pd.Series(np.nan, scores.index))
        over_entropy, over_volume = (
            spearman_interval(confidence[known], dice[known], -doubt[known], n=resamples)
            for doubt, known in ((doubt.to_numpy(), doubt.notna().to_numpy()) for doubt in (entropy, scores[VOLUME]))
        )
        tails = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
        found.append(
            Forecast(
                region=region,
                count=len(told),
                spearman=spearman_interval(confidence, dice, n=resamples),
                over_entropy=over_entropy,
                over_volume=over_volume,
                error=bootstrap_bca(np.abs(confidence - dice), n=resamples),
                error_of_mean=bootstrap_bca(np.abs(dice - dice.mean()), n=resamples),
                held=share_interval(int(told["dice"].between(told["low"], told["high"]).sum()), len(told)),
                width=float((told["high"] - told["low"]).mean()),
                constant_width=float(np.diff(np.quantile(dice, tails))[0]),
            )
        )
    return found


@dataclass(frozen=True, eq=False)
class Review:
    """Whom *needs review* marks, and who slips through.

    Parameters
    ----------
    bound : float, optional
        Expected Dice of the whole tumour below which a study is marked; None where the results themselves say it.
    studies : pandas.DataFrame
        By id: true Dice of the whole tumour (``dice``), expected one (``value``, ``low``, ``high``), ``marked``, and
        the codes of the ``reasons`` that the result gives.
    share : Interval
        Share of the studies that are marked.
    sensitivity : Interval
        Share of those below :data:`POOR_WT` that are marked.
    groups : TwoGroups
        Dice of those that are not marked, against those that are.
    """

    bound: float | None
    studies: pd.DataFrame
    share: Interval
    sensitivity: Interval
    groups: TwoGroups

    @property
    def slipped_through(self) -> pd.DataFrame:
        """Studies below :data:`POOR_WT` that are not marked."""
        return self.studies[(self.studies["dice"] < POOR_WT) & ~self.studies["marked"]]


def review(
    table: pd.DataFrame, reasons: Mapping[str, Sequence[str]], bound: float | None = None, resamples: int = 2000
) -> Review | None:
    """Judge the bound of *needs review*; None where no result tells its expected Dice.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies.
    reasons : mapping of str to sequence of str
        Codes of the reasons for a review that the result of a study gives.
    bound : float, optional
        Expected Dice of the whole tumour below which a study is marked, as one in which nothing was predicted is;
        without it the reasons that the results give are what marks them.
    resamples : int
        For intervals.
    """
    studies = _estimates(table, Region.WT)
    if studies.empty:
        return None
    studies["reasons"] = [tuple(reasons.get(study, ())) for study in studies.index]
    empty = by_case(table, metric="volume_prediction", region=Region.WT).reindex(studies.index) == 0
    studies["marked"] = (studies["value"] < bound) | empty if bound is not None else studies["reasons"].map(bool)
    marked, poor, dice = studies["marked"], studies["dice"] < POOR_WT, studies["dice"]
    return Review(
        bound,
        studies,
        share_interval(int(marked.sum()), len(studies)),
        share_interval(int((marked & poor).sum()), int(poor.sum())),
        mann_whitney(dice[~marked].to_numpy(), dice[marked].to_numpy(), resamples),
    )


def bound_of(table: pd.DataFrame) -> float | None:
    """Bound that sends a quarter of the studies of a table to review; None where none tells its expected Dice."""
    told = by_case(table, metric=EXPECTED_DICE[0], region=Region.WT)
    return None if told.empty else float(np.quantile(told, REVIEWED))


def _estimates(table: pd.DataFrame, region: Region) -> pd.DataFrame:
    """True and expected Dice of the studies that tell the latter, with its interval."""
    name = EXPECTED_DICE[0]
    columns = {"dice": "dice_any_size", "value": name, **{end: f"{name}_{end}" for end in ENDS}}
    values = {column: by_case(table, metric=metric, region=region) for column, metric in columns.items()}
    return pd.DataFrame(values).dropna().sort_index()


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return math.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else float(stats.spearmanr(x, y).statistic)
