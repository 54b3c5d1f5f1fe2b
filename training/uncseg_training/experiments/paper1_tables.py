"""The tables of the experiment ``paper1``: one row per map and question, with intervals over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from napari_uncseg.arrays import AnyFloats, Mask
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.statistics import paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from uncseg_training.experiments import harness
from uncseg_training.paper1.sweep_log import alignment
from uncseg_training.train.config import Config

NUMBERS = ("pearson", "rmsd", "auroc", "auprc", "auroc_brain", "ratio")
"""What a map is compared by."""

ERROR_MAP, FAILURE = "error map, held out", "final failure, held out"

FINAL = "final network"
WHEN: Mapping[str, str] = {"dice": FINAL, "late_dice": "last 6 % of the steps"}

POWER = 2.8
"""Times the standard error: the mean difference that a paired comparison finds four times in five, at 5 %."""

PAPER: Mapping[tuple[str, str], float] = {
    ("pearson", "unc_output"): 0.966,
    ("pearson", "variance_stable"): 0.894,
    ("pearson", "var1shot"): 0.207,
    ("rmsd", "unc_output"): 0.00360,
    ("rmsd", "variance_stable"): 0.00542,
    ("rmsd", "var1shot"): 0.0319,
}
"""Table 2 of *Uncertainty-Aware nnU-Net*."""

READ: Mapping[str, tuple[str, str]] = {
    "unc_output": ("unc_output", "none"),
    "variance_stable": ("ewvar", "fixed"),
    "var1shot": ("bernoulli_1shot", "fixed"),
}
"""Which reading and which scale stands for each map of the paper."""

PUBLISHED: Mapping[str, str] = {"pearson": "correlation", "rmsd": "rmsd"}

LATE_NUMBERS: Mapping[str, str] = {
    "pearson unc_output": "pearson",
    "rmsd unc_output": "rmsd",
    "ratio unc_output": "ratio",
    "copies the tumour": "copies the tumour",
}

_NEAR = "over tumour, predicted or true, and 5 mm around it"
TITLES: Mapping[str, str] = {
    "table1": (
        "Dice of held-out cases (regions of at least 1 mL in the reference): mean and 95 % interval over cases (BCa "
        "bootstrap). `difference`: with minus without, paired; `p`: Wilcoxon. `could have seen`: the mean difference "
        "that these cases show four times in five. The last column is the noise floor: what another seed alone changes."
    ),
    "table2": (
        "The paper's six numbers on aligned maps: correlation and RMSD with the error map of `unc_output`, "
        f"`variance_stable` (moving variance, times 4) and `var1shot` (p(1 − p), times 4), {_NEAR}; mean over held-out "
        "cases and 95 % interval."
    ),
    "readings": (
        f"Maps against what they should tell: mean and 95 % interval over held-out cases, {_NEAR}; `auroc_brain` over "
        "the brain, where most voxels are easy; `ratio` is the sum of the map over that of the target, 1 for an error "
        "probability of the right size. `sound`: the channel taught on errors out of fold."
    ),
    "variants": (
        "Ways of learning the channel: Dice of the final network minus that without a channel, paired; correlation, "
        f"RMSD and ratio with the error map over the last 6 % of the steps, {_NEAR}; correlation of the channel with "
        "the predicted tumour itself; cosine and relative length of what the paper's terms and the segmentation's loss "
        "pull at the features (cases trained on, all sweeps); AUROC and AUPRC of the unmasked channel for the final "
        "failure."
    ),
    "published": (
        "The paper's six numbers, and what the published pattern gives: a map for each place of the batch, misses "
        "alone, both sides squeezed about one half, correlation of raw logits. The last row is ours, with maps that "
        "belong to their case and are compared as they are."
    ),
    "gate": "Quality gate: Dice of WT without the channel beside the release network's first stage, same cases.",
}


def compare(
    case: Case,
    key: str,
    question: str,
    *,
    name: str | None = None,
    target: AnyFloats | None = None,
    mask: Mask | None = None,
    values: AnyFloats | None = None,
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
    v = (case.failure(Region.WT) if target is None else target)[mask]
    row = {"target": question, "map": name or key, "scale": scale, "case": case.id} | dict.fromkeys(NUMBERS, math.nan)
    row |= alignment(u, v)
    if target is None:
        near, brain = (_discrimination(case, key, voxel_set) for voxel_set in (VoxelSet.TUMOUR, VoxelSet.BRAIN))
        row |= {"auroc": near["auroc"], "auprc": near["auprc"], "auroc_brain": brain["auroc"]}
    return row


def _discrimination(case: Case, key: str, voxel_set: VoxelSet) -> dict[str, float]:
    metric = Discrimination(key, Region.WT, voxel_set)
    metric.add(case)
    return {value.metric: value.value for value in metric.per_case()}


def write_tables(records: Mapping[tuple[str, int], Mapping[str, Any]], config: Config, out: Path) -> dict[str, Any]:
    """Every table that the finished runs allow; their rows.

    Parameters
    ----------
    records : mapping of (str, int) to mapping
        Arm and fold -> what :func:`~uncseg_training.experiments.paper1_judging.judge` keeps.
    config : Config
        Of the runs.
    out : Path
        Folder.
    """
    tables = {
        "table1": dice_rows(records),
        "table2": number_rows(records),
        "readings": reading_rows(
            [row for (arm, _), each in records.items() if arm == "head" for row in each["compared"]]
        ),
        "variants": variant_rows(records),
        "published": published_rows(records),
        "gate": gate_rows(records, config),
    }
    for name, rows in tables.items():
        if rows:
            harness.write_table(rows, out / name, TITLES[name])
    return tables


def folds_of(records: Mapping[tuple[str, int], Any], *arms: str) -> list[int]:
    """Folds in which all of these arms are finished."""
    return sorted(set.intersection(*({fold for arm, fold in records if arm == each} for each in arms)))


def dice_in(
    records: Mapping[tuple[str, int], Any], arm: str, folds: Sequence[int], region: Region, key: str
) -> pd.Series:
    """Dice of a region by case."""
    return pd.Series(
        {name: dice[str(region)] for fold in folds for name, dice in records[arm, fold][key].items()}, dtype=float
    )


def dice_rows(records: Mapping[tuple[str, int], Any]) -> list[harness.Row]:
    """Dice with and without the channel, all folds together and each by itself."""
    both = folds_of(records, "head", "plain")
    again = [fold for fold in folds_of(records, "again") if fold in both]
    groups = {"all": both, **{str(fold): [fold] for fold in both}} if both else {}
    rows = []
    for (key, when), (title, folds), region in product(WHEN.items(), groups.items(), REGIONS):
        head, plain = (dice_in(records, arm, folds, region, key) for arm in ("head", "plain"))
        difference = paired_difference(head, plain)
        row: harness.Row = {"folds": title, "of": when, "region": str(region), "cases": int(head.count())}
        row |= {"with the channel": harness.interval(head), "without": harness.interval(plain)}
        row |= {"difference": harness.told(difference.mean), "p": harness.rounded(difference.p_value, 3)}
        row["could have seen"] = harness.rounded(
            POWER * float((head - plain).std()) / math.sqrt(max(head.count(), 1)), 3
        )
        known = [fold for fold in folds if fold in again]
        chance = [dice_in(records, arm, known, region, key) for arm in ("again", "plain")]
        rows.append(row | {"two seeds without": harness.told(paired_difference(*chance).mean) if known else ""})
    return rows


def number_rows(records: Mapping[tuple[str, int], Any]) -> list[harness.Row]:
    """The paper's six numbers: its own, and those of all finished folds together and each by itself."""
    done = folds_of(records, "head")
    groups = {"all": done, **{str(fold): [fold] for fold in done}} if done else {}
    rows = [{"folds": "paper", "of": "", "cases": 1248} | {f"{k} {name}": v for (k, name), v in PAPER.items()}]
    for title, folds in groups.items():
        late = pd.DataFrame([row for fold in folds for row in records["head", fold]["late"].values()])
        final = pd.DataFrame([row for fold in folds for row in records["head", fold]["compared"]])
        final = final[final["target"] == ERROR_MAP]
        for when in WHEN.values():
            row: harness.Row = {"folds": title, "of": when}
            for number, name in PAPER:
                reading, scale = READ[name]
                chosen = final[(final["map"] == reading) & (final["scale"] == scale)][number]
                values = chosen if when == FINAL else late.get(f"{number} {name}", pd.Series(dtype=float))
                row |= {"cases": len(chosen), f"{number} {name}": harness.interval(values)}
            rows.append(row)
    return rows if done else []


