"""What the headers of an examination say, frame by frame, of classic and of enhanced MR alike."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from napari_uncseg.io.geometry import three

CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
"""Enhanced MR, and legacy converted enhanced MR."""

TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("PatientID", "PatientName", "StudyDate", "Modality", "SeriesNumber", "SeriesDescription", "ProtocolName"),
    *("SequenceName", "PulseSequenceName", "ScanningSequence", "ImageType", "SeriesDate"),
    *("ContrastBolusAgent", "ContrastBolusAgentSequence", "RepetitionTime", "EchoTime", "InversionTime"),
    *("EchoPulseSequence", "EchoPlanarPulseSequence", "DiffusionBValue", "InstanceNumber", "AcquisitionDate"),
    *("AcquisitionTime", "AcquisitionDateTime", "SeriesTime", "ImagePositionPatient", "ImageOrientationPatient"),
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated"),
    *("RescaleSlope", "RescaleIntercept", "PixelRepresentation", "PixelSpacing", "PixelPaddingValue"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""All that is read of a header: of thousands of files in seconds."""

_FRAME_BYTES = 8
"""Bytes that the beginning of a compressed frame takes."""

_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


@dataclass(frozen=True)
class Frame:
    """One slice of a file.

    Parameters
    ----------
    path : Path
    index : int
        Number of the frame in the file, from 0.
    uid, instance : str, int
        SOPInstanceUID and InstanceNumber of the file.
    position, orientation : tuple of float or None
        ImagePositionPatient and ImageOrientationPatient.
    pixel_spacing : tuple of float or None
        Between rows, and between columns.
    size : tuple of int
        Rows and columns.
    echo, repetition, inversion : float or None
        TE, TR, TI in ms.
    b_value : float
        Of diffusion, 0 without.
    image_type : tuple of str
        In capitals.
    slope, intercept : float
        Stored value -> value.
    """

    path: Path
    index: int
    uid: str
    instance: int
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    size: tuple[int, int]
    echo: float | None
    repetition: float | None
    inversion: float | None
    b_value: float
    image_type: tuple[str, ...]
    slope: float
    intercept: float


def read_header(path: Path) -> tuple[Dataset, tuple[Frame, ...]] | None:
    """The header of a file without its voxels, and its slices: one of a classic image, many of an enhanced one.

    Returns
    -------
    tuple or None
        No slices of a file that is no image; None when the file cannot be read, or ends before its voxels do.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of values that do not matter here
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
            header.decode()
            if not header.get("SOPClassUID"):
                return None
            if path.stat().st_size < _least_size(header):
                return None
            return header, tuple(_frames_of(path, header)) if header.get("Rows") else ()
    except Exception:  # what foreign bytes make a reader say
        return None


def _least_size(header: Dataset) -> int:
    """Bytes that a file has at the least: its voxels, or the beginnings of so many frames where it is compressed."""
    frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)
    meta = getattr(header, "file_meta", None)
    if meta is None or str(meta.get("TransferSyntaxUID", "")) not in _UNCOMPRESSED or not header.get("Rows"):
        return _FRAME_BYTES * frames
    return int(header.Rows) * int(header.Columns) * frames * samples * int(header.get("BitsAllocated") or 16) // 8


def _frames_of(path: Path, header: Dataset) -> Iterator[Frame]:
    for index in range(int(header.get("NumberOfFrames") or 1)):
        value = _values_of(header, index)
        spacing = _numbers(value("PixelSpacing"), 2)
        position = _numbers(value("ImagePositionPatient"), 3)
        types = value("FrameType") or header.get("ImageType") or ()
        yield Frame(
            path=path,
            index=index,
            uid=str(header.get("SOPInstanceUID") or ""),
            instance=int(_number(header.get("InstanceNumber")) or 0),
            position=three(position) if position is not None else None,
            orientation=_numbers(value("ImageOrientationPatient"), 6),
            pixel_spacing=(spacing[0], spacing[1]) if spacing is not None and min(spacing) > 0 else None,
            size=(int(header.Rows), int(header.get("Columns") or 0)),
            echo=_number(value("EffectiveEchoTime", "EchoTime")),
            repetition=_number(value("RepetitionTime")),
            inversion=_number(value("InversionTimes", "InversionTime")),
            b_value=_number(value("DiffusionBValue")) or 0.0,
            image_type=tuple(str(word).upper() for word in types),
            slope=_number(value("RescaleSlope")) or 1.0,
            intercept=_number(value("RescaleIntercept")) or 0.0,
        )


def _values_of(header: Dataset, index: int) -> Callable[..., Any]:
    """What finds a value of a frame: in its own functional groups, the shared ones, or the header itself."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    parts = ([own[index]] if own and index < len(own) else []) + ([shared[0]] if shared else [])
    groups = [element.value[0] for part in parts for element in part if element.VR == "SQ" and element.value]

    def find(*keywords: str) -> Any:
        values = (place.get(keyword) for keyword in keywords for place in (*groups, header))
        return next((value for value in values if value is not None and value != ""), None)

    return find


def _number(value: Any) -> float | None:
    """A finite number of a header, or the first of several; None where there is none."""
    numbers = _numbers(value, None)
    return numbers[0] if numbers else None


def _numbers(value: Any, count: int | None) -> tuple[float, ...] | None:
    """So many finite numbers of a header; None where there are others, or more or fewer of them."""
    several = value is not None and not isinstance(value, (str, int, float)) and hasattr(value, "__len__")
    try:
        numbers = tuple(float(each) for each in (value if several else [value]))
    except (TypeError, ValueError):
        return None
    fits = count is None or len(numbers) == count
    return numbers if fits and all(map(math.isfinite, numbers)) else None
