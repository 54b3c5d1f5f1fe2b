"""A corrected segmentation: what was changed, and a file of it beside the original, never over it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.arrays import AnyInts, Array, Labels
from napari_uncseg.errors import EvaluationError, NameTaken, SaveError, StudyError
from napari_uncseg.io.files import exists, is_file, read_json, sha256, sha256_of, versions, write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import encode_volume, read_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, fingerprint, input_hashes, plain
from napari_uncseg.io.results import check_made_from, find_results, read_result
from napari_uncseg.labels import MODALITIES, REGION_LABELS, REGIONS, Region
from napari_uncseg.metrics.overlap import confusion
from napari_uncseg.review.findings import Findings
from napari_uncseg.review.verdicts import now

STEM = "segmentation-corrected"
"""What the names of corrections carry; a second one ends in ``-2``."""

SCHEMA = 1


@dataclass(frozen=True)
class RegionChange:
    """What a correction did to a region, in millilitres.

    Parameters
    ----------
    before_ml, after_ml : float
        Its volumes.
    added_ml, removed_ml : float
        What came and what went.
    """

    before_ml: float
    after_ml: float
    added_ml: float
    removed_ml: float


@dataclass(frozen=True, eq=False)
class Correction:
    """How a corrected segmentation differs from the predicted one.

    Parameters
    ----------
    voxels : int
        Voxels whose label changed.
    changed_ml : float
        Their volume.
    regions : mapping of Region to RegionChange
    touched : tuple of int
        Ranks of the findings in which a label changed.
    outside_ml : float
        Volume that changed outside all findings.
    labels : ndarray of uint8, shape (x, y, z)
        The corrected segmentation.
    """

    voxels: int
    changed_ml: float
    regions: Mapping[Region, RegionChange]
    touched: tuple[int, ...]
    outside_ml: float
    labels: Labels


def compare(prediction: Prediction, corrected: AnyInts, findings: Findings | None = None) -> Correction:
    """Measure what a correction changed.

    Parameters
    ----------
    prediction : Prediction
        With the original segmentation.
    corrected : ndarray of int, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`, in the prediction's own voxel order.
    findings : Findings, optional
        Those that the correction touched are listed.

    Returns
    -------
    Correction

    Raises
    ------
    EvaluationError
        When the shape does not fit or a label is none of 0, 1, 2, 3.
    """
    labels = _checked(prediction, corrected)
    # Voxels by label before and after: all volumes follow from these few numbers.
    moves = np.array(confusion(labels, prediction.segmentation))
    regions = {}
    for region in REGIONS:
        own = list(map(int, REGION_LABELS[region]))
        before, after, kept = moves[own].sum(), moves[:, own].sum(), moves[np.ix_(own, own)].sum()
        numbers = (before, after, after - kept, before - kept)
        regions[region] = RegionChange(*(float(number) * prediction.voxel_ml for number in numbers))
    count, ranks = int(moves.sum() - np.trace(moves)), np.zeros(0, dtype=np.int32)
    if findings is not None and count:
        ranks = findings.labels[(labels != prediction.segmentation)[findings.box]]
    touched, outside = np.unique(ranks[ranks > 0]).tolist(), count - int(np.count_nonzero(ranks))
    outside_ml = outside * prediction.voxel_ml
    return Correction(count, count * prediction.voxel_ml, regions, tuple(touched), outside_ml, labels)


def words_on(changes: Correction) -> str:
    """What a correction changed, for a reader."""
    if not changes.voxels:
        return "Nothing is changed yet."
    regions = [
        f"{region} {each.before_ml:.2f} → {each.after_ml:.2f} mL (+{each.added_ml:.2f} −{each.removed_ml:.2f})"
        for region, each in changes.regions.items()
        if each.added_ml or each.removed_ml
    ]
    ranks = ", ".join(str(rank) for rank in changes.touched)
    what = "Finding" if len(changes.touched) == 1 else "Findings"
    touched = f"{what} touched: {ranks}." if ranks else "No finding touched."
    return "\n".join((f"Changed: {changes.changed_ml:.2f} mL ({changes.voxels} voxels).", *regions, touched))


def save_correction(
    prediction: Prediction,
    corrected: AnyInts,
    folder: Path,
    *,
    reviewer: str,
    findings: Findings | None = None,
    comment: str = "",
) -> Path:
    """Write a corrected segmentation beside the result it corrects.

    Parameters
    ----------
    prediction : Prediction
        The original.
    corrected : ndarray of int, shape (x, y, z)
        As for :func:`compare`.
    folder : Path
        Folder of the study's result.
    reviewer : str
        Who corrected.
    findings : Findings, optional
        What guided the correction.
    comment : str

    Returns
    -------
    Path
        ``<id>_segmentation-corrected.nii.gz``, with a JSON of that stem beside it. What stands there already stays: the
        next correction ends in ``-2``, unless its labels are those of the last one, which is then returned.

    Raises
    ------
    EvaluationError
        As :func:`compare`.
    SaveError
        When the disk cannot take it, or the folder holds a result of other images.
    """
    labels = _checked(prediction, corrected)
    for path in find_results(folder, prediction.study_id):
        with suppress(StudyError):  # a damaged JSON costs nobody the correction
            there = read_result(path).provenance
            check_made_from(there, prediction.inputs, prediction.study_id, f"in {folder}", SaveError)
    encoded = encode_volume(labels, prediction.affine, prediction.header)
    provenance = {
        "schema": SCHEMA,
        "study": prediction.study_id,
        "what": "segmentation corrected by a reviewer",
        "reviewer": reviewer,
        "time": now(),
        "comment": comment,
        "original": {
            "result": fingerprint(prediction.provenance),
            "segmentation_sha256": sha256(np.ascontiguousarray(prediction.segmentation).data),
            "model": prediction.provenance.get("model"),
        },
        "inputs": prediction.inputs,
        **_changes_json(compare(prediction, labels, findings), findings),
        "versions": versions(),
        "research_use_only": RESEARCH_USE_ONLY,
    }
    earlier = corrections_in(folder, prediction.study_id)
    if earlier and sha256_of(earlier[-1], SaveError) == sha256(encoded):
        told = _json_of(earlier[-1])
        if not exists(told, SaveError):  # a run was killed after the first of the two files
            write_files({told: _json_bytes(provenance, earlier[-1], encoded)})
        return earlier[-1]
    while True:
        path = _free_path(folder, prediction.study_id)
        with suppress(NameTaken):  # by somebody who saves in the same moment
            write_files({path: encoded, _json_of(path): _json_bytes(provenance, path, encoded)}, new=True)
            return path


def corrections_in(folder: Path, study_id: str) -> list[Path]:
    """Corrections of a study in the folder of its result, the first one first."""
    found = {_number(path, study_id): path for path in Path(folder).glob(f"*_{STEM}*.nii.gz")}
    return [found[number] for number in sorted(number for number in found if number)]


def load_correction(path: Path, prediction: Prediction) -> Labels:
    """Labels of a correction.

    Parameters
    ----------
    path : Path
        As :func:`save_correction` returned it.
    prediction : Prediction
        What it corrects.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)

    Raises
    ------
    StudyError, EvaluationError
        When it cannot be read, was drawn on other images, or does not lie on the prediction's grid.
    """
    told = _json_of(path)
    if is_file(told):
        theirs, own = input_hashes(read_json(told)), input_hashes(prediction.provenance)
        if any(theirs.get(each) and own.get(each) and theirs[each] != own[each] for each in MODALITIES):
            what = f"{path} corrects another result than that of {prediction.study_id}, made from other image files"
            raise StudyError(f"{what}; move it to the folder of its own.")
    volume = read_volume(path)
    shape = prediction.segmentation.shape
    if volume.channels != 1 or not same_grid(shape, prediction.affine, volume.shape, volume.affine):
        raise StudyError(f"{path} does not lie on the grid of the result of {prediction.study_id}.")
    return _checked(prediction, volume.values())


def last_changes(prediction: Prediction, folder: Path, findings: Findings | None = None) -> Correction | None:
    """What the last correction that was saved of a result changed; None without any on its grid.

    Parameters
    ----------
    prediction : Prediction
    folder : Path
        Folder of the study's result.
    findings : Findings, optional
        As of :func:`compare`.
    """
    saved = corrections_in(folder, prediction.study_id)
    with suppress(StudyError, EvaluationError):
        return compare(prediction, load_correction(saved[-1], prediction), findings) if saved else None
    return None


def _checked(prediction: Prediction, labels: Array) -> Labels:
    from napari_uncseg.evaluation.validation import (
        label_map,
    )  # brings pandas, which the first picture need not wait for

    return label_map(labels, "The corrected segmentation", prediction.segmentation.shape)


def _json_bytes(provenance: Mapping[str, Any], path: Path, encoded: bytes) -> bytes:
    content = {**provenance, "file": {"file": path.name, "sha256": sha256(encoded)}}
    return (json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n").encode()


def _changes_json(changes: Correction, findings: Findings | None) -> dict[str, Any]:
    """What was changed, and the findings that guided it."""
    regions = {
        str(region): {name.removesuffix("_ml"): round(ml, 4) for name, ml in vars(change).items()}
        for region, change in changes.regions.items()
    }
    ml = {"changed_ml": round(changes.changed_ml, 4), "outside_findings_ml": round(changes.outside_ml, 4)}
    told: dict[str, Any] = {"changes": {"voxels": changes.voxels, **ml, "regions_ml": regions}, "findings": None}
    if findings is not None:
        touched = [
            {"rank": item.rank, "voxel": item.voxel, "volume_ml": round(item.volume_ml, 4)}
            for item in findings.items
            if item.rank in changes.touched
        ]
        guide = {"map": str(findings.map), "threshold": findings.threshold, "count": len(findings.items)}
        told["findings"] = {**guide, "touched": touched}
    return told


def _free_path(folder: Path, study_id: str) -> Path:
    """First name that neither a correction nor its JSON has taken."""
    numbered = ("" if number == 1 else f"-{number}" for number in count(1))
    paths = (Path(folder) / f"{study_id}_{STEM}{suffix}.nii.gz" for suffix in numbered)
    return next(path for path in paths if not exists(path, SaveError) and not exists(_json_of(path), SaveError))


def _number(path: Path, study_id: str) -> int:
    """Which correction a file name says it is, 0 for none."""
    named = re.fullmatch(rf"{re.escape(study_id)}_{STEM}(?:-([0-9]+))?\.nii\.gz", path.name)
    return int(named[1] or 1) if named else 0


def _json_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")
