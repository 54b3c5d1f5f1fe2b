"""A BraTS 2023 download as a raw data set of nnU-Net: checked study by study, linked, and split by patient.

Nothing is copied where the disk allows a link. What was checked is remembered, so that a conversion that was stopped
goes on where it was.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.errors import StudyError
from napari_uncseg.inference.progress import Progress, silent
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.files import write_files
from napari_uncseg.io.nifti import SUFFIXES, stem
from napari_uncseg.labels import MODALITIES
from napari_uncseg.models.model import DATASET_JSON
from uncseg_training.data.brats_check import check_all, find_alike
from uncseg_training.data.splits import FOLDS, SEED, join_groups, patient, split_by_group

EXPECTED = 1251
"""Studies with a reference in the training data of BraTS 2023, adult glioma."""

CHECKS, SPLITS, DATASET = "checks.json", "splits_final.json", "dataset.json"


@dataclass(frozen=True)
class Conversion:
    """What became of a download.

    Parameters
    ----------
    folder : Path
        The data set.
    studies, patients : int
        How many.
    alike : list of list of str
        Studies that share the voxels of an image; they are in the same fold.
    without_tumour : list of str
        Studies whose reference is empty.
    links : mapping of str to int
        How many files were linked (``hard``, ``symbolic``), copied, or there already.
    folds : list of int
        Validation studies per fold.
    """

    folder: Path
    studies: int
    patients: int
    alike: list[list[str]]
    without_tumour: list[str]
    links: Mapping[str, int]
    folds: list[int]


def convert(
    download: str | Path,
    out: str | Path,
    *,
    number: int = 137,
    name: str = "BraTS2023",
    expected: int = EXPECTED,
    folds: int = FOLDS,
    seed: int = SEED,
    workers: int = 4,
    progress: Progress = silent,
) -> Conversion:
    """Turn a BraTS 2023 download into a raw data set of nnU-Net v2 with regions and patient-grouped splits.

    Parameters
    ----------
    download : path
        The unpacked training data: a folder ``BraTS-GLI-00000-000`` per study.
    out : path
        nnU-Net's folder of raw data (``nnUNet_raw``); gets ``Dataset137_BraTS2023``.
    number, name : int, str
        Of the data set.
    expected : int
        How many studies the download must hold.
    folds : int
        Of the cross-validation.
    seed : int
        Of the splits.
    workers : int
        Files read at the same time.
    progress : callable, optional
        Called as ``progress(done, total, message)``.

    Returns
    -------
    Conversion

    Raises
    ------
    StudyError
        When the count is another, a study is incomplete, damaged or labelled otherwise, or the data set holds others.
    SaveError
        When the folder cannot be written.
    """
    studies = sorted(find_studies(download), key=lambda study: study.id)
    if len(studies) != expected:
        raise StudyError(
            f"{download} holds {len(studies)} studies where {expected} are expected; complete the download, or say how "
            "many there are with --expect."
        )
    folder = Path(out) / f"Dataset{number:03d}_{name}"
    others = _others(folder, {study.id for study in studies})
    if others:
        raise StudyError(
            f"{folder} already holds {others[0]}, which {download} has not; take another number or folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    checks = check_all(studies, folder / CHECKS, workers, progress)
    bad = [check.problem for check in checks.values() if check.problem is not None]
    if bad:
        more = f" {len(bad) - 1} other studies have problems too; {folder / CHECKS} lists them." if len(bad) > 1 else ""
        raise StudyError(f"{bad[0]}{more}")
    endings = Counter(_ending(entry[0]) for check in checks.values() for entry in check.files.values())
    if len(endings) > 1:
        raise StudyError(
            f"{download} mixes {' and '.join(sorted(endings))} files; nnU-Net takes one kind, so convert one."
        )
    (ending,) = endings
    links: Counter[str] = Counter()
    for done, (study, check) in enumerate(checks.items(), start=1):
        for role, (path, *_) in check.files.items():
            place = "labelsTr" if role == "seg" else "imagesTr"
            channel = "" if role == "seg" else f"_{MODALITIES.index(role):04d}"
            links[link(Path(path), folder / place / f"{study}{channel}{ending}")] += 1
        progress(done, len(checks), "Linking")
    alike = find_alike(checks)
    groups = join_groups({study: patient(study) for study in checks}, alike)
    splits = split_by_group(groups, folds, seed)
    dataset = {**DATASET_JSON, "file_ending": ending, "numTraining": len(checks), "name": name}
    # dataset.json vouches for the rest, and so comes last.
    write_files({folder / SPLITS: _dump(splits), folder / DATASET: _dump(dataset)})
    return Conversion(
        folder,
        len(checks),
        len({patient(study) for study in checks}),
        alike,
        [study for study, check in checks.items() if not check.labels],
        dict(links),
        [len(split["val"]) for split in splits],
    )


def link(source: Path, target: Path) -> str:
    """Make ``target`` the same file as ``source``, without copying where that can be.

    Returns
    -------
    str
        ``kept`` when it was there already, else ``hard``, ``symbolic`` or ``copied``.
    """
    if target.exists() and (target.samefile(source) or target.stat().st_size == source.stat().st_size):
        return "kept"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        for kind, make in _WAYS.items():
            try:
                make(source.resolve(), temporary)
            except OSError as error:
                # A full disk stays full, whichever way is tried; anything else may be a file system without links.
                if kind == "copied" or error.errno == errno.ENOSPC:
                    raise
                temporary.unlink(missing_ok=True)
                continue
            os.replace(temporary, target)
            return kind
    finally:
        temporary.unlink(missing_ok=True)
    raise AssertionError("copying either works or raises")


_WAYS: Mapping[str, Callable[[Path, Path], object]] = {
    "hard": os.link,
    "symbolic": os.symlink,
    "copied": shutil.copyfile,
}


def _others(folder: Path, studies: set[str]) -> list[str]:
    """Studies in a data set that do not belong to it."""
    return sorted(path.name for path in folder.glob("labelsTr/*") if path.name[0] != "." and stem(path) not in studies)


def _ending(path: str) -> str:
    return next(suffix for suffix in SUFFIXES if path.lower().endswith(suffix))


def _dump(content: object) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
