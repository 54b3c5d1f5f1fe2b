"""What may be wrong with an evaluation before anybody believes its numbers: remarks, the gravest first.

Each rule is a function from :class:`Evidence` to remarks; nothing is read from disk here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from napari_uncseg.evaluation.calibration import ece_bound
from napari_uncseg.evaluation.confusion import better_numbering, region_dice
from napari_uncseg.evaluation.remarks import Evidence, Remark, Severity
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import REGIONS, Label

SMALLEST_ML = 1.0
"""Regions smaller than this in the reference are told apart from means."""

_BOUNDED_SETS = (VoxelSet.UNION, VoxelSet.REFERENCE, VoxelSet.PREDICTION)
_BOUNDED_METRICS = ("ece_classwise", "ece_top_label")
_MIX_UP_GAIN = 0.15
"""Mean label Dice that another numbering must win before it is suspected; poor but honest segmentations stay below."""

_LEAST_AGREEMENT = 0.95
_FEW_STUDIES = 10
_EASY = 0.1
_CONFOUNDED = 0.5
_PATIENT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")


def lint(evidence: Evidence) -> list[Remark]:
    """Remarks on an evaluation, errors first.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    list of Remark
        In the order of severity, then of the rules.
    """
    order = list(Severity)
    remarks = [remark for rule in RULES for remark in rule(evidence)]
    return sorted(remarks, key=lambda remark: order.index(remark.severity))


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


def disagreement(evidence: Evidence) -> Iterator[Remark]:
    """A segmentation that is not what its own probabilities say."""
    found = [
        record.study
        for record in evidence.records
        if min((record.checks.get("agreement") or {"": 1.0}).values()) < _LEAST_AGREEMENT
    ]
    if found:
        yield Remark(
            "segmentation and probabilities",
            Severity.WARNING,
            f"In {_count(found)} the segmentation is not that of its own probabilities above 0.5 (Dice of the two "
            f"below {_LEAST_AGREEMENT}): calibration is then that of another segmentation.",
            tuple(found),
        )


def label_mix_up(evidence: Evidence) -> Iterator[Remark]:
    """Another numbering of the predicted labels that fits the reference much better."""
    suspects: dict[tuple[int, ...], list[str]] = defaultdict(list)
    total = np.zeros((len(Label) + 1,) * 2, dtype=np.int64)
    for record in evidence.records:
        if "confusion" in record.checks:
            counts = np.asarray(record.checks["confusion"], dtype=np.int64)
            total += counts
            numbering, gain = better_numbering(counts)
            if gain >= _MIX_UP_GAIN:
                suspects[numbering].append(record.study)
    numbering, gain = better_numbering(total)
    for which, studies in suspects.items():
        everywhere = which == numbering and gain >= _MIX_UP_GAIN
        swap = ", ".join(
            f"{Label(label).name} as {Label(meant).name}"
            for label, meant in zip(Label, which, strict=True)
            if label != meant
        )
        yield Remark(
            "label mix-up",
            Severity.ERROR if everywhere else Severity.WARNING,
            f"In {_count(studies)} the segmentation fits the reference much better when its labels are read in another "
            f"way ({swap}): check how prediction and reference number their labels (--coding, --prediction-coding).",
            tuple(studies),
        )


def same_file(evidence: Evidence) -> Iterator[Remark]:
    """A reference that is the prediction, or one reference under two names."""
    copies, perfect, hashes = [], [], defaultdict(list)
    for record in evidence.records:
        own = {sha256 for role, sha256 in record.inputs.items() if role.startswith("prediction")}
        if record.inputs.get("reference") in own:
            copies.append(record.study)
        elif _identical(record.checks.get("confusion")):
            perfect.append(record.study)
        if "reference" in record.inputs:
            hashes[record.inputs["reference"]].append(record.study)
    if copies:
        yield Remark(
            "reference is the prediction",
            Severity.ERROR,
            f"In {_count(copies)} reference and prediction are the same file; give the expert's.",
            tuple(copies),
        )
    if perfect:
        yield Remark(
            "identical segmentations",
            Severity.WARNING,
            f"In {_count(perfect)} prediction and reference agree in every voxel: was the reference made from the "
            "prediction?",
            tuple(perfect),
        )
    for studies in hashes.values():
        if len(studies) > 1:
            yield Remark(
                "one reference twice",
                Severity.ERROR,
                f"{' and '.join(studies)} have the same reference, byte by byte: one patient counts several times.",
                tuple(studies),
            )


def leakage(evidence: Evidence) -> Iterator[Remark]:
    """Studies, references or patients that are in both calibration and test."""
    if not evidence.calibration:
        return
    ids = {record.study for record in evidence.records}
    both = sorted(ids & set(evidence.calibration))
    if both:
        yield Remark(
            "leakage",
            Severity.ERROR,
            f"{_count(both).capitalize()} are in both calibration and test; thresholds are then fitted on what they "
            "are tested on: take them out of one.",
            tuple(both),
        )
    known = {sha256: study for study, sha256 in evidence.calibration.items() if sha256}
    for record in evidence.records:
        twin = known.get(record.inputs.get("reference", ""))
        if twin is not None and twin != record.study:
            yield Remark(
                "leakage",
                Severity.ERROR,
                f"{record.study} has the same reference, byte by byte, as the calibration study {twin}: it is the same "
                "study under another name.",
                (record.study,),
            )
    patients = {patient_of(study) for study in evidence.calibration}
    shared = sorted(study for study in ids - set(both) if patient_of(study) in patients)
    if shared:
        yield Remark(
            "leakage",
            Severity.WARNING,
            f"{_count(shared).capitalize()} are of patients with another visit among the calibration studies.",
            tuple(shared),
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
            f"The AUROC for {region} over '{voxels}' is undefined in {_count(studies)} (no error, or nothing but "
            "errors); they are left out of its mean and counted.",
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
            elif expected < SMALLEST_ML:
                small.append(record.study)
        if absent or small:
            told = f"; the prediction finds some in {len(invented)} of those without" if invented else ""
            yield Remark(
                "missing regions",
                Severity.NOTE,
                f"{region} is absent from the reference of {_count(absent)} and smaller than {SMALLEST_ML:g} mL in "
                f"{_count(small)}{told}. They stand apart from the means of Dice and HD95.",
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
            if row.region is region and abs(row.volume) >= _CONFOUNDED and row.count >= _FEW_STUDIES
        ]
        if rows:
            told = ", ".join(f"{row.aggregator} {row.volume:+.2f} (with Dice {row.dice:+.2f})" for row in rows)
            yield Remark(
                "volume confounder",
                Severity.WARNING if any(row.ranks for row in rows) else Severity.NOTE,
                f"Scores of {rows[0].map} for {region} go with the predicted volume, so that part of what they rank is "
                f"size: Spearman {told}; {rows[0].count} studies.",
            )


def mixed_predictions(evidence: Evidence) -> Iterator[Remark]:
    """Predictions of more than one model or setting in one table."""
    models = Counter(str((record.checks.get("model") or {}).get("sha256")) for record in evidence.records)
    settings = Counter(repr(_sorted(record.checks.get("settings"))) for record in evidence.records)
    for what, counter in (("models", models), ("settings", settings)):
        if len(counter) > 1:
            yield Remark(
                "mixed predictions",
                Severity.WARNING,
                f"The predictions were made with {len(counter)} different {what}; their means describe none of them.",
            )


def unknown_brain(evidence: Evidence) -> Iterator[Remark]:
    """Studies whose brain is not known."""
    without = [record.study for record in evidence.records if record.brain != "images"]
    if without:
        yield Remark(
            "brain unknown",
            Severity.NOTE,
            f"The images of {_count(without)} were not found, so nothing is measured over their brain; --images names "
            "the folder that holds them.",
            tuple(without),
        )


def unpredicted(evidence: Evidence) -> Iterator[Remark]:
    """References without a prediction: the means may leave out the hard ones."""
    if evidence.unpredicted:
        missing = list(evidence.unpredicted)
        yield Remark(
            "references without a prediction",
            Severity.NOTE,
            f"{_count(missing).capitalize()} of the reference folder have no prediction; if it failed on them, the "
            "numbers flatter it.",
            tuple(missing),
        )


def few_studies(evidence: Evidence) -> Iterator[Remark]:
    """Too few studies for an interval."""
    count = len(evidence.records)
    if 0 < count < _FEW_STUDIES:
        yield Remark(
            "few studies",
            Severity.NOTE,
            f"With {count} {'study' if count == 1 else 'studies'} intervals and tests say little; show single studies.",
        )


RULES: tuple[Callable[[Evidence], Iterator[Remark]], ...] = (
    impossible_ece,
    label_mix_up,
    same_file,
    leakage,
    disagreement,
    mixed_predictions,
    volume_confounder,
    all_voxels_alone,
    missing_regions,
    one_class,
    unknown_brain,
    unpredicted,
    few_studies,
)


def patient_of(study: str) -> str:
    """Patient of a study: BraTS names end in the number of the visit."""
    named = _PATIENT.fullmatch(study)
    return named[1] if named else study


def _identical(confusion: Any) -> bool:
    """Whether prediction and reference agree in every voxel and hold a tumour."""
    if confusion is None:
        return False
    counts = np.asarray(confusion)
    return bool(counts.sum() == np.trace(counts) and counts[1:].sum() > 0)


def _sorted(settings: Any) -> Any:
    return sorted(settings.items()) if isinstance(settings, Mapping) else settings


def _count(studies: Sequence[str]) -> str:
    return f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}"
