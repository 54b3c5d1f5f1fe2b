"""The tables of the experiment ``case_study``: one row per network, kind of members and region."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats64
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import ece_bound
from napari_uncseg.metrics.statistics import Numbers, defined, paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from uncseg_training.experiments import harness
from uncseg_training.experiments.judging import Measured
from uncseg_training.experiments.records import CALIBRATED_SETS, SETS, scaled

ENTROPY = scaled("entropy")
"""Entropy over ln 2, which is entropy in bits."""

NATS = math.log(2)
"""Nats in a bit."""

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Judged(Measured):
    """A network with one kind of members, on studies it has not met.

    Parameters
    ----------
    network : str
        Title of the network.
    members : str
        As tables have it.
    """

    network: str
    members: str

    def of(self, metric: str, region: Region, map: str | None = None, voxel_set: VoxelSet | None = None) -> list[float]:  # noqa: A002
        """One number of every study; see :meth:`Record.of`."""
        return self.record.of(metric, region, map, voxel_set)

    @property
    def head(self) -> Row:
        """First columns of its rows."""
        return {"network": self.network, "members": self.members}


@dataclass(frozen=True, eq=False)
class Pair:
    """A network without and with dropout at inference."""

    deterministic: Judged
    mc: Judged

    def __iter__(self) -> Any:
        return iter((self.deterministic, self.mc))


def dice_rows(pairs: Sequence[Pair]) -> list[Row]:
    """Dice without and with dropout, and their difference; p-values adjusted by Holm over all rows."""
    rows: list[Row] = []
    p_values = []
    for pair in pairs:
        for region in REGIONS:
            with_dropout, without = pair.mc.of("dice", region), pair.deterministic.of("dice", region)
            difference = paired_difference(with_dropout, without)
            each = defined(np.subtract(with_dropout, without))
            rows.append(
                {
                    "network": pair.mc.network,
                    "region": str(region),
                    "studies": difference.count,
                    "deterministic": harness.interval(without),
                    "MC dropout": harness.interval(with_dropout),
                    "difference": harness.told(difference.mean),
                    "largest difference of a study": harness.rounded(
                        float(np.abs(each).max()) if each.size else math.nan
                    ),
                }
            )
            p_values.append(difference.p_value)
    return with_p(rows, p_values)


def ranking_rows(pairs: Sequence[Pair]) -> list[Row]:
    """How well entropy finds the failures of its region, on three sets of voxels side by side."""
    rows = []
    for judged in all_of(pairs):
        for region in REGIONS:
            row = judged.head | {"region": str(region)}
            for metric, title in (("auroc", "AUROC"), ("auprc", "AUPRC"), ("prevalence", "prevalence")):
                for voxels in SETS:
                    values = judged.of(metric, region, ENTROPY, voxels)
                    row[f"{title} {voxels}"] = harness.interval(values)
            rows.append(row)
    return rows


def entropy_rows(pairs: Sequence[Pair]) -> list[Row]:
    """Mean entropy of a region's probability per study, by the voxels it is taken over."""
    rows = []
    for judged in all_of(pairs):
        for region in REGIONS:
            rows.append(
                judged.head
                | {
                    "region": str(region),
                    "predicted region, nats": _nats(judged, region, "mean_prediction"),
                    "predicted region, bits": harness.interval(judged.of("mean_prediction", region, ENTROPY)),
                    "predicted tumour and 5 mm, nats": _nats(judged, region, MEAN_TUMOUR),
                    "brain, nats": _nats(judged, region, "mean_brain"),
                }
            )
    return rows


def calibration_rows(pairs: Sequence[Pair]) -> list[Row]:
    """Class-wise calibration errors before and after temperature scaling, and the largest that the Dice allows."""
    rows = []
    for judged in all_of(pairs):
        for region in REGIONS:
            row = judged.head | {"region": str(region), "T": harness.rounded(judged.temperature(region) or math.nan)}
            for voxels in CALIBRATED_SETS:
                before, after = (judged.calibration_error(region, voxels, scaled=scale) for scale in (False, True))
                for way, old, new in zip(("pooled", "mean"), before, after, strict=True):
                    row |= {f"{voxels}, {way}": harness.rounded(old), f"{voxels}, {way}, T": harness.rounded(new)}
            dice, errors = dice_and_union_error(judged, region)
            row["union, mean"] = harness.interval(errors)
            row["Dice there"] = harness.rounded(float(dice.mean()) if dice.size else math.nan)
            row["bound"] = harness.rounded(ece_bound(float(dice.mean())) if dice.size else math.nan)
            row["studies above their bound"] = int(sum(e > ece_bound(d) for d, e in zip(dice, errors, strict=True)))
            rows.append(row)
    return rows


