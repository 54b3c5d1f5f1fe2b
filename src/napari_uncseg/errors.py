"""The errors a user may see: each message is one sentence that names what is wrong and what to do.

Each class has a ``code`` that stays the same whatever the sentence says: what programs and tests look at.
"""

from __future__ import annotations

import errno
from typing import ClassVar


def reason_of(error: BaseException) -> str:
    """Why a file could not be read or written, to stand in a sentence: words without the system's numbers and paths."""
    if isinstance(error, UnicodeError):
        return "it is no text"
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the computer or of a device was too small."""
    if isinstance(error, RuntimeError):  # torch's, known by their names so that torch need not be loaded
        return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


class UncsegError(Exception):
    """Base of every error that is the user's to mend; the message alone is shown, never a traceback."""

    code: ClassVar[str] = "error"


class UnknownMap(UncsegError):
    """A map that is asked for and that nobody can compute."""

    code = "map.unknown"


class StudyError(UncsegError):
    """An input file or folder that cannot be read as a study."""

    code = "study"


class ModelError(UncsegError):
    """A model folder that is corrupted, foreign or does not fit the study."""

    code = "model"


class SaveError(UncsegError):
    """A result that could not be written; whatever stood there before is still there."""

    code = "save"


class AnotherResult(SaveError):
    """Another result stands where this one would be saved, and nobody chose to overwrite it."""

    code = "save.another-result"


class ForeignFile(SaveError):
    """A file that belongs to no result stands where one would be written; it is never replaced."""

    code = "save.foreign-file"


class NameTaken(SaveError):
    """A file that was to be new is there already, for another run wrote it in the same moment."""

    code = "save.name-taken"


class EvaluationError(UncsegError):
    """Arrays, files or settings that cannot be compared with a reference, or results that do not belong together."""

    code = "evaluation"


class ClusterError(EvaluationError):
    """A scheduler of dask.distributed that does not answer, or is not installed."""

    code = "cluster"


class CalibrationError(UncsegError):
    """A calibration that is damaged or foreign, or was fitted for another model or other members."""

    code = "calibration"


class DeviceError(UncsegError):
    """A device that was asked for and cannot be used."""

    code = "device"


class Cancelled(UncsegError):
    """The user stopped a run; nothing was written."""

    code = "cancelled"


class DicomError(StudyError):
    """DICOM files that cannot be read as an examination of the brain."""

    code = "dicom"


class NoDicom(DicomError):
    """A path that holds no DICOM at all."""

    code = "dicom.none"


class DamagedDicom(DicomError):
    """A DICOM file or an archive that is cut off, encrypted or damaged."""

    code = "dicom.damaged"


class UnknownSyntax(DicomError):
    """Voxels in a transfer syntax that nothing here decodes."""

    code = "dicom.transfer-syntax"


class SeveralVisits(DicomError):
    """One folder with several patients, or several visits of one."""

    code = "dicom.several-visits"


class NotMri(DicomError):
    """Images of another kind than grey MRI: CT, colour, screenshots."""

    code = "dicom.not-mri"


class BrokenSeries(DicomError):
    """A series that is no volume: slices missing, unevenly spaced, in several orientations, or only one."""

    code = "dicom.broken-series"


class MissingSeries(DicomError):
    """An examination without one of the four modalities, or without the series that was named."""

    code = "dicom.missing-series"


class CutHead(StudyError):
    """An image that covers only part of the head."""

    code = "preparation.cut-head"


class NoBrainMask(StudyError):
    """Images with a skull and no way to remove it, or a mask that is none of this brain."""

    code = "preparation.no-brain-mask"
