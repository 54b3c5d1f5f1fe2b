"""Examinations in DICOM as scanners write them, of phantoms: classic and enhanced, on grids of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from napari_uncseg.dicom.headers import CLASSIC, ENHANCED

STUDY, FRAME_OF_REFERENCE = generate_uid(), generate_uid()

PATIENT = {
    "PatientName": "Plantedname^Anna",
    "PatientID": "PLANTEDNUMBER77",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "StudyDate": "20190817",
    "StudyTime": "101500",
    "AccessionNumber": "PLANTEDACC5",
    "ReferringPhysicianName": "Planteddoctor^Karl",
    "StudyID": "PLANTEDSTUDY",
    "InstitutionName": "Plantedclinic",
}

SEQUENCES: dict[str, dict[str, Any]] = {
    "t1n": {"SeriesDescription": "t1_mprage_sag", "RepetitionTime": 1900, "EchoTime": 2.9, "InversionTime": 900},
    "t1c": {"SeriesDescription": "t1_mprage_sag_KM", "RepetitionTime": 1900, "EchoTime": 2.9, "InversionTime": 900},
    "t2f": {"SeriesDescription": "t2_tirm_dark-fluid", "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500},
    "t2w": {"SeriesDescription": "t2_tse_tra", "RepetitionTime": 5000, "EchoTime": 95},
}  # fmt: skip


def affine_of(
    spacing: tuple[float, float, float], shape: tuple[int, ...], plane: str = "axial", tilt: float = 0.0
) -> np.ndarray:
    """RAS affine of a grid in a plane whose middle lies at the origin, turned by degrees about the x axis."""
    directions = {
        "axial": np.diag([-1.0, -1.0, 1.0]),
        "sagittal": np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]]),
        "coronal": np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    }
    angle = np.radians(tilt)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ directions[plane] * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def write_series(
    folder: Path,
    values: np.ndarray,
    affine: np.ndarray,
    role: str = "t1c",
    *,
    number: int = 1,
    enhanced: bool = False,
    skip: tuple[int, ...] = (),
    change: Callable[[Dataset, int], object] | None = None,
    syntax: UID | None = None,
    **tags: Any,
) -> list[Path]:
    """Write a volume (x, y, z) as one file per slice, or as one enhanced file.

    Parameters
    ----------
    skip : tuple of int
        Slices that are left out.
    change : callable
        Changes a data set before it is written; told the slice.
    syntax : UID
        To compress with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = {"SeriesInstanceUID": generate_uid(), "SeriesNumber": number, "AcquisitionTime": f"10{number % 60:02}00"}
    tags = {**SEQUENCES[role], **series, **tags}
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    stored = np.clip(np.rint(values), 0, 4095).astype(np.uint16)
    slices = [index for index in range(values.shape[2]) if index not in skip]
    positions = [(lps @ [0, 0, index, 1])[:3].round(5).tolist() for index in slices]
    orientation = [*direction[:, 0].round(7).tolist(), *direction[:, 1].round(7).tolist()]
    plane = {"PixelSpacing": [round(float(spacing[1]), 5), round(float(spacing[0]), 5)], "SliceThickness": spacing[2]}
    if enhanced:
        image = _base(ENHANCED[0], tags)
        image.NumberOfFrames = len(slices)
        image.SharedFunctionalGroupsSequence = [_enhanced_shared(tags, plane, orientation)]
        groups = []
        for order, position in enumerate(positions):
            group, place, content = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = position
            content.StackID, content.InStackPositionNumber, content.TemporalPositionIndex = "1", order + 1, 1
            content.DimensionIndexValues = [1, order + 1]
            group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
            groups.append(group)
        image.PerFrameFunctionalGroupsSequence = groups
        return [_write(folder / f"im{number:02}", image, stored[:, :, slices].transpose(2, 1, 0), change, 0, syntax)]
    paths = []
    for order, (index, position) in enumerate(zip(slices, positions, strict=True)):
        image = _base(CLASSIC, tags)
        image.ImagePositionPatient, image.ImageOrientationPatient = position, orientation
        image.InstanceNumber = order + 1
        for keyword, value in plane.items():
            setattr(image, keyword, value)
        path = folder / f"im{number:02}-{(order * 7919) % 1009:04}"  # file names say nothing of the order
        paths.append(_write(path, image, stored[:, :, index].T[None], change, index, syntax))
    return paths


def _base(kind: str, tags: Mapping[str, Any]) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = UID(kind), generate_uid()
    image.StudyInstanceUID, image.FrameOfReferenceUID = STUDY, FRAME_OF_REFERENCE
    image.Modality, image.Manufacturer, image.MagneticFieldStrength = "MR", "Phantom", 3.0
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "SE", "SK", "PFP"
    image.MRAcquisitionType, image.PositionReferenceIndicator, image.Laterality = "2D", "", ""
    image.EchoTrainLength, image.PatientPosition, image.PatientWeight = 1, "HFS", 70
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in {**PATIENT, **tags}.items():
        setattr(image, keyword, value)
    return image


