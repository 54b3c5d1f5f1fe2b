"""Rules of the lint about files: whether prediction, reference and calibration are what they are taken for."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.sanity_checks import Evidence, Remark, Severity, studies_in_words
from napari_uncseg.labels import Label
from napari_uncseg.metrics.confusion import better_numbering

_MIX_UP_GAIN = 0.15
"""Mean label Dice that another numbering must win before it is suspected; poor but honest segmentations stay below."""

_LEAST_AGREEMENT = 0.95
_PATIENT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")


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
            f"In {studies_in_words(len(found))} the segmentation is not that of its own probabilities above 0.5 (Dice "
            f"of the two below {_LEAST_AGREEMENT}): calibration is then that of another segmentation.",
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
            f"In {studies_in_words(len(studies))} the segmentation fits the reference much better when its labels are "
            f"read in another way ({swap}): check how prediction and reference number their labels (--coding, "
            "--prediction-coding).",
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
            f"In {studies_in_words(len(copies))} reference and prediction are the same file; give the expert's.",
            tuple(copies),
        )
    if perfect:
        yield Remark(
            "identical segmentations",
            Severity.WARNING,
            f"In {studies_in_words(len(perfect))} prediction and reference agree in every voxel: was the reference "
            "made from the prediction?",
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
            f"In both calibration and test: {studies_in_words(len(both))}. Thresholds are then fitted on what they are "
            "tested on; take them out of one.",
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
            f"For {studies_in_words(len(shared))} another visit of the same patient is among the calibration studies.",
            tuple(shared),
        )


def mixed_predictions(evidence: Evidence) -> Iterator[Remark]:
    """Predictions of more than one model or setting in one table."""
    models = Counter(str((record.checks.get("model") or {}).get("sha256")) for record in evidence.records)
    settings = Counter(repr(_sorted(_how_predicted(record))) for record in evidence.records)
    for what, counter in (("models", models), ("settings", settings)):
        if len(counter) > 1:
            yield Remark(
                "mixed predictions",
                Severity.WARNING,
                f"The predictions were made with {len(counter)} different {what}; their means describe none of them.",
            )


def _how_predicted(record: Record) -> dict[str, Any]:
    """Settings of a prediction, less how its reference was read."""
    return {name: value for name, value in (record.checks.get("settings") or {}).items() if name != "coding"}


def unknown_brain(evidence: Evidence) -> Iterator[Remark]:
    """Studies whose brain is not known."""
    without = [record.study for record in evidence.records if record.brain != "images"]
    if without:
        yield Remark(
            "brain unknown",
            Severity.NOTE,
            f"The images of {studies_in_words(len(without))} were not found or do not fit, so nothing is measured over "
            "their brain; --images names the folder that holds them.",
            tuple(without),
        )


def unpredicted(evidence: Evidence) -> Iterator[Remark]:
    """References without a prediction: the means may leave out the hard ones."""
    if evidence.unpredicted:
        missing = list(evidence.unpredicted)
        yield Remark(
            "references without a prediction",
            Severity.NOTE,
            f"The reference folder holds {studies_in_words(len(missing))} without a prediction; if it failed on them, "
            "the numbers flatter it.",
            tuple(missing),
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
