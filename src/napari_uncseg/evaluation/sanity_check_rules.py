"""Rules of the sanity checks: each goes from :class:`Evidence` to results; nothing is read from disk here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from napari_uncseg.evaluation.ranking import TRIAGE_AGGREGATOR
from napari_uncseg.evaluation.sanity_checks import FEW_STUDIES, CheckResult, Evidence, Severity, studies_in_words
from napari_uncseg.evaluation.table import select
from napari_uncseg.labels import REGIONS, Label, Region
from napari_uncseg.metrics.calibration import ece_bound
from napari_uncseg.metrics.overlap import SMALL_ML, better_numbering, is_small, region_dice
from napari_uncseg.metrics.voxel_sets import VoxelSet

_MIX_UP_GAIN = 0.15
"""Mean label Dice that another numbering must win before it is suspected; poor but honest segmentations stay below."""

_LEAST_AGREEMENT = 0.95
_PATIENT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")
_BOUNDED_SETS = (VoxelSet.UNION, VoxelSet.REFERENCE, VoxelSet.PREDICTION)
_BOUNDED_METRICS = ("ece_classwise", "ece_top_label")
_EASY = 0.1
"""An AUROC this much above the one around the tumour owes it to easy background."""

_CONFOUNDED = 0.5
"""Spearman correlation of a score with the predicted volume that is worth a warning."""


def run_checks(evidence: Evidence) -> list[CheckResult]:
    """Check an evaluation.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    list of CheckResult
        In the order of severity, errors first, then of the rules.
    """
    order = list(Severity)
    results = [result for rule in RULES for result in rule(evidence)]
    return sorted(results, key=lambda result: order.index(result.severity))


def impossible_ece(evidence: Evidence) -> Iterator[CheckResult]:
    """A calibration error above what the Dice of the same study allows.

    With Dice D precision and recall are at least J = D / (2 - D), so on the reference, the prediction or their union at
    most 1 - J of the voxels are misclassified, and a binary calibration error cannot exceed (2 - J) / 2; see
    :func:`~napari_uncseg.metrics.calibration.ece_bound`.
    """
    dice = {record.study: region_dice(record.checks.get("confusion")) for record in evidence.records}
    cases = select(evidence.table, aggregation="case").dropna(subset="value")
    bounded = cases[cases["metric"].isin(_BOUNDED_METRICS) & cases["voxel_set"].isin(_BOUNDED_SETS)]
    for row in bounded.itertuples():
        overlap = dice.get(row.case, {}).get(row.region)
        if overlap is not None and row.value > ece_bound(overlap) + 1e-6:
            yield CheckResult(
                "impossible ECE",
                Severity.ERROR,
                f"{row.case}: {row.metric} of {row.region} over the voxel set '{row.voxel_set}' is {row.value:.3f}, "
                f"but with a Dice of {overlap:.3f} it cannot exceed {ece_bound(overlap):.3f}: probabilities and "
                "segmentation do not belong together, or labels are numbered in two ways.",
                (row.case,),
            )


def label_mix_up(evidence: Evidence) -> Iterator[CheckResult]:
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
        swaps = [(label, Label(meant)) for label, meant in zip(Label, which, strict=True) if label != meant]
        swap = ", ".join(f"{label.name} as {meant.name}" for label, meant in swaps)
        yield CheckResult(
            "label mix-up",
            Severity.ERROR if everywhere else Severity.WARNING,
            f"In {studies_in_words(len(studies))} the segmentation fits the reference much better when its labels are "
            f"read in another way ({swap}): check the label conventions of prediction and reference (--coding, "
            "--prediction-coding).",
            tuple(studies),
        )


def same_file(evidence: Evidence) -> Iterator[CheckResult]:
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
        yield CheckResult(
            "reference is the prediction",
            Severity.ERROR,
            f"In {studies_in_words(len(copies))} reference and prediction are the same file; give the expert's.",
            tuple(copies),
        )
    if perfect:
        yield CheckResult(
            "identical segmentations",
            Severity.WARNING,
            f"In {studies_in_words(len(perfect))} prediction and reference agree in every voxel: was the reference "
            "made from the prediction?",
            tuple(perfect),
        )
    for studies in hashes.values():
        if len(studies) > 1:
            yield CheckResult(
                "one reference twice",
                Severity.ERROR,
                f"{' and '.join(studies)} have the same reference, byte by byte: one patient counts several times.",
                tuple(studies),
            )


def leakage(evidence: Evidence) -> Iterator[CheckResult]:
    """Studies, references or patients that are in both calibration and test."""
    calibration = evidence.calibration or {}
    ids = {record.study for record in evidence.records}
    both = sorted(ids & set(calibration))
    if both:
        yield CheckResult(
            "leakage",
            Severity.ERROR,
            f"In both calibration and test: {studies_in_words(len(both))}. Thresholds are then fitted on what they are "
            "tested on; take them out of one.",
            tuple(both),
        )
    known = {sha256: study for study, sha256 in calibration.items() if sha256}
    for record in evidence.records:
        twin = known.get(record.inputs.get("reference", ""))
        if twin is not None and twin != record.study:
            yield CheckResult(
                "leakage",
                Severity.ERROR,
                f"{record.study} has the same reference, byte by byte, as the calibration study {twin}: it is the same "
                "study under another name.",
                (record.study,),
            )
    patients = {patient_of(study) for study in calibration}
    shared = sorted(study for study in ids - set(both) if patient_of(study) in patients)
    if shared:
        yield CheckResult(
            "leakage",
            Severity.WARNING,
            f"For {studies_in_words(len(shared))} another visit of the same patient is among the calibration studies.",
            tuple(shared),
        )


def disagreement(evidence: Evidence) -> Iterator[CheckResult]:
    """A segmentation that is not what its own probabilities say."""
    found = [
        record.study
        for record in evidence.records
        if min((record.checks.get("agreement") or {"": 1.0}).values()) < _LEAST_AGREEMENT
    ]
    if found:
        yield CheckResult(
            "segmentation and probabilities",
            Severity.WARNING,
            f"In {studies_in_words(len(found))} the segmentation is not that of its own probabilities above 0.5 (Dice "
            f"of the two below {_LEAST_AGREEMENT}): calibration is then that of another segmentation.",
            tuple(found),
        )


def mixed_predictions(evidence: Evidence) -> Iterator[CheckResult]:
    """Predictions of more than one model or setting in one table."""
    checks = [record.checks for record in evidence.records]
    models = {str((each.get("model") or {}).get("sha256")) for each in checks}
    settings = {repr(_how_predicted(each.get("settings") or {})) for each in checks}
    for what, different in (("models", models), ("settings", settings)):
        if len(different) > 1:
            yield CheckResult(
                "mixed predictions",
                Severity.WARNING,
                f"The predictions were made with {len(different)} different {what}; their means describe none of them.",
            )


def volume_confounder(evidence: Evidence) -> Iterator[CheckResult]:
    """Scores that rank studies by the size of the tumour."""
    strong = [
        row for row in evidence.rankings if abs(row.spearman_volume) >= _CONFOUNDED and len(row.studies) >= FEW_STUDIES
    ]
    for region in REGIONS:
        rows = {row.aggregator: row for row in strong if row.region is region}
        if rows:
            told = (
                f"{name} {row.spearman_volume:+.2f} (with Dice {row.spearman_dice:+.2f})" for name, row in rows.items()
            )
            first = next(iter(rows.values()))
            yield CheckResult(
                "volume confounder",
                Severity.WARNING if region is Region.WT and TRIAGE_AGGREGATOR in rows else Severity.NOTE,
                f"Scores of {first.map} for {region} go with the predicted volume, so that part of what they rank is "
                f"size: Spearman {', '.join(told)}; {len(first.studies)} studies.",
            )


def all_voxels_alone(evidence: Evidence) -> Iterator[CheckResult]:
    """An AUROC over easy voxels with none around the tumour beside it, or much above it."""
    means = select(evidence.table, metric="auroc", aggregation="mean").dropna(subset="value")
    apart: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (region, name), rows in means.groupby(["region", "map"], sort=False):
        of = dict(zip(rows["voxel_set"], rows["value"], strict=True))
        wide = next((voxels for voxels in (VoxelSet.ALL, VoxelSet.BRAIN) if voxels in of), None)
        if wide is None:
            continue
        if VoxelSet.TUMOUR not in of:
            yield CheckResult(
                "all-voxel AUROC alone",
                Severity.WARNING,
                f"The AUROC of {name} for {region} ({of[wide]:.3f}) is over voxels that are mostly easy background, "
                "with none around the tumour beside it: do not quote it alone.",
            )
        elif of[wide] - of[VoxelSet.TUMOUR] >= _EASY:
            apart[region, str(wide)].append(f"{name} {of[wide]:.3f} and {of[VoxelSet.TUMOUR]:.3f}")
    for (region, voxels), told in apart.items():
        yield CheckResult(
            "all-voxel AUROC",
            Severity.NOTE,
            f"The AUROC for {region} over '{voxels}' is far above that around the tumour ({', '.join(told)}): the "
            "difference is easy background; quote the second.",
        )


def missing_regions(evidence: Evidence) -> Iterator[CheckResult]:
    """Regions that the reference lacks or has less than 1 mL of."""
    volumes = {each.study: each.checks["volumes_ml"] for each in evidence.records if each.checks.get("volumes_ml")}
    for region in REGIONS:
        expected = {study: of["reference"][region] for study, of in volumes.items()}
        absent = [study for study, ml in expected.items() if ml == 0]
        small = [study for study, ml in expected.items() if ml != 0 and is_small(ml)]
        invented = sum(volumes[study]["prediction"][region] > 0 for study in absent)
        if absent or small:
            told = f"; the prediction finds some in {invented} of those without" if invented else ""
            yield CheckResult(
                "missing regions",
                Severity.NOTE,
                f"{region} is absent from the reference of {studies_in_words(len(absent))} and smaller than "
                f"{SMALL_ML:g} mL in {studies_in_words(len(small))}{told}. They stand apart from the means of Dice and "
                "HD95.",
                tuple(sorted(absent + small)),
            )


def one_class(evidence: Evidence) -> Iterator[CheckResult]:
    """AUROC that does not exist because all voxels are right, or all are misclassified."""
    cases = select(evidence.table, metric="auroc", aggregation="case")
    for (region, voxels), rows in cases[cases["value"].isna()].groupby(["region", "voxel_set"], sort=False):
        studies = tuple(rows["case"].unique())  # each map names them again
        yield CheckResult(
            "one-class AUROC",
            Severity.NOTE,
            f"The AUROC for {region} over '{voxels}' is undefined in {studies_in_words(len(studies))} (no error, "
            "nothing but errors, or no such voxel): left out of its mean, and counted.",
            studies,
        )


def unknown_brain(evidence: Evidence) -> Iterator[CheckResult]:
    """Studies whose brain is not known."""
    without = [record.study for record in evidence.records if record.brain != "images"]
    if without:
        yield CheckResult(
            "brain unknown",
            Severity.NOTE,
            f"The images of {studies_in_words(len(without))} were not found or do not fit, so nothing is measured over "
            "their brain; --images names the folder that holds them.",
            tuple(without),
        )


def unpredicted(evidence: Evidence) -> Iterator[CheckResult]:
    """References without a prediction: the means may leave out the hard ones."""
    if evidence.unpredicted:
        yield CheckResult(
            "references without a prediction",
            Severity.NOTE,
            f"The reference folder holds {studies_in_words(len(evidence.unpredicted))} without a prediction; if it "
            "failed on them, the numbers flatter it.",
            tuple(evidence.unpredicted),
        )


def few_studies(evidence: Evidence) -> Iterator[CheckResult]:
    """Too few studies for an interval."""
    count = len(evidence.records)
    if 0 < count < FEW_STUDIES:
        yield CheckResult(
            "few studies",
            Severity.NOTE,
            f"With {studies_in_words(count)} intervals and tests say little; show single studies.",
        )


RULES: tuple[Callable[[Evidence], Iterator[CheckResult]], ...] = (
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


def _how_predicted(settings: Any) -> Any:
    """Settings of a prediction, less how its reference was read."""
    if not isinstance(settings, Mapping):
        return settings
    return sorted((name, value) for name, value in settings.items() if name != "coding")


def _identical(confusion: Any) -> bool:
    """Whether prediction and reference agree in every voxel and hold a tumour."""
    counts = np.asarray(confusion if confusion is not None else [[0]])
    return bool(counts.sum() == np.trace(counts) and counts[1:].sum() > 0)