def _enhanced_shared(tags: Mapping[str, Any], plane: Mapping[str, Any], orientation: list[float]) -> Dataset:
    shared, direction, measures = Dataset(), Dataset(), Dataset()
    direction.ImageOrientationPatient = orientation
    measures.PixelSpacing, measures.SliceThickness = plane["PixelSpacing"], plane["SliceThickness"]
    timing, echo, modifier, kind = Dataset(), Dataset(), Dataset(), Dataset()
    timing.RepetitionTime, echo.EffectiveEchoTime = float(tags["RepetitionTime"]), float(tags["EchoTime"])
    kind.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [direction], [measures]
    shared.MRTimingAndRelatedParametersSequence, shared.MREchoSequence = [timing], [echo]
    shared.MRImageFrameTypeSequence = [kind]
    if "InversionTime" in tags:
        modifier.InversionTimes = [float(tags["InversionTime"])]
        shared.MRModifierSequence = [modifier]
    return shared


def _write(path: Path, image: Dataset, pixels: np.ndarray, change: Any, index: int, syntax: UID | None) -> Path:
    image.Rows, image.Columns = pixels.shape[1:]
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    image["PixelData"].VR = "OW"
    if change is not None:
        change(image, index)
    if syntax is not None:
        image.compress(syntax, generate_instance_uid=False)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(path, enforce_file_format=True)
    return path


def compress(folder: Path, compressor: str) -> None:
    """Compress the files of a folder by SimpleITK, which knows what pydicom does not."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(folder.parent / "one.dcm"))
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        writer.Execute(sitk.GetImageFromArray(image.pixel_array))
        one = pydicom.dcmread(folder.parent / "one.dcm")
        image.PixelData = encapsulate(list(generate_frames(one.PixelData, number_of_frames=1)))
        image.file_meta.TransferSyntaxUID = one.file_meta.TransferSyntaxUID
        image.save_as(path)


def head(role: str, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A head on a grid, as a scanner sees it in a modality: scalp, bone, CSF, a folded brain, a tumour."""
    x, y, z = (affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]).reshape(3, *shape)
    bright = {"t1c": (500, 90, 700), "t1n": (500, 90, 350), "t2f": (450, 60, 800), "t2w": (400, 900, 750)}[role]
    radius = np.sqrt((x / 60) ** 2 + (y / 80) ** 2 + (z / 68) ** 2)
    values = np.zeros(shape)
    values[radius < 1.2] = 300  # scalp
    values[radius < 1.12] = 10  # bone
    values[radius < 1.0] = bright[1]
    folds = 0.93 + 0.03 * np.sin(x / 4) * np.cos(y / 5) * np.sin(z / 4.5)
    values[radius < folds] = bright[0] + 60 * np.sin(x / 9 + 0.4)[radius < folds] * np.cos(y / 11)[radius < folds]
    values[((x - 8) / 6) ** 2 + ((y + 5) / 24) ** 2 + ((z - 4) / 10) ** 2 < 1] = bright[1]  # ventricles, askew
    values[(x + 12) ** 2 + ((y - 25) / 1.4) ** 2 + (z + 8) ** 2 < 64] = bright[1]
    places = np.random.default_rng(5)
    for number in range(30):  # sulci and nuclei, so that no turn looks like another
        centre = places.normal(0, 1, 3)
        centre *= np.array([60, 80, 68]) * places.uniform(0.4, 0.95) / np.linalg.norm(centre)
        near = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < places.uniform(5, 11) ** 2
        values[near & (radius < 1)] = bright[1] if number % 2 else 0.7 * bright[0]
    values[(x - 25) ** 2 + (y - 20) ** 2 + (z - 18) ** 2 < 256] = bright[2]
    noise = np.random.default_rng(shape[0] + shape[2]).normal(0, 6, shape)
    return np.abs(values + noise)


GRIDS: dict[str, tuple[tuple[float, float, float], tuple[int, int, int], str, float]] = {
    "t1c": ((2.0, 2.0, 2.2), (104, 100, 84), "sagittal", 0.0),
    "t1n": ((2.0, 2.0, 2.2), (104, 100, 84), "sagittal", 0.0),
    "t2f": ((1.8, 1.8, 5.0), (96, 112, 34), "axial", 12.0),
    "t2w": ((1.6, 1.6, 4.0), (104, 128, 42), "axial", 5.0),
}
"""Spacing, size, plane and tilt of each modality: four grids, two of them oblique in thick slices."""


def grid(role: str) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Affine and shape of a modality."""
    spacing, shape, plane, tilt = GRIDS[role]
    return affine_of(spacing, shape, plane, tilt), shape


def plant(image: Dataset, index: int) -> None:
    """Put a name into every element of text that an image can have, in sequences and private ones too."""
    if index > 1:  # of a whole series it would take minutes
        return
    held = Dataset()
    kept = {*SEQUENCES["t1n"], *PATIENT, "SpecificCharacterSet", "PulseSequenceName", "ContrastBolusAgent"}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in ("LO", "SH", "PN", "LT", "ST", "UC", "UT") and keyword not in kept and Tag(tag).group >= 0x0008:
            setattr(held, keyword, "Plantedname")
    image.update(held)
    image.SeriesDescription = f"{image.get('SeriesDescription', '')} Plantedname"
    image.RequestAttributesSequence, image.ReferencedPatientSequence = [held], [held]
    block = image.private_block(0x0029, "Plantedname", create=True)
    block.add_new(0x10, "LO", "Plantedname")
    block.add_new(0x11, "SQ", [held])


def write_examination(folder: Path, **options: Any) -> Path:
    """Four modalities of one head, in one folder of files whose names say nothing."""
    for number, role in enumerate(("t1n", "t2w", "t2f", "t1c"), start=2):
        affine, shape = grid(role)
        write_series(folder, head(role, affine, shape), affine, role, number=number, **options)
    return folder
