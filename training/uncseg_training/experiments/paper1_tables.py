"""The tables of the experiment ``paper1``: one row per map and question, with intervals over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.evaluation.alignment import SMALLEST_VARIANCE, correlation, moments
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.bootstrap import bootstrap_bca
from napari_uncseg.metrics.statistics import paired_difference
from uncseg_training.experiments.tables import told_interval, write_table

Map = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Overlaps:
    """Dice of a case per region, ``nan`` for a region below 1 mL in the reference."""

    case: str
    dice: Mapping[Region, float]


@dataclass(frozen=True)
class Compared:
    """One map of one case beside one target; numbers are ``nan`` where they are undefined.

    Parameters
    ----------
    target, map, scale : str
        What was compared with what, and how the map was brought to the target's scale.
    case : str
        Whose.
    pearson, rmsd : float
        Over tumour, predicted or true, and 5 mm around it.
    auroc, auprc, auroc_brain : float
        How well the map finds failures there, and in the whole brain; ``nan`` against an error map.
    ratio : float
        Sum of the map over the sum of the target: 1 where an error probability has the right size.
    """

    target: str
    map: str
    scale: str
    case: str
    pearson: float
    rmsd: float
    auroc: float = math.nan
    auprc: float = math.nan
    auroc_brain: float = math.nan
    ratio: float = math.nan


NUMBERS = ("pearson", "rmsd", "auroc", "auprc", "auroc_brain", "ratio")


def overlaps_of(case: Case) -> Overlaps:
    """Dice of every region of a case."""
    found = {}
    for region in REGIONS:
        metric = Overlap(region)
        metric.add(case)
        found[region] = next(value.value for value in metric.per_case() if value.metric == "dice")
    return Overlaps(case.id, found)


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
) -> Compared:
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
    """
    mask = case.tumour if mask is None else mask
    u = (case.maps[key] if values is None else values)[mask]
    v = (case.failure(Region.WT) if target is None else target)[mask].astype(np.float64)
    pearson = rmsd = ratio = math.nan
    if u.size:
        mean_u, mean_v, uu, vv, uv = moments(u, v) / u.size
        rmsd = math.sqrt(max(uu + vv - 2 * uv, 0.0))
        pearson, _ = correlation(uu - mean_u**2, vv - mean_v**2, uv - mean_u * mean_v, SMALLEST_VARIANCE, None)
        ratio = mean_u / mean_v if mean_v > 0 else math.nan
    found = Compared(question, name or key, scale, case.id, pearson, rmsd, ratio=ratio)
    if target is not None:
        return found
    near, brain = (_discrimination(case, key, voxel_set) for voxel_set in (VoxelSet.TUMOUR, VoxelSet.BRAIN))
    return Compared(
        *(found.target, found.map, found.scale, found.case, found.pearson, found.rmsd),
        auroc=near["auroc"],
        auprc=near["auprc"],
        auroc_brain=brain["auroc"],
        ratio=found.ratio,
    )


def _discrimination(case: Case, key: str, voxel_set: VoxelSet) -> dict[str, float]:
    metric = Discrimination(key, Region.WT, voxel_set)
    metric.add(case)
    return {value.metric: value.value for value in metric.per_case()}


def write_table1(overlaps: Mapping[str, Sequence[Overlaps]], out: Path) -> list[dict[str, Any]]:
    """Dice with and without the channel, the paired difference, and that of two seeds without it."""
    rows = []
    for region in REGIONS:
        dice = {kind: np.array([found.dice[region] for found in each]) for kind, each in overlaps.items()}
        rows.append(
            {
                "region": str(region),
                "cases": int(np.isfinite(dice["head"]).sum()),
                "with the channel": told_interval(bootstrap_bca(dice["head"])),
                "without": told_interval(bootstrap_bca(dice["plain"])),
                "difference": told_interval(paired_difference(dice["head"], dice["plain"]).mean),
                "two seeds without": told_interval(paired_difference(dice["again"], dice["plain"]).mean),
            }
        )
    title = (
        "Dice of held-out cases (regions of at least 1 mL in the reference): mean and 95 % interval over cases. The "
        "last column is the noise floor: what another seed alone changes."
    )
    write_table(rows, out / "table1", title)
    return rows


def write_table2(compared: Sequence[Compared], out: Path) -> list[dict[str, Any]]:
    """Mean over cases, with an interval, of every number of each map and question."""
    groups: dict[tuple[str, str, str], list[Compared]] = {}
    for found in compared:
        groups.setdefault((found.target, found.map, found.scale), []).append(found)
    rows: list[dict[str, Any]] = []
    for (target, name, scale), each in groups.items():
        row: dict[str, Any] = {"target": target, "map": name, "scale": scale, "cases": len(each)}
        for number in NUMBERS:
            row[number] = told_interval(bootstrap_bca([getattr(found, number) for found in each]))
        rows.append(row)
    title = (
        "Maps against what they should tell: mean and 95 % interval over cases. `pearson`, `rmsd`, `auroc` and `auprc` "
        "over tumour, predicted or true, and 5 mm around it; `auroc_brain` over the brain, where most voxels are easy; "
        "`ratio` is the sum of the map over that of the target, 1 for an error probability of the right size."
    )
    write_table(rows, out / "table2", title)
    return rows
