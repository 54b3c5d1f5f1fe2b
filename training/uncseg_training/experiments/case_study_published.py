"""What the paper of the case study tells, beside the same of our networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_uncseg.arrays import Floats64
from napari_uncseg.evaluation.discrimination import MEAN_TUMOUR
from napari_uncseg.evaluation.recalibration import ECE_BINS, counts_of, fine_bins
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.calibration import ece_bound, reliability
from napari_uncseg.metrics.statistics import defined, paired_difference
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.recalibration.fit import Counts
from napari_uncseg.uncertainty.recalibration.models import IDENTITY
from uncseg_training.experiments.case_study_tables import (
    ENTROPY,
    NATS,
    Judged,
    Pair,
    Row,
    dice_and_union_error,
)
from uncseg_training.experiments.case_study_triage import triage
from uncseg_training.experiments.records import CALIBRATED_SETS, SETS

PUBLISHED_DICE, PUBLISHED_ECE, PUBLISHED_ENTROPY = 0.714, 0.915, 0.054
"""Of ET by UNet-Res (arXiv 2606.19300); neither the entropy's base nor the voxels of the last two are told."""


def mixed_error(judged: Judged, region: Region, voxels: VoxelSet) -> float:
    """What comes out when the probability of a region is mistaken for that of being right; no calibration error.

    Nearly all voxels are rightly not in the region, with a probability near 0: the mistake comes close to 1.
    """
    counts = counts_of(judged.record.steps[region, voxels].total())
    right = np.where(counts.probability > 0.5, counts.true, counts.count - counts.true)
    claimed = fine_bins(IDENTITY, Counts(counts.probability, counts.count, right))
    return reliability(claimed, ECE_BINS).expected_error


def published_rows(pairs: Sequence[Pair]) -> list[Row]:
    """What the paper tells, beside the same of each network with MC dropout."""
    et = Region.ET
    rows: list[Row] = []

    def add(quantity: str, published: str, ours: Sequence[float]) -> None:
        names = [pair.mc.network for pair in pairs]
        told = ["" if math.isnan(value) else f"{value:.3f}" for value in ours]
        rows.append({"quantity": quantity, "published": published} | dict(zip(names, told, strict=True)))

    for region in REGIONS:
        differences = [
            paired_difference(pair.mc.of("dice", region), pair.deterministic.of("dice", region)).mean.estimate
            for pair in pairs
        ]
        add(f"mean difference of Dice {region}, MC minus deterministic", "below 0.01 in size", differences)
    for voxels in SETS:
        found = [_mean(pair.mc.of("auroc", Region.WT, ENTROPY, voxels)) for pair in pairs]
        add(f"AUROC of entropy, WT, {voxels}", "0.97, voxels not told", found)
    groups = [triage(pair.mc) for pair in pairs]
    for place, (title, value) in enumerate((("certain", "0.925"), ("uncertain", "0.835"))):
        medians = [math.nan if each is None else each.test.medians[place] for each in groups]
        add(f"median Dice WT of {title} studies", value, medians)
    add("mean Dice ET", f"{PUBLISHED_DICE} (UNet-Res)", [_mean(pair.mc.of("dice", et)) for pair in pairs])
    for aggregate, title in (
        ("mean_prediction", "predicted ET"),
        (MEAN_TUMOUR, "predicted tumour and 5 mm"),
        ("mean_brain", "brain"),
    ):
        for unit, factor in (("nats", NATS), ("bits", 1.0)):
            found = [factor * _mean(pair.mc.of(aggregate, et, ENTROPY)) for pair in pairs]
            add(f"mean entropy of ET, {title}, {unit}", f"{PUBLISHED_ENTROPY} (UNet-Res), neither told", found)
    for voxels in CALIBRATED_SETS:
        errors = [pair.mc.calibration_error(et, voxels) for pair in pairs]
        for way, place in (("pooled", 0), ("mean over studies", 1)):
            add(
                f"ECE of ET, {voxels}, {way}", f"{PUBLISHED_ECE} (UNet-Res), not told", [each[place] for each in errors]
            )
    union = [dice_and_union_error(pair.mc, et) for pair in pairs]
    add("ECE of ET, ET predicted or true, mean", f"{PUBLISHED_ECE} (UNet-Res), not told", [_mean(e) for _, e in union])
    most = [ece_bound(float(dice.mean())) if dice.size else math.nan for dice, _ in union]
    add("largest ECE there that the mean Dice allows", f"{ece_bound(PUBLISHED_DICE):.3f} for {PUBLISHED_DICE}", most)
    for voxels in CALIBRATED_SETS:
        found = [mixed_error(pair.mc, et, voxels) for pair in pairs]
        add(f"the mistake of taking p of ET for the chance of being right, {voxels}", "", found)
    return rows


def _mean(values: Sequence[float] | Floats64) -> float:
    known = defined(values)
    return float(known.mean()) if known.size else math.nan
