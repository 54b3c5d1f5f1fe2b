"""The tables of the experiment ``paper1``: one row per map and question, with intervals over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.discrimination import SMALLEST_VARIANCE, correlation, moments
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from uncseg_training.experiments import harness

Map = npt.NDArray[np.floating[Any]]


NUMBERS = ("pearson", "rmsd", "auroc", "auprc", "auroc_brain", "ratio")
"""Columns of table 2."""


def compare(
    case: Case,
    key: str,
    question: str,
    *,
    name: str | None = None,
    target: Map | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
    values: Map | None = None,
    scale: str = "none",
) -> harness.Row:
    """Compare a map with the failure of WT, or with a target of one's own.

    Parameters
    ----------
    case : Case
        Whose map it is.
    key : str
        Name of the map in the case, or of ``values``.
    question : str
        What the target is, for the table.
    name : str, optional
        What the table calls the map.
    target : ndarray of float, shape (x, y, z), optional
        The failure when left out.
    mask : ndarray of bool, shape (x, y, z), optional
        Where; tumour, predicted or true, and 5 mm around it when left out.
    values : ndarray of float, shape (x, y, z), optional
        The map, when the case does not have it in this form.
    scale : str
        How ``values`` was brought to the target's scale.

    Returns
    -------
    dict
        ``target``, ``map``, ``scale``, ``case`` and :data:`NUMBERS`, NaN where they are undefined: ``auroc`` and
        ``auprc`` of failures there, ``auroc_brain`` in the brain; ``ratio`` of the sums of map and target.
    """
    mask = case.tumour if mask is None else mask
    u = (case.maps[key] if values is None else values)[mask]
    v = (case.failure(Region.WT) if target is None else target)[mask].astype(np.float64)
    row = {"target": question, "map": name or key, "scale": scale, "case": case.id} | dict.fromkeys(NUMBERS, math.nan)
    if u.size:
        mean_u, mean_v, uu, vv, uv = moments(u, v) / u.size
        row["rmsd"] = math.sqrt(max(uu + vv - 2 * uv, 0.0))
        row["pearson"], _ = correlation(uu - mean_u**2, vv - mean_v**2, uv - mean_u * mean_v, SMALLEST_VARIANCE, None)
        row["ratio"] = mean_u / mean_v if mean_v > 0 else math.nan
    if target is None:
        near, brain = (_discrimination(case, key, voxel_set) for voxel_set in (VoxelSet.TUMOUR, VoxelSet.BRAIN))
        row |= {"auroc": near["auroc"], "auprc": near["auprc"], "auroc_brain": brain["auroc"]}
    return row


def _discrimination(case: Case, key: str, voxel_set: VoxelSet) -> dict[str, float]:
    metric = Discrimination(key, Region.WT, voxel_set)
    metric.add(case)
    return {value.metric: value.value for value in metric.per_case()}


def write_table1(dice: Mapping[str, Sequence[Mapping[Region, float]]], out: Path) -> list[harness.Row]:
    """Dice with and without the channel, the paired difference, and that of two seeds without it.

    Parameters
    ----------
    dice : mapping of str to sequence of mapping
        ``head``, ``plain`` and ``again`` -> the cases, in one order, as :func:`harness.region_dice` gives them.
    out : Path
        Folder.
    """
    rows = []
    for region in REGIONS:
        head, plain, again = ([case[region] for case in dice[kind]] for kind in ("head", "plain", "again"))
        rows.append(
            {
                "region": str(region),
                "cases": int(np.isfinite(head).sum()),
                "with the channel": harness.interval(head),
                "without": harness.interval(plain),
                "difference": harness.told(paired_difference(head, plain).mean),
                "two seeds without": harness.told(paired_difference(again, plain).mean),
            }
        )
    title = (
        "Dice of held-out cases (regions of at least 1 mL in the reference): mean and 95 % interval over cases. The "
        "last column is the noise floor: what another seed alone changes."
    )
    harness.write_table(rows, out / "table1", title)
    return rows


def write_table2(compared: Sequence[harness.Row], out: Path) -> list[harness.Row]:
    """Mean over cases, with an interval, of every number of each map and question; rows of :func:`compare`."""
    keys = ["target", "map", "scale"]
    rows = [
        dict(zip(keys, group, strict=True))
        | {"cases": len(each)}
        | {name: harness.interval(each[name]) for name in NUMBERS}
        for group, each in pd.DataFrame(compared).groupby(keys, sort=False)
    ]
    title = (
        "Maps against what they should tell: mean and 95 % interval over cases. `pearson`, `rmsd`, `auroc` and `auprc` "
        "over tumour, predicted or true, and 5 mm around it; `auroc_brain` over the brain, where most voxels are easy; "
        "`ratio` is the sum of the map over that of the target, 1 for an error probability of the right size."
    )
    harness.write_table(rows, out / "table2", title)
    return rows