def dice_and_union_error(judged: Judged, region: Region) -> tuple[Floats64, Floats64]:
    """Dice and calibration error of the studies that have the region, predicted or true."""
    errors = np.array(judged.of("ece_classwise", region, voxel_set=VoxelSet.UNION))
    dice = np.array(judged.of("dice_any_size", region))
    known = ~np.isnan(errors)
    return dice[known], errors[known]


TITLES: Mapping[str, str] = {
    "dice": (
        "Dice of studies with at least 1 mL of the region in the reference: mean and 95 % interval (BCa bootstrap of "
        "studies). `difference`: MC dropout minus deterministic, paired. `p`: Wilcoxon signed-rank, and adjusted by "
        "Holm over the table."
    ),
    "ranking": (
        "How well entropy finds the voxels where a region fails: mean over studies and 95 % interval. One map, one "
        "failure, three sets of voxels: the whole volume, the brain, tumour (predicted or true) and 5 mm around it. "
        "Chance is 0.5 for AUROC and the prevalence of failures for AUPRC."
    ),
    "entropy": (
        "Mean entropy of the region's probability per study: mean over studies and 95 % interval. Studies where "
        "nothing was predicted have none over a prediction. ln 2 = 0.693 nats = 1 bit is the most there can be."
    ),
    "calibration": (
        "Class-wise expected calibration error, 15 bins: of the voxels of all studies together (`pooled`) and mean "
        "over studies; as predicted, and after the temperature `T` fitted on the brain of the other parts (the mean). "
        "`union` is the region, predicted or true, as predicted (mean and 95 % interval); `Dice there` the mean Dice "
        "of the same studies and `bound` the largest error it allows."
    ),
    "triage": (
        "Studies with at least 1 mL of WT in the reference, split at the median of a score in the other parts (of "
        "phantoms the calibration cohort, of patients the other folds): the mean entropy over the predicted tumour and "
        "5 mm around it, or 1 less the expected Dice. The shift is certain minus uncertain, with a 95 % "
        "interval, and Cliff's delta is above 0 where the certain ones have the higher Dice. `p`: Mann–Whitney, "
        "two-sided, and adjusted by Holm over the table. The volume is that of the predicted WT."
    ),
    "expected": (
        "Expected Dice of studies whose part it was not fitted on: rank correlation with the true Dice, by how much it "
        "is larger than those of the mean entropy over the tumour and of the predicted volume; mean absolute error, "
        "and that of always saying the mean; how often the interval of 90 % holds. 95 % intervals over studies."
    ),
    "published": "Figures of arXiv 2606.19300 on 126 patients of BraTS 2021, and the same here with MC dropout.",
}


def write_tables(rows: Mapping[str, Sequence[Row]], folder: Path, prefix: str = "") -> None:
    """Write the tables that have rows, each as CSV and Markdown.

    Parameters
    ----------
    rows : mapping of str to sequence of dict
        Name of the table, as in :data:`TITLES`, to its rows.
    folder : Path
    prefix : str
        Put before every title.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in rows.items():
        if each:
            harness.write_table(each, folder / name, prefix + TITLES[name])


def all_of(pairs: Sequence[Pair]) -> list[Judged]:
    """Every network without and with dropout."""
    return [judged for pair in pairs for judged in pair]


def _nats(judged: Judged, region: Region, aggregate: str) -> dict[str, float | int | None]:
    return harness.interval(NATS * np.array(judged.of(aggregate, region, ENTROPY)))


def with_p(rows: list[Row], p_values: Sequence[float]) -> list[Row]:
    """Rows with their p-values, and those adjusted by Holm over the table."""
    return [
        row | {"p": told_p(p), "p (Holm)": told_p(float(adjusted))}
        for row, p, adjusted in zip(rows, p_values, holm(p_values), strict=True)
    ]


def told_p(value: float) -> float | None:
    """A p-value for a table; None where it is undefined."""
    return float(f"{value:.2g}") if math.isfinite(value) else None


def holm(p_values: Numbers) -> Floats64:
    """Adjust p-values for many tests by Holm's step-down method.

    Parameters
    ----------
    p_values : sequence of float, length m
        ``nan`` for a test that could not be made; it stays ``nan`` and does not count as a test.

    Returns
    -------
    ndarray of float64, shape (m,)
        In 0..1, never below the p-values.

    Raises
    ------
    EvaluationError
        When a p-value is outside 0..1.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65–70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    made = np.flatnonzero(~np.isnan(p))
    if ((p[made] < 0) | (p[made] > 1)).any():
        raise EvaluationError("A p-value lies outside 0..1; give p-values as the tests return them.")
    order = made[np.argsort(p[made], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
