"""Whether a score per study tells good predictions from poor ones, over all studies."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from napari_uncseg.evaluation.aggregation import MEAN_TUMOUR
from napari_uncseg.evaluation.table import by_case, select
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.selective import augrc, aurc, e_aurc, triage_auroc
from napari_uncseg.metrics.statistics import partial_spearman

Score = tuple[str, str]
"""Name of a score, and of the map that it is of."""

EXPECTED_DICE: Score = ("expected_dice", "")
VOLUME: Score = ("volume", "")

POOR_DICE = (0.7, 0.8)
"""Below these a prediction counts as poor, for the triage AUROC."""

_FEWEST = 3


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


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return math.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else float(stats.spearmanr(x, y).statistic)
