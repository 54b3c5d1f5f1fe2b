"""Four images as they were acquired, each on its own grid: what preparation starts from."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platformdirs import user_data_path

from napari_uncseg.arrays import Array, Floats32, Floats64
from napari_uncseg.dicom.files import InputKind, kind_of
from napari_uncseg.dicom.roles import COVERED_MM, choose_series
from napari_uncseg.dicom.series import read_examination
from napari_uncseg.dicom.voxels import read_voxels
from napari_uncseg.errors import CutHead, SaveError, StudyError, reason_of
from napari_uncseg.inference.progress import Progress, silent
from napari_uncseg.io.discovery import StudyFiles, only_study
from napari_uncseg.io.geometry import OnGrid, three
from napari_uncseg.io.nifti import finite, read_volume
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES


@dataclass(frozen=True, eq=False)
class Scan(OnGrid):
    """An image as it was acquired.

    Parameters
    ----------
    values : ndarray of float32, shape (x, y, z)
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    sha256 : str
        Hash of the file, or of the series' voxels and where they lie.
    series : int, optional
        Number of the series in DICOM.
    """

    values: Floats32
    affine: Floats64
    sha256: str
    series: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        return three(self.values.shape)


@dataclass(frozen=True, eq=False)
class RawStudy:
    """Four scans of one head.

    Parameters
    ----------
    id : str
        Name of the study, which names no patient.
    scans : mapping of str to Scan
        One per modality.
    """

    id: str
    scans: Mapping[str, Scan]


def read_dicom(
    path: Path,
    asked: Mapping[str, str] | None = None,
    study_id: str | None = None,
    *,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> RawStudy:
    """Read the four series of an examination.

    Parameters
    ----------
    path : Path
        Folder, DICOMDIR or zip.
    asked : mapping of str to str, optional
        Modality -> series, as a user chose them.
    study_id : str, optional
        By default a keyed hash of StudyInstanceUID, or of T1c's voxels where that was taken out.
    progress, cancelled : callable

    Raises
    ------
    StudyError
        When it is no examination of a head with four modalities (see :mod:`napari_uncseg.errors`).
    """
    progress(0, 0, "Reading headers")
    examination = read_examination(path)
    chosen = choose_series(examination, asked).complete()
    scans = {}
    for place, role in enumerate(MODALITIES):
        series = chosen[role]
        progress(place, len(MODALITIES), f"Reading {MODALITY_TITLES[role]}")
        if min(series.extent) < COVERED_MM:
            what = f"{MODALITY_TITLES[role]} of {path} (series {series.label}) covers only {min(series.extent):.0f} mm"
            raise CutHead(f"{what} of the head along one side; give a series of the whole head.")
        values, sha256 = read_voxels(series, cancelled)
        what = f"{MODALITY_TITLES[role]} of {path} (series {series.label})"
        scans[role] = Scan(_checked(values, what, "series"), series.affine, sha256, series.number)
    return RawStudy(study_id or hashed_id(examination.uid or scans["t1c"].sha256), scans)


def read_raw(
    path: Path,
    asked: Mapping[str, str] | None = None,
    study_id: str | None = None,
    *,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> RawStudy:
    """Read a raw study: four NIfTI files where they are found, or else an examination in DICOM.

    Parameters as for :func:`read_dicom`.

    Raises
    ------
    StudyError
        When the path holds neither, or series are asked for where there are none.
    """
    if kind_of(path) is InputKind.DICOM:
        return read_dicom(path, asked, study_id, progress=progress, cancelled=cancelled)
    files = only_study(path)
    if asked:
        raise StudyError(f"{path} holds NIfTI files, no series; leave out --{next(iter(asked))}, or name the files so.")
    progress(0, 0, "Reading the images")
    return read_nifti(files, study_id)


def read_nifti(files: StudyFiles, study_id: str | None = None) -> RawStudy:
    """Read the four files of a study, whatever their grids.

    Raises
    ------
    StudyError
        When a file is missing, damaged or no volume.
    """
    if files.problem is not None:
        raise StudyError(files.problem)
    scans = {}
    for role in MODALITIES:
        volume = read_volume(files.paths[role])
        entry = files.modalities[role]
        values = volume.values(entry[1] if isinstance(entry, tuple) else 0)
        scans[role] = Scan(_checked(values, str(volume.path), "file"), volume.affine, volume.sha256)
    return RawStudy(study_id or hashed_id(scans["t1c"].sha256), scans)


def _checked(values: Array, what: str, kind: str) -> Floats32:
    """Values of an image without those that are not finite, of which there are at least two."""
    values = np.asarray(finite(values), dtype=np.float32)
    if values.min() == values.max():
        raise StudyError(f"{what} holds but one finite value; give another {kind}.")
    return values


def hashed_id(uid: str) -> str:
    """Name of a study that tells nobody else whose it is: a hash of its UID with a key of this user's own.

    Raises
    ------
    SaveError
        When the key cannot be kept.
    """
    path = user_data_path("napari-uncseg") / "study-id.key"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        key = path.read_bytes()
    except OSError as error:
        what = f"The key for names of studies cannot be kept in {path} ({reason_of(error)})"
        raise SaveError(f"{what}; name the study with --id.") from error
    return f"study-{hmac.new(key, uid.encode(), hashlib.sha256).hexdigest()[:12]}"
