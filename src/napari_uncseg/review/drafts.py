"""Drafts of corrections: what was painted and not saved yet, kept beside the result it was made on."""

from __future__ import annotations

import base64
import glob
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import Field

from napari_uncseg.arrays import AnyInts, Labels
from napari_uncseg.errors import SaveError, StudyError, UncsegError
from napari_uncseg.io.files import exists, read_json, sha256, write_files
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.review.verdicts import now

_hashes: WeakKeyDictionary[Prediction, str] = WeakKeyDictionary()


class _DraftFile(JsonFormat):
    """Content of a draft: the box in which labels differ from those of the result, and the labels there."""

    what = "draft of a correction"
    do = "delete it"

    schema_: Literal[1] = Field(1, alias="schema")
    study: str
    result: str
    segmentation_sha256: str
    reviewer: str
    time: str
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    labels: str


@dataclass(frozen=True, eq=False)
class CorrectionDraft:
    """A correction that was not saved.

    Parameters
    ----------
    path : Path
    reviewer : str
        Who painted; empty when nobody had told a name.
    time : str
        When it was kept last, as verdicts tell it.
    labels : ndarray of uint8, shape (x, y, z)
        In the prediction's own voxel order.
    voxels : int
        How many differ from the result.
    """

    path: Path
    reviewer: str
    time: str
    labels: Labels
    voxels: int


def draft_path(folder: Path, study_id: str, token: str) -> Path:
    """Where a draft stands: one for each time that somebody began to correct, so that two never meet."""
    return Path(folder) / f"{study_id}_correction-draft-{token}.json"


def write_draft(path: Path, prediction: Prediction, labels: AnyInts, reviewer: str = "") -> None:
    """Keep what was painted; the draft that stood there before is replaced, whole or not at all.

    Parameters
    ----------
    path : Path
        As :func:`draft_path`.
    prediction : Prediction
        What is corrected.
    labels : ndarray of int, shape (x, y, z)
        In the prediction's own voxel order.
    reviewer : str

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    box = bounding_box(labels != prediction.segmentation) or (slice(0, 0),) * 3
    packed = zlib.compress(np.ascontiguousarray(labels[box], dtype=np.uint8).tobytes(), 1)
    content = _DraftFile(
        schema=1,
        study=prediction.study_id,
        result=fingerprint(prediction.provenance),
        segmentation_sha256=_hash_of(prediction),
        reviewer=reviewer,
        time=now(),
        box=tuple((part.start, part.stop) for part in box),  # type: ignore[arg-type]
        labels=base64.b64encode(packed).decode(),
    )
    write_files({path: content.model_dump_json(by_alias=True).encode()})


def drafts_of(folder: Path, prediction: Prediction) -> list[CorrectionDraft]:
    """Drafts that were made on a result, the latest first; those of other results, and damaged ones, stay aside.

    Parameters
    ----------
    folder : Path
        Folder of the study's result.
    prediction : Prediction
    """
    found = []
    for path in Path(folder).glob(draft_path(Path(), glob.escape(prediction.study_id), "*").name):
        with suppress(UncsegError):
            found.append(_read(path, prediction))
    return sorted((draft for draft in found if draft is not None), key=lambda draft: draft.time, reverse=True)


def delete_draft(path: Path) -> None:
    """Delete a draft that is saved or not wanted; SaveError when the disk does not let go of it."""
    try:
        if exists(path, SaveError):  # a disk that is read-only complains of what is not there, too
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(f"The draft {path} cannot be deleted; delete it by hand.") from error


def token_of(path: Path) -> str:
    """What tells a draft from others of its study."""
    return path.stem.rpartition("-")[2]


def _read(path: Path, prediction: Prediction) -> CorrectionDraft | None:
    """A draft; None when it was made on another result."""
    content = _DraftFile.parse(read_json(path, do="delete it"), path)
    bound = (content.study, content.result, content.segmentation_sha256)
    if bound != (prediction.study_id, fingerprint(prediction.provenance), _hash_of(prediction)):
        return None
    box = tuple(slice(*ends) for ends in content.box)
    sizes = tuple(part.stop - part.start for part in box)
    inside = all(
        0 <= part.start <= part.stop <= size for part, size in zip(box, prediction.segmentation.shape, strict=True)
    )
    try:
        count = int(np.prod(sizes)) if inside else -1
        stored = zlib.decompressobj().decompress(base64.b64decode(content.labels), max(count, 0) + 1)
    except (ValueError, zlib.error):
        stored = b""
    painted = np.frombuffer(stored, dtype=np.uint8)
    if not inside or painted.size != count:
        raise StudyError(f"{path} is a damaged draft of a correction; delete it.")
    labels = prediction.segmentation.copy()
    labels[box] = painted.reshape(sizes)
    voxels = int(np.count_nonzero(labels != prediction.segmentation))
    return CorrectionDraft(path, content.reviewer, content.time, labels, voxels)


def _hash_of(prediction: Prediction) -> str:
    if prediction not in _hashes:
        _hashes[prediction] = sha256(np.ascontiguousarray(prediction.segmentation).data)
    return _hashes[prediction]
