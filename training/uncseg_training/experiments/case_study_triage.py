"""Whom the case study would look at: studies split by entropy, and by the Dice that their predictions promise."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import pandas as pd

from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR
from napari_uncseg.evaluation.error_models import FEWEST
from napari_uncseg.evaluation.expected_dice import EXPECTED_DICE, VOLUME, forecasts, study_scores
from napari_uncseg.evaluation.table import MetricResult, by_case, to_frame
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.statistics import TwoGroups, mann_whitney, partial_spearman
from napari_uncseg.uncertainty.expected_dice import fit_dice_model
from uncseg_training.experiments import harness
from uncseg_training.experiments.case_study_tables import ENTROPY, NATS, Judged, Pair, Row, all_of, told_p, with_p

SCORES: Mapping[str, tuple[tuple[str, str], float]] = {
    "mean entropy, nats": ((MEAN_TUMOUR, ENTROPY), NATS),
    "1 − expected Dice": (EXPECTED_DICE, 1.0),
}
"""What studies are split by: score, and what its threshold is told in."""

RESAMPLES = 2000
"""For intervals."""


@functools.cache
def numbers_of(judged: Judged) -> pd.DataFrame:
    """Numbers of all studies of all parts, expected Dice among them, for each part fitted on the others."""
    tables, parts = [record.values for record in judged.parts.values()], list(judged.parts)
    told = [(study, name) for name, record in judged.parts.items() for study in record.quality]
    found: list[MetricResult] = []
    for region, part in product(REGIONS, parts):
        true = by_case(pd.concat(tables), metric="dice_any_size", region=region)
        others = [(study, name) for study, name in told if name != part]
        if len(others) < FEWEST:
            continue
        qualities = [judged.parts[name].quality[study][region] for study, name in others]
        fitted = fit_dice_model(qualities, [float(true[study]) for study, _ in others])
        for study, quality in judged.parts[part].quality.items():
            value, low, high = asdict(fitted.estimate(quality[region])).values()
            name = EXPECTED_DICE[0]
            ends = {name: value, f"{name}_low": low, f"{name}_high": high}
            found += [MetricResult(metric, end, case=study, region=region) for metric, end in ends.items()]
    return pd.concat([*tables, to_frame(found)], ignore_index=True)


@dataclass(frozen=True, eq=False)
class Triage:
    """Studies split at a threshold of a score.

    Parameters
    ----------
    studies : pandas.DataFrame
        By id: ``score`` (infinite where nothing was predicted), ``dice`` and ``volume`` of WT, and the ``threshold``.
    test : TwoGroups
        Dice of the certain half against that of the uncertain one.
    """

    studies: pd.DataFrame
    test: TwoGroups

    @property
    def threshold(self) -> float:
        """Scores above it are the uncertain half; where folds have each their own, the mean."""
        return float(self.studies["threshold"].mean())


def triage(judged: Judged, score: tuple[str, str] = (MEAN_TUMOUR, ENTROPY)) -> Triage | None:
    """WT studies split at the other parts' median of a score; None of fewer than three studies."""
    scores = study_scores(numbers_of(judged), Region.WT)
    if score not in scores:
        return None
    part = pd.Series(judged.part_of).reindex(scores.index)
    medians = {name: float(scores[score][part != name].dropna().median()) for name in judged.judged}
    columns = {"score": scores[score], "dice": by_case(judged.record.values, metric="dice", region=Region.WT)}
    studies = pd.DataFrame({**columns, "volume": -scores[VOLUME], "threshold": part.map(medians)}).dropna()
    if len(studies) < 3:
        return None
    # With an infinite median, studies without a prediction are the uncertain half.
    uncertain = (studies["score"] > studies["threshold"]) | np.isinf(studies["score"])
    certain, other = (studies.loc[half, "dice"].to_numpy() for half in (~uncertain, uncertain))
    return Triage(studies, mann_whitney(certain, other))


def triage_rows(pairs: Sequence[Pair]) -> list[Row]:
    """Dice of WT of certain and uncertain studies, and what the predicted volume explains of it."""
    rows: list[Row] = []
    p_values = []
    for judged, (title, (score, unit)) in product(all_of(pairs), SCORES.items()):
        found = triage(judged, score)
        if found is None:
            continue
        test, ranks = found.test, found.studies.rank()
        partial = partial_spearman(*(ranks[column] for column in ("score", "dice", "volume")))
        spearman = ranks.corr()["score"]
        shift = test.hodges_lehmann
        rows.append(
            judged.head
            | {
                "score": title,
                "threshold": harness.rounded(found.threshold * unit),
                "certain": test.counts[0],
                "uncertain": test.counts[1],
                "median Dice, certain": harness.rounded(test.medians[0]),
                "median Dice, uncertain": harness.rounded(test.medians[1]),
                "Hodges–Lehmann shift": harness.told(shift),
                "Cliff's delta": harness.rounded(test.cliffs_delta),
                "Spearman with Dice": harness.rounded(spearman["dice"]),
                "Spearman with volume": harness.rounded(spearman["volume"]),
                "Spearman with Dice, given volume": harness.rounded(partial.value),
                "p, given volume": told_p(partial.p_value),
            }
        )
        p_values.append(test.p_value)
    return with_p(rows, p_values)


def expected_rows(pairs: Sequence[Pair]) -> list[Row]:
    """Expected Dice, fitted on the other parts, beside the true one."""
    rows = []
    for judged in all_of(pairs):
        table = numbers_of(judged)
        table = table[table["case"].isin(judged.record.studies())]
        for each in forecasts(table.replace({"map": {ENTROPY: "entropy"}}), RESAMPLES):
            row = judged.head | {"region": str(each.region), "studies": each.count}
            row |= {"Spearman": harness.told(each.spearman), "beyond entropy": harness.told(each.over_entropy)}
            row |= {"beyond volume": harness.told(each.over_volume), "error": harness.told(each.error)}
            rows.append(row | {"of the mean": harness.told(each.error_of_mean), "held": harness.told(each.held)})
    return rows
