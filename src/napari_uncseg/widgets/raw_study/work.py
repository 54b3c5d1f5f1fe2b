"""What *Open DICOM or raw study* does in a thread: read what lies in a folder, and prepare it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import Mask
from napari_uncseg.dicom.files import InputKind, kind_of
from napari_uncseg.dicom.roles import Verdict, choose_series
from napari_uncseg.dicom.series import Examination, Series, read_examination
from napari_uncseg.dicom.voxels import middle_slice
from napari_uncseg.errors import Cancelled, DicomError
from napari_uncseg.io.discovery import only_study
from napari_uncseg.io.nifti import read_volume, write_volume
from napari_uncseg.preparation.prepare import Options, Prepared, Registered, prepare_study
from napari_uncseg.preparation.scans import RawStudy, hashed_id, read_raw
from napari_uncseg.widgets.job import STOPPED, Report

THUMBNAIL = 64
"""Longer side of the picture of a series, in pixels at the least."""


@dataclass(frozen=True, eq=False)
class Found:
    """What lies at a path.

    Parameters
    ----------
    path : Path
    study_id : str, optional
        What the study is called unless the user says otherwise; None where it depends on the voxels.
    examination : Examination, optional
        None of four NIfTI files.
    verdicts : tuple of Verdict
        What each series is, and why.
    pictures : mapping of str to ndarray of uint8, shape (rows, columns)
        The slice in the middle of each series, by its label.
    """

    path: Path
    study_id: str | None = None
    examination: Examination | None = None
    verdicts: tuple[Verdict, ...] = ()
    pictures: Mapping[str, npt.NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Request:
    """What to prepare, and where to.

    Parameters
    ----------
    path : Path
    roles : mapping of str to str
        Modality -> label of a series; empty of four NIfTI files.
    study_id : str, optional
    out : Path
        Takes a folder of the study's name.
    options : Options
    """

    path: Path
    roles: Mapping[str, str]
    study_id: str | None
    out: Path
    options: Options


@dataclass(frozen=True, eq=False)
class Checked:
    """A prepared study with all that it can be checked by.

    Parameters
    ----------
    request : Request
    raw : RawStudy
    prepared : Prepared
    registered : Registered
    brain : ndarray of bool, shape (x, y, z)
    """

    request: Request
    raw: RawStudy
    prepared: Prepared
    registered: Registered
    brain: Mask


def look(path: Path, report: Report) -> Found:
    """See what lies at a path.

    Raises
    ------
    StudyError
        When it is neither an examination in DICOM nor four NIfTI files.
    """
    report.tell(0, 0, "Reading headers")
    if kind_of(path) is not InputKind.DICOM:
        only_study(path)
        return Found(path)
    examination = read_examination(path)
    chosen = choose_series(examination)
    pictures = {}
    for place, series in enumerate(examination.series):
        report.tell(place, len(examination.series), "Reading a slice of each series")
        if report.cancelled():
            raise Cancelled(STOPPED)
        if (picture := _picture(series)) is not None:
            pictures[series.label] = picture
    study_id = hashed_id(examination.uid) if examination.uid else None
    return Found(path, study_id, examination, chosen.verdicts, pictures)


def prepare(request: Request, report: Report) -> Checked:
    """Read a raw study and prepare it, or find it prepared.

    Raises
    ------
    StudyError, SaveError
        As :func:`napari_uncseg.preparation.prepare.prepare_study`.
    Cancelled
    """
    raw = read_raw(request.path, request.roles, request.study_id, progress=report.tell, cancelled=report.cancelled)
    return _prepared(request, raw, None, report)


def prepare_with_mask(checked: Checked, mask: Mask, report: Report) -> Checked:
    """Prepare a study again with a mask that the user painted, which is saved beside it.

    Raises
    ------
    StudyError, SaveError
        As :func:`prepare`.
    """
    raw, request = checked.raw, checked.request
    path = request.out / raw.id / f"{raw.id}_brain_painted.nii.gz"
    write_volume(path, mask.astype(np.uint8), raw.scans["t1c"].affine)
    options = Options(path, request.options.brain, overwrite=True)
    return _prepared(replace(request, study_id=raw.id, options=options), raw, checked.registered, report)


def _prepared(request: Request, raw: RawStudy, registered: Registered | None, report: Report) -> Checked:
    folder = request.out / raw.id
    done = prepare_study(
        *(raw, folder, request.options), registered=registered, progress=report.tell, cancelled=report.cancelled
    )
    for reason in done.record.get("needs_review", ()):
        report.notify(str(reason["text"]))
    report.tell(0, 0, "Getting ready to be checked")
    registered = done.registered or registered or Registered.again(raw, done.record)
    return Checked(request, raw, done, registered, read_volume(done.brain).values() > 0)


def _picture(series: Series) -> npt.NDArray[np.uint8] | None:
    """The slice in the middle from black to white, small; None where it cannot be read."""
    try:
        values = middle_slice(series)
    except DicomError:
        return None
    step = max(1, max(values.shape) // (2 * THUMBNAIL))
    values = values[::step, ::step]
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-6), 0, 1) * 255, dtype=np.uint8)