def reading_rows(compared: Sequence[harness.Row]) -> list[harness.Row]:
    """Mean over cases, with an interval, of every number of each map and question; rows of :func:`compare`."""
    keys = ["target", "map", "scale"]
    return [
        dict(zip(keys, group, strict=True))
        | {"cases": len(each)}
        | {name: harness.interval(each[name]) for name in NUMBERS}
        for group, each in pd.DataFrame(compared, columns=[*keys, "case", *NUMBERS]).groupby(keys, sort=False)
    ]


def variant_rows(records: Mapping[tuple[str, int], Any]) -> list[harness.Row]:
    """What each way of learning the channel does, on the fold it was tried on and on the others."""
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in records if arm not in ("plain", "again", "first stage")):
        folds = folds_of(records, arm, "plain")
        for title, part in (("0", [0]), ("the others", [fold for fold in folds if fold])):
            if not set(part) <= set(folds) or not part:
                continue
            row: harness.Row = {"channel": arm, "folds": title}
            for region in REGIONS:
                ours, plain = (dice_in(records, each, part, region, "dice") for each in (arm, "plain"))
                row |= {"cases": len(ours), f"Dice {region}": harness.told(paired_difference(ours, plain).mean)}
            late = pd.DataFrame([each for fold in part for each in records[arm, fold]["late"].values()])
            row |= {
                title: harness.interval(late.get(key, pd.Series(dtype=float))) for key, title in LATE_NUMBERS.items()
            }
            pull = pd.DataFrame([each for fold in part for each in records[arm, fold]["pull"].values()])
            row |= {key: harness.interval(pull.get(key, pd.Series(dtype=float))) for key in ("cosine", "strength")}
            compared = pd.DataFrame([each for fold in part for each in records[arm, fold]["compared"]])
            failing = compared[(compared["target"] == FAILURE) & (compared["map"] == "unc_output_unmasked")]
            rows.append(row | {f"{key}, failure": harness.interval(failing[key]) for key in ("auroc", "auprc")})
    return rows


