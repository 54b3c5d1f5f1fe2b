"""The words and tables of the report of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from napari_uncseg import __version__
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGION_TITLES, REGIONS, Region, region_masks
from napari_uncseg.models.identity import bundled_calibration
from napari_uncseg.reporting.page import Grid
from napari_uncseg.review.corrections import Correction
from napari_uncseg.review.findings import EXPECTED_ERRORS, Findings
from napari_uncseg.review.session import judged
from napari_uncseg.review.verdicts import Record, StudyVerdict, latest
from napari_uncseg.review.volumes import RegionSize, region_sizes, volume_intervals
from napari_uncseg.uncertainty.expected_dice import expected_dice_of
from napari_uncseg.uncertainty.recalibration.io import Calibration

LISTED = 8
"""Findings that are listed."""

CONTOURS = (
    "Contours: whole tumour green, tumour core orange, enhancing tumour yellow; the finding cyan; the expert's region, "
    "where there is one, white and dashed. The patient's right is on the left. Slices are counted from below."
)


@dataclass(frozen=True, eq=False)
class Material:
    """What a report is made of.

    Parameters
    ----------
    study : Study
    prediction : Prediction
        Its result, on its grid.
    findings : Findings, optional
        Those that were reviewed; without them they are cut out of the first map of WT at a fifth of its range.
    records : tuple of StudyVerdict or FindingVerdict
        The log of verdicts; those of this study and result are told.
    correction : Correction, optional
        What was changed by hand.
    """

    study: Study
    prediction: Prediction
    findings: Findings | None = None
    records: tuple[Record, ...] = ()
    correction: Correction | None = None


@dataclass(frozen=True)
class Page:
    """The words and tables of a report.

    Parameters
    ----------
    title, subtitle : str
    volumes, diameters, findings : Grid
    findings_lead : str
        Which map, threshold and order.
    calibration : Grid
    verdicts, making : tuple of str
        Sentences: why it needs review and what was decided; how it was made.
    """

    title: str
    subtitle: str
    volumes: Grid
    diameters: Grid
    findings_lead: str
    findings: Grid
    calibration: Grid
    verdicts: tuple[str, ...]
    making: tuple[str, ...]


def compose(material: Material, findings: Findings) -> Page:
    """Words and tables of a report."""
    prediction = material.prediction
    notes = calibration_notes(prediction)
    model = prediction.provenance.get("model") or {}
    making = [
        f"Model: {model.get('name', 'unknown')} ({str(model.get('sha256', ''))[:12] or 'no hash'}), "
        f"{prediction.member_count} {'pass' if prediction.member_count == 1 else 'members'}.",
        f"Result: {fingerprint(prediction.provenance)[:12] or 'without a fingerprint'}; made by: "
        f"{prediction.provenance.get('command') or 'no command told'}.",
        f"Report: napari-uncseg {__version__}; findings, contours and expected volumes are those of the "
        "segmentation as predicted.",
    ]
    reasons = [f"Needs review: {reason.get('text')}" for reason in prediction.provenance.get("needs_review") or ()]
    making += [f"Warning: {warning}" for warning in material.study.warnings]
    return Page(
        title=f"Review of {prediction.study_id}",
        subtitle=_subtitle(material),
        volumes=_volumes_grid(material),
        diameters=_diameters_grid(material),
        findings_lead=_findings_lead(prediction, findings),
        findings=_findings_grid(material, findings),
        calibration=Grid.of(("region", "calibration of its probability"), list(notes.items()), (0, 1)),
        verdicts=(*reasons, *_verdict_sentences(material)),
        making=tuple(making),
    )


def calibration_notes(prediction: Prediction) -> dict[Region, str]:
    """Sentence for each region about how far the probabilities of the result's model can be believed.

    Parameters
    ----------
    prediction : Prediction
        Its provenance names the model by its hash.

    Returns
    -------
    dict of Region to str
        From the calibration that comes with the bundled network: its calibration error, and the threshold that keeps
        the share of the region that is missed. For any other model, for other members and for a recalibrated result
        that nothing is known.
    """
    known = _bundled()
    model = prediction.provenance.get("model") or {}
    if known is None or model.get("sha256") != known.model_sha256:
        return dict.fromkeys(REGIONS, "The calibration of this model was not measured.")
    if prediction.method != known.ensemble or prediction.recalibrated:
        how = f"Calibration was measured with the members {known.ensemble} and without recalibration, not for this run."
        return dict.fromkeys(REGIONS, how)
    figures, studies = known.provenance["figures"], len(known.provenance["studies"])
    voxels = f"the voxel set {known.provenance['voxel_set']} of {studies} studies that it never saw"
    notes = {}
    for region in REGIONS:
        error = figures["regions"][region]["before"]["ece_classwise"]
        notes[region] = f"ECE {error:.3f} over {voxels}."
        if region in known.controls:
            words = known.controls[region].words()
            notes[region] += f" {words[:1].upper()}{words[1:]}"
    return notes


@cache
def _bundled() -> Calibration | None:
    return bundled_calibration()


def _subtitle(material: Material) -> str:
    provenance = material.prediction.provenance
    score, estimates = provenance.get("triage_score"), expected_dice_of(provenance)
    parts = [f"voxels {' × '.join(f'{size:.3g}' for size in material.study.spacing)} mm"]
    if estimates:
        parts.append("expected Dice " + ", ".join(f"{region} {each}" for region, each in estimates.items()))
    elif isinstance(score, (int, float)):
        parts.append(f"triage score {score:.3f} (mean entropy of WT round the predicted tumour, nats)")
    return "; ".join(parts)


def _volumes_grid(material: Material) -> Grid:
    true: dict[Region, str] = {}
    if material.study.reference is not None:
        for region, mask in zip(REGIONS, region_masks(material.study.reference), strict=True):
            true[region] = f"{np.count_nonzero(mask) * material.study.voxel_ml:.1f}"
    changes = _changes(material)
    rows = []
    for each in volume_intervals(material.prediction):
        segmented, expected, low, high = (
            f"{ml:.1f}" for ml in (each.segmented_ml, each.expected_ml, each.low_ml, each.high_ml)
        )
        named = f"{each.region} · {REGION_TITLES[each.region]}"
        corrected = [f"{changes.regions[each.region].after_ml:.1f}"] if changes is not None else []
        rows.append([named, segmented, *corrected, expected, f"{low} to {high}", true.get(each.region, "–")])
    corrected = ["corrected, mL"] if changes is not None else []
    return Grid.of(("region", "segmented, mL", *corrected, "expected, mL", "80 % interval, mL", "expert, mL"), rows)


def _changes(material: Material) -> Correction | None:
    """What was changed by hand; None when nothing was."""
    return material.correction if material.correction is not None and material.correction.voxels else None


def _diameters_grid(material: Material) -> Grid:
    """Diameters of the segmentation, of its correction and of the expert's, as far as there are any."""
    prediction, reference = material.prediction, material.study.reference
    columns = {"segmented": region_sizes(prediction.segmentation, prediction)}
    changes = _changes(material)
    if changes is not None:
        columns["corrected"] = region_sizes(changes.labels, prediction)
    if reference is not None:
        columns["expert"] = region_sizes(reference, prediction)
    rows = [[str(region), *(_across(sizes[region]) for sizes in columns.values())] for region in REGIONS]
    return Grid.of(("region", *(f"{name}, mm" for name in columns)), rows)


