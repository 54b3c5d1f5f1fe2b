"""A corrected segmentation: what was changed, and a file of it beside the original, never over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.io.files import exists, sha256, sha256_of, versions, write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import encode_volume, read_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, fingerprint, plain
from napari_uncseg.labels import REGION_LABELS, REGIONS, Label, Region
from napari_uncseg.review.findings import Findings
from napari_uncseg.review.verdicts import now

STEM = "segmentation-corrected"
"""What the names of corrections carry; a second one ends in ``-2``."""

SCHEMA = 1

Labels = npt.NDArray[np.uint8]


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


@dataclass(frozen=True)
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
    """

    voxels: int
    changed_ml: float
    regions: Mapping[Region, RegionChange]
    touched: tuple[int, ...]
    outside_ml: float


def compare(prediction: Prediction, corrected: npt.NDArray[np.integer], findings: Findings | None = None) -> Correction:
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
    StudyError
        When the shape does not fit or a label is none of 0, 1, 2, 3.
    """
    labels = _checked(prediction, corrected)
    voxel_ml = prediction.voxel_ml
    changed = labels != prediction.segmentation
    count = int(np.count_nonzero(changed))
    # Voxels by label before and after: all volumes follow from these few numbers.
    kinds = max(Label) + 1
    whole = np.bincount(prediction.segmentation.ravel(), minlength=kinds)
    moved = prediction.segmentation[changed].astype(np.int64) * kinds + labels[changed]
    moves = np.bincount(moved, minlength=kinds * kinds).reshape(kinds, kinds)
    regions = {}
    for region in REGIONS:
        own = [int(label) for label in REGION_LABELS[region]]
        others = [label for label in range(kinds) if label not in own]
        before = int(whole[own].sum())
        added, removed = (int(moves[np.ix_(*pair)].sum()) for pair in ((others, own), (own, others)))
        numbers = (before, before + added - removed, added, removed)
        regions[region] = RegionChange(*(number * voxel_ml for number in numbers))
    touched: tuple[int, ...] = ()
    within = 0
    if findings is not None and findings.items:
        ranks = findings.labels[changed[findings.box]]
        touched = tuple(int(rank) for rank in np.unique(ranks[ranks > 0]))
        within = int(np.count_nonzero(ranks))
    return Correction(count, count * voxel_ml, regions, touched, (count - within) * voxel_ml)


def save_correction(
    prediction: Prediction,
    corrected: npt.NDArray[np.integer],
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
    StudyError
        As :func:`compare`.
    SaveError
        When the disk cannot take it.
    """
    labels = _checked(prediction, corrected)
    changes = compare(prediction, labels, findings)
    encoded = encode_volume(labels, prediction.affine, prediction.header)
    earlier = corrections_in(folder, prediction.study_id)
    if earlier and sha256_of(earlier[-1], SaveError) == sha256(encoded):
        return earlier[-1]
    path = _free_path(folder, prediction.study_id)
    provenance = {
        "schema": SCHEMA,
        "study": prediction.study_id,
        "what": "segmentation corrected by a reviewer",
        "file": {"file": path.name, "sha256": sha256(encoded)},
        "reviewer": reviewer,
        "time": now(),
        "comment": comment,
        "original": {
            "result": fingerprint(prediction.provenance),
            "segmentation_sha256": sha256(np.ascontiguousarray(prediction.segmentation).data),
            "model": prediction.provenance.get("model"),
        },
        "changes": _changes_json(changes),
        "findings": _findings_json(findings, changes),
        "versions": versions(),
        "research_use_only": RESEARCH_USE_ONLY,
    }
    text = json.dumps(plain(provenance), indent=2, ensure_ascii=False) + "\n"
    write_files({path: encoded, _json_of(path): text.encode()})
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
    StudyError
        When it cannot be read, or does not lie on the prediction's grid.
    """
    volume = read_volume(path)
    shape = prediction.segmentation.shape
    if volume.channels != 1 or not same_grid(shape, prediction.affine, volume.shape, volume.affine):
        raise StudyError(f"{path} does not lie on the grid of the result of {prediction.study_id}.")
    return _checked(prediction, volume.values())


def _checked(prediction: Prediction, labels: npt.NDArray[Any]) -> Labels:
    array = np.asarray(labels)
    if array.shape != prediction.segmentation.shape:
        raise StudyError(
            f"The corrected segmentation has shape {array.shape} where {prediction.segmentation.shape} is needed."
        )
    whole = array.astype(np.uint8)
    if not np.array_equal(whole, array) or int(whole.max(initial=0)) > max(Label):
        odd = np.unique(array[~np.isin(array, (0, *Label))])[0]
        raise StudyError(
            f"The corrected segmentation holds the label {odd}; use 1 (necrosis), 2 (oedema), 3 (enhancing tumour) "
            "and 0 for none."
        )
    return whole


def _changes_json(changes: Correction) -> dict[str, Any]:
    return {
        "voxels": changes.voxels,
        "changed_ml": round(changes.changed_ml, 4),
        "outside_findings_ml": round(changes.outside_ml, 4),
        "regions_ml": {
            str(region): {name.removesuffix("_ml"): round(ml, 4) for name, ml in asdict(change).items()}
            for region, change in changes.regions.items()
        },
    }


def _findings_json(findings: Findings | None, changes: Correction) -> dict[str, Any] | None:
    if findings is None:
        return None
    touched: Sequence[int] = changes.touched
    return {
        "map": str(findings.map),
        "threshold": findings.threshold,
        "count": len(findings.items),
        "touched": [
            {"rank": item.rank, "voxel": list(item.voxel), "volume_ml": round(item.volume_ml, 4)}
            for item in findings.items
            if item.rank in touched
        ],
    }


def _free_path(folder: Path, study_id: str) -> Path:
    """First name that neither a correction nor its JSON has taken."""
    numbered = ("" if number == 1 else f"-{number}" for number in count(1))
    paths = (Path(folder) / f"{study_id}_{STEM}{suffix}.nii.gz" for suffix in numbered)
    return next(path for path in paths if not exists(path, SaveError) and not exists(_json_of(path), SaveError))


def _number(path: Path, study_id: str) -> int:
    """Which correction a file name says it is, 0 for none."""
    rest = path.name.removeprefix(f"{study_id}_{STEM}").removesuffix(".nii.gz")
    if rest == "":
        return 1
    return int(rest[1:]) if rest[:1] == "-" and rest[1:].isdecimal() else 0


def _json_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")
