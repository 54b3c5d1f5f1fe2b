"""What the files of a BraTS study hold, before a network is trained on them: labels, grids, and images seen twice."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import StudyError
from napari_uncseg.inference.progress import Progress
from napari_uncseg.io.discovery import StudyFiles
from napari_uncseg.io.files import write_files
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.nifti import Volume, read_volume
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from uncseg_training.data.splits import join_groups

_BATCH = 20
"""Studies after which what was checked is written down."""


@dataclass(frozen=True)
class Check:
    """What was found in the files of a study.

    Parameters
    ----------
    files : mapping of str to list
        Role (a modality or ``seg``) -> path, size in bytes and time of its last change in ns.
    shape : list of int
        Voxels of the study.
    labels : list of int
        Values of the reference besides 0.
    content : mapping of str to str
        Modality -> SHA-256 of its voxels, however they are packed.
    problem : str, optional
        Why the study cannot be used, a sentence.
    """

    files: Mapping[str, list[Any]]
    shape: list[int]
    labels: list[int]
    content: Mapping[str, str]
    problem: str | None = None


def check_all(studies: Sequence[StudyFiles], place: Path, workers: int, tell: Progress) -> dict[str, Check]:
    """Check every study that was not checked before.

    Parameters
    ----------
    studies : sequence of StudyFiles
        As they were found.
    place : Path
        JSON file that remembers what was checked; a study whose files have not changed since is not read again.
    workers : int
        Studies read at the same time.
    tell : callable
        Called as ``tell(done, total, message)``.

    Returns
    -------
    dict of str to Check
        By name, in order; a study that cannot be used has its ``problem``.
    """
    known = _read_checks(place)
    checks = {study.id: known[study.id] for study in studies if _is_current(study, known.get(study.id))}
    missing = [study for study in studies if study.id not in checks]
    tell(len(checks), len(studies), "Checking")
    # Decompression runs beside the interpreter, so threads are enough.
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, len(missing), _BATCH):
            part = missing[first : first + _BATCH]
            for study, check in zip(part, pool.map(check_study, part), strict=True):
                checks[study.id] = check
                tell(len(checks), len(studies), "Checking")
            write_files(
                {place: json.dumps({name: asdict(check) for name, check in sorted(checks.items())}, indent=1).encode()}
            )
    return dict(sorted(checks.items()))


def check_study(study: StudyFiles) -> Check:
    """Read all files of a study and look whether they can be trained on; never raises for what a file holds."""
    try:
        files = _files(study)
    except StudyError as error:
        return Check({}, [], [], {}, str(error))
    stamps = {role: stamp(path) for role, path in files.items()}
    try:
        volumes = {role: read_volume(path) for role, path in files.items()}
        labels = _examine(volumes)
    except StudyError as error:
        return Check(stamps, [], [], {}, str(error))
    content = {modality: _content(volumes[modality]) for modality in MODALITIES}
    return Check(stamps, list(volumes["seg"].shape), labels, content)


def stamp(path: Path) -> list[Any]:
    """Path, size and time of the last change of a file: what tells that it is the one that was checked."""
    found = path.stat()
    return [str(path.absolute()), found.st_size, found.st_mtime_ns]


def find_alike(checks: Mapping[str, Check]) -> list[list[str]]:
    """Studies that share the voxels of at least one image, each group sorted."""
    holders: dict[str, list[str]] = defaultdict(list)
    for study, check in sorted(checks.items()):
        for content in dict.fromkeys(check.content.values()):
            holders[content].append(study)
    group = join_groups({study: study for study in checks}, holders.values())
    members: dict[str, list[str]] = defaultdict(list)
    for study, name in sorted(group.items()):
        members[name].append(study)
    return [studies for studies in members.values() if len(studies) > 1]


def _read_checks(place: Path) -> dict[str, Check]:
    """What was checked before; a file that cannot be read costs the time to check again, no more."""
    try:
        return {name: Check(**content) for name, content in json.loads(place.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _is_current(study: StudyFiles, check: Check | None) -> bool:
    if check is None or check.problem is not None:
        return False
    try:
        return {role: stamp(path) for role, path in _files(study).items()} == check.files
    except (StudyError, OSError):
        return False


def _files(study: StudyFiles) -> dict[str, Path]:
    """Files of a study by role; StudyError when one is missing."""
    if study.problem is not None:
        raise StudyError(study.problem)
    if study.reference is None:
        raise StudyError(f"Study {study.id} has no expert segmentation; take the training data of BraTS.")
    files: dict[str, Path] = {}
    for modality, entry in study.modalities.items():
        if isinstance(entry, tuple):
            raise StudyError(f"Study {study.id} is one 4-D file; take the files of BraTS 2023, one per modality.")
        files[modality] = entry
    return {modality: files[modality] for modality in MODALITIES} | {"seg": study.reference}


def _examine(volumes: Mapping[str, Volume]) -> list[int]:
    """Labels of the reference; StudyError when grids differ, an image is empty or a label is not BraTS 2023's."""
    reference = volumes["seg"]
    for role in (*MODALITIES, "seg"):
        volume = volumes[role]
        if volume.channels != 1 or not same_grid(reference.shape, reference.affine, volume.shape, volume.affine):
            raise StudyError(f"{volume.path} does not lie on the grid of {reference.path}; download the study again.")
    for modality in MODALITIES:
        data = volumes[modality].data
        if data.min() == data.max() or not np.isfinite(data).all():
            raise StudyError(
                f"{volumes[modality].path} holds no image of {MODALITY_TITLES[modality]}; download it again."
            )
    found = [float(value) for value in np.unique(reference.values(dtype=np.float64))]
    labels = [int(value) for value in found if value]
    if any(value not in (0.0, 1.0, 2.0, 3.0) for value in found):
        hint = (
            "up to 2021 a 4 is enhancing tumour, from 2024 on a resection cavity" if 4.0 in found else "it is damaged"
        )
        raise StudyError(
            f"{reference.path} holds the values {', '.join(f'{value:g}' for value in found)} where BraTS 2023 has 0, "
            f"1, 2 and 3 ({hint}); take the data of 2023."
        )
    return labels


def _content(volume: Volume) -> str:
    """Hash of the voxels: packing the same image anew changes its file, not this."""
    plain = np.ascontiguousarray(volume.values())
    return hashlib.sha256(str(plain.shape).encode() + plain.tobytes()).hexdigest()