def _across(size: RegionSize) -> str:
    return size.across if size.diameters is None else f"{size.diameters} (slice {size.diameters.slice})"


def _findings_lead(prediction: Prediction, findings: Findings) -> str:
    title = prediction.title(findings.map)
    if not findings.items:
        return f"{title} at {findings.threshold:.3f} or more flags no place to check."
    believed = " as the map claims" if findings.ranked_by == EXPECTED_ERRORS else ""
    count = len(findings.items)
    listed = f" The first {LISTED} are listed, {count - LISTED} more are not." if count > LISTED else ""
    return (
        f"{count} {'place' if count == 1 else 'places'} where {title} is {findings.threshold:.3f} or more, ranked by "
        f"{findings.ranked_by}{believed}. Flagged {findings.flagged_ml:.1f} mL, of it {findings.ring_ml:.1f} mL a thin "
        "ring along the predicted contour that partial volume explains and that is no finding." + listed
    )


def _findings_grid(material: Material, findings: Findings) -> Grid:
    said = _judgements(material, findings)
    rows = []
    for item in findings.items[:LISTED]:
        numbers = [f"{number:.2f}" for number in (item.volume_ml, item.score, item.peak)]
        rows.append([str(item.rank), item.reason, *numbers, str(item.slice), said.get(item.rank, "–")])
    score = "errors, mL" if findings.ranked_by == EXPECTED_ERRORS else "score, mL"
    return Grid.of(("", "where and why", "mL", score, "peak", "slice", "judged"), rows, (1,))


def _own(material: Material) -> list[Record]:
    result = fingerprint(material.prediction.provenance)
    own = (material.prediction.study_id, result)
    return [record for record in latest(material.records) if (record.study, record.result) == own]


def _judgements(material: Material, findings: Findings) -> dict[int, str]:
    """Last judgement of each finding, by rank; of several reviewers, all."""
    found: dict[int, dict[str, str]] = {}
    for rank, record in judged(findings, _own(material)):
        found.setdefault(rank, {})[record.reviewer] = str(record.judgement)
    return {rank: " / ".join(dict.fromkeys(answers.values())) for rank, answers in found.items()}


def _verdict_sentences(material: Material) -> list[str]:
    said = []
    for record in _own(material):
        if isinstance(record, StudyVerdict):
            hard = f", difficulty {record.difficulty} of 5" if record.difficulty else ""
            comment = f": {record.comment.rstrip('.')}" if record.comment else ""
            said.append(f"Verdict of {record.reviewer} ({record.time[:10]}): {record.decision}{hard}{comment}.")
    sentences = said or ["No verdict was given yet."]
    changes = _changes(material)
    if changes is not None:
        touched = f"{len(changes.touched)} {'finding' if len(changes.touched) == 1 else 'findings'} touched"
        sentences.append(f"Corrected by hand: {changes.changed_ml:.2f} mL changed, {touched}.")
    return sentences