def published_rows(records: Mapping[tuple[str, int], Any]) -> list[harness.Row]:
    """The paper's numbers beside those of the published pattern and of aligned maps, once that run is done."""
    pattern = records.get(("published", 0))
    if pattern is None:
        return []
    rows: list[harness.Row] = [
        {"numbers of": "paper"} | {f"{key} {name}": value for (key, name), value in PAPER.items()}
    ]
    for title, key in (("its pattern, last training steps", "steps"), ("its pattern, held-out cases", "slots")):
        told = {(n, name): pattern[key].get(f"{PUBLISHED[n]} {name}", math.nan) for n, name in PAPER}
        rows.append({"numbers of": title} | {f"{n} {name}": harness.rounded(v, 5) for (n, name), v in told.items()})
    if ("head", 0) in records:
        late = pd.DataFrame(records["head", 0]["late"].values()).mean()
        aligned = {f"{n} {name}": harness.rounded(float(late.get(f"{n} {name}", math.nan)), 5) for n, name in PAPER}
        rows.append({"numbers of": "aligned maps, held-out cases"} | aligned)
    return rows


def gate_rows(records: Mapping[tuple[str, int], Any], config: Config) -> list[harness.Row]:
    """Dice of WT without the channel beside the release network's first stage on the same cases."""
    rows = []
    for fold in folds_of(records, "plain", "first stage"):
        ours, release = (dice_in(records, arm, [fold], Region.WT, "dice") for arm in ("plain", "first stage"))
        difference = paired_difference(ours, release).mean
        row: harness.Row = {"fold": fold, "cases": difference.count, "steps": config.steps}
        row |= {"steps of the release": records["first stage", fold]["steps"]}
        row |= {"Dice WT": harness.interval(ours), "of the release": harness.interval(release)}
        row |= {"difference": harness.told(difference)}
        rows.append(row | {"within 0.03": "yes" if abs(difference.estimate) <= 0.03 else "no"})
    return rows
