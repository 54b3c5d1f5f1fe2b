"""Rules of the lint about numbers: which cannot be, and which say less than they seem to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from napari_uncseg.evaluation.calibration import ece_bound
from napari_uncseg.evaluation.overlap import SMALL_ML, is_small
from napari_uncseg.evaluation.sanity_checks import FEW_STUDIES, Evidence, Remark, Severity, studies_in_words
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.confusion import region_dice

_BOUNDED_SETS = (VoxelSet.UNION, VoxelSet.REFERENCE, VoxelSet.PREDICTION)
_BOUNDED_METRICS = ("ece_classwise", "ece_top_label")
_EASY = 0.1
"""An AUROC this much above the one around the tumour owes it to easy background."""

_CONFOUNDED = 0.5
"""Spearman correlation of a score with the predicted volume that is worth a remark."""


def impossible_ece(evidence: Evidence) -> Iterator[Remark]:
    """A calibration error above what the Dice of the same study allows.

    With Dice D precision and recall are at least J = D / (2 - D), so on the reference, the prediction or their union at
    most 1 - J of the voxels are wrong, and a binary calibration error cannot exceed (2 - J) / 2; see
    :func:`~napari_uncseg.evaluation.calibration.ece_bound`.
    """
    dice = {record.study: region_dice(record.checks.get("confusion")) for record in evidence.records}
    for value in evidence.values:
        bounded = value.metric in _BOUNDED_METRICS and value.voxel_set in _BOUNDED_SETS
        if not bounded or value.aggregation != "case" or value.case is None or value.region is None:
            continue
        overlap = dice.get(value.case, {}).get(value.region)
        if overlap is None or np.isnan(value.value):
            continue
        bound = float(ece_bound(overlap))
        if value.value > bound + 1e-6:
            yield Remark(
                "impossible ECE",
                Severity.ERROR,
                f"{value.case}: {value.metric} of {value.region} over the voxel set '{value.voxel_set}' is "
                f"{value.value:.3f}, but with a Dice of {overlap:.3f} it cannot exceed {bound:.3f}: probabilities and "
                "segmentation do not belong together, or labels are numbered in two ways.",
                (value.case,),
            )


def one_class(evidence: Evidence) -> Iterator[Remark]:
    """AUROC that does not exist because all voxels are right, or all are wrong."""
    without: dict[tuple[str, str], list[str]] = defaultdict(list)
    for value in evidence.values:
        if value.metric == "auroc" and value.aggregation == "case" and np.isnan(value.value) and value.case is not None:
            without[str(value.region), str(value.voxel_set)].append(value.case)
    for (region, voxels), cases in without.items():
        studies = tuple(dict.fromkeys(cases))  # each map names them again
        yield Remark(
            "one-class AUROC",
            Severity.NOTE,
            f"The AUROC for {region} over '{voxels}' is undefined in {studies_in_words(len(studies))} (no error, "
            "nothing but errors, or no such voxel): left out of its mean, and counted.",
            studies,
        )


def missing_regions(evidence: Evidence) -> Iterator[Remark]:
    """Regions that the reference lacks or has less than 1 mL of."""
    for region in REGIONS:
        small, absent, invented = [], [], []
        for record in evidence.records:
            volumes = record.checks.get("volumes_ml")
            if not volumes:
                continue
            expected, found = volumes["reference"][region], volumes["prediction"][region]
            if expected == 0:
                absent.append(record.study)
                invented += [record.study] if found > 0 else []
            elif is_small(expected):
                small.append(record.study)
        if absent or small:
            told = f"; the prediction finds some in {len(invented)} of those without" if invented else ""
            yield Remark(
                "missing regions",
                Severity.NOTE,
                f"{region} is absent from the reference of {studies_in_words(len(absent))} and smaller than "
                f"{SMALL_ML:g} mL in {studies_in_words(len(small))}{told}. They stand apart from the means of Dice and "
                "HD95.",
                tuple(sorted(absent + small)),
            )


def all_voxels_alone(evidence: Evidence) -> Iterator[Remark]:
    """An AUROC over easy voxels with none around the tumour beside it, or much above it."""
    means: dict[tuple[str, str], dict[VoxelSet, float]] = defaultdict(dict)
    for value in evidence.values:
        if value.metric == "auroc" and value.aggregation == "mean" and value.voxel_set and np.isfinite(value.value):
            means[str(value.region), str(value.map)][value.voxel_set] = value.value
    apart: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (region, name), of in means.items():
        wide = next((voxels for voxels in (VoxelSet.ALL, VoxelSet.BRAIN) if voxels in of), None)
        if wide is None:
            continue
        if VoxelSet.TUMOUR not in of:
            yield Remark(
                "all-voxel AUROC alone",
                Severity.WARNING,
                f"The AUROC of {name} for {region} ({of[wide]:.3f}) is over voxels that are mostly easy background, "
                "with none around the tumour beside it: do not quote it alone.",
            )
        elif of[wide] - of[VoxelSet.TUMOUR] >= _EASY:
            apart[region, str(wide)].append(f"{name} {of[wide]:.3f} and {of[VoxelSet.TUMOUR]:.3f}")
    for (region, voxels), told in apart.items():
        yield Remark(
            "all-voxel AUROC",
            Severity.NOTE,
            f"The AUROC for {region} over '{voxels}' is far above that around the tumour ({', '.join(told)}): the "
            "difference is easy background; quote the second.",
        )


def volume_confounder(evidence: Evidence) -> Iterator[Remark]:
    """Scores that rank studies by the size of the tumour."""
    for region in REGIONS:
        rows = [
            row
            for row in evidence.confounders
            if row.region is region and abs(row.volume) >= _CONFOUNDED and row.count >= FEW_STUDIES
        ]
        if rows:
            told = ", ".join(f"{row.aggregator} {row.volume:+.2f} (with Dice {row.dice:+.2f})" for row in rows)
            yield Remark(
                "volume confounder",
                Severity.WARNING if any(row.ranks for row in rows) else Severity.NOTE,
                f"Scores of {rows[0].map} for {region} go with the predicted volume, so that part of what they rank is "
                f"size: Spearman {told}; {rows[0].count} studies.",
            )


def few_studies(evidence: Evidence) -> Iterator[Remark]:
    """Too few studies for an interval."""
    count = len(evidence.records)
    if 0 < count < FEW_STUDIES:
        yield Remark(
            "few studies",
            Severity.NOTE,
            f"With {studies_in_words(count)} intervals and tests say little; show single studies.",
        )
