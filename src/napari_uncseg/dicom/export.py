"""A result as DICOM objects that an archive takes: a segmentation, parametric maps, and the report as a PDF.

They carry the patient and the study of the source, as DICOM must, and UIDs of their own, new at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

from napari_uncseg import __version__
from napari_uncseg.arrays import Array
from napari_uncseg.dicom.series import Series, read_examination
from napari_uncseg.dicom.voxels import read_voxels
from napari_uncseg.errors import DicomError, MissingSeries
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY
from napari_uncseg.labels import LABEL_COLOURS, LABEL_TITLES, Label
from napari_uncseg.maps import MapName

MAPS = ("error_risk", "unc_output", "entropy")
"""Maps that go out, where the result has them."""

MAKER, PRODUCT, SERIAL = "napari-uncseg developers", "napari-uncseg", "none"

_SERIES_NUMBER = 9000

_TYPES = {
    Label.NCR: CodedConcept("6574001", "SCT", "Necrosis"),
    Label.ED: CodedConcept("79654002", "SCT", "Edema"),
    Label.ET: CodedConcept("86049000", "SCT", "Neoplasm, Primary"),
}
"""What each segment is, by codes of SNOMED CT."""

_KNOWN_BY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""What those who take names out often take out whole."""

_BRAIN = CodedConcept("12738006", "SCT", "Brain")


def export_dicom(prediction: Prediction, t1c: Series, report: bytes | None = None) -> dict[str, Dataset]:
    """Make the DICOM objects of a result.

    Parameters
    ----------
    prediction : Prediction
        On the grid of T1c.
    t1c : Series
        The series of T1c that it was made from.
    report : bytes, optional
        The report of the study, PDF.

    Returns
    -------
    dict of str to Dataset
        File name -> object.

    Raises
    ------
    DicomError
        When the result does not lie on the grid of the series, or the series has lost what an archive knows it by.
    """
    if not same_grid(prediction.shape, prediction.affine, t1c.shape, t1c.affine):
        raise DicomError(
            f"The result of {prediction.study_id} does not lie on the grid of series {t1c.label}; name the source that "
            "it was prepared from."
        )
    source = _source(t1c)
    objects: dict[str, Dataset] = {}
    if prediction.segmentation.any():
        objects["segmentation.dcm"] = _segmentation(prediction, source, t1c)
    for number, name in enumerate((name for name in MAPS if name in prediction.maps), start=1):
        objects[f"{name}.dcm"] = _map(prediction, name, source, t1c, _SERIES_NUMBER + number)
    if report is not None:
        objects["report.dcm"] = _report(prediction, report, source[0])
    return objects


def _source(t1c: Series) -> list[Dataset]:
    """The images that the objects refer to: names in Unicode, and all that DICOM asks of a patient, if empty."""
    images: list[Dataset] = []
    for path in dict.fromkeys(frame.path for frame in t1c.frames):
        image = pydicom.dcmread(path, force=True)
        image.decode()
        image.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _MAY_BE_EMPTY:
            if keyword not in image:
                setattr(image, keyword, "")
        images.append(image)
    for keyword in _KNOWN_BY:
        if not all(image.get(keyword) for image in images):
            what = f"Series {t1c.label} has no {keyword}, without which nothing can refer to it"
            raise DicomError(f"{what}; name the images as the archive holds them.")
    if len({image.SOPInstanceUID for image in images}) < len(images):
        what = f"Several images of series {t1c.label} have the same SOPInstanceUID"
        raise DicomError(f"{what}; name the images as the archive holds them.")
    return images


def find_source(prediction: Prediction, path: Path) -> Series:
    """The series of T1c that a result was made from, by the hash of its voxels; by its grid for other results.

    Raises
    ------
    DicomError
        When it is not there.
    """
    told = ((prediction.provenance.get("preparation") or {}).get("inputs") or {}).get("t1c") or {}
    alike = [
        series
        for series in read_examination(path).series
        if series.problem is None and same_grid(prediction.shape, prediction.affine, series.shape, series.affine)
    ]
    for series in sorted(alike, key=lambda each: each.number != told.get("series")):
        if not told.get("sha256") or read_voxels(series)[1] == told["sha256"]:
            return series
    raise MissingSeries(
        f"{path} holds no series that the result of {prediction.study_id} was made from; name the examination that was "
        "prepared."
    )


def _planes(values: Array, t1c: Series) -> tuple[Array, dict[str, Any]]:
    """Slices (n, rows, columns) of a volume in the order of the series, and where each lies."""
    slices = np.ascontiguousarray(values.transpose(2, 1, 0))
    rows, columns = t1c.frames[0].pixel_spacing or (1.0, 1.0)
    thickness = round(t1c.spacing[2], 6)  # a decimal string has at most 16 letters
    measures = hd.PixelMeasuresSequence((rows, columns), thickness, thickness)
    orientation = hd.PlaneOrientationSequence("PATIENT", list(t1c.frames[0].orientation or ()))
    positions = [hd.PlanePositionSequence("PATIENT", list(frame.position or ())) for frame in t1c.frames]
    return slices, {"pixel_measures": measures, "plane_orientation": orientation, "plane_positions": positions}


def _segmentation(prediction: Prediction, source: Sequence[Dataset], t1c: Series) -> Dataset:
    present = [label for label in Label if (prediction.segmentation == label).any()]
    made_by = hd.AlgorithmIdentificationSequence(PRODUCT, codes.cid7162.ArtificialIntelligence, __version__)
    descriptions = [
        hd.seg.SegmentDescription(
            number,
            LABEL_TITLES[label],
            CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
            _TYPES[label],
            hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            made_by,
            tracking_uid=generate_uid(),
            tracking_id=LABEL_TITLES[label],
            display_color=hd.color.CIELabColor.from_rgb(*(round(255 * part) for part in LABEL_COLOURS[label][:3])),
        )
        for number, label in enumerate(present, start=1)
    ]
    numbered = np.zeros_like(prediction.segmentation)
    for number, label in enumerate(present, start=1):
        numbered[prediction.segmentation == label] = number
    slices, where = _planes(numbered, t1c)
    made: Dataset = hd.seg.Segmentation(
        source_images=source,
        pixel_array=slices,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_description="uncseg segmentation - research use only",
        **_maker(_SERIES_NUMBER),
        **where,
    )
    return made


def _maker(number: int) -> dict[str, Any]:
    """What a segmentation and a map say alike: who made them, in a series of its own."""
    return {
        "series_instance_uid": generate_uid(),
        "series_number": number,
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": PRODUCT,
        "software_versions": __version__,
        "device_serial_number": SERIAL,
        "content_label": "UNCSEG",
        "content_description": RESEARCH_USE_ONLY[:64],
    }


def _map(prediction: Prediction, name: str, source: Sequence[Dataset], t1c: Series, number: int) -> Dataset:
    known = MapName.parse(name)
    slices, where = _planes(prediction.maps[name].astype(np.float32), t1c)
    upper = float(known.upper or 1.0)
    quantity = CodedConcept(name.upper()[:16], "99UNCSEG", known.title)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=name.upper()[:16],
        lut_explanation=known.title,
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, upper),
        slope=1,
        intercept=0,
        quantity_definition=quantity,
    )
    exact = hd.VOILUTFunctionValues.LINEAR_EXACT
    window = hd.VOILUTTransformation(window_center=upper / 2, window_width=upper, voi_lut_function=exact)
    made: Dataset = hd.pm.ParametricMap(
        source_images=source,
        pixel_array=slices,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        series_description=f"uncseg {known.title} - research use only",
        **_maker(number),
        **where,
    )
    # highdicom leaves out where a frame lies in the body, without which dcmqi (1.5.7) falls over.
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [_BRAIN], "U"
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    _frames_up(made)
    return made


def _frames_up(made: Dataset) -> None:
    """Put a map's frames in the order in which they lie along rows × columns; dcmqi, and so Slicer, counts on it."""
    frames = list(made.PerFrameFunctionalGroupsSequence)
    orientation = made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(orientation[:3], orientation[3:])
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    order = np.argsort(np.array(positions, dtype=float) @ normal, kind="stable")
    values = np.frombuffer(made.FloatPixelData, dtype="<f4").reshape(len(frames), -1)
    made.FloatPixelData = values[order].tobytes()
    made.PerFrameFunctionalGroupsSequence = [frames[each] for each in order]


def _report(prediction: Prediction, report: bytes, source: Dataset) -> Dataset:
    """The report as Encapsulated PDF; highdicom makes none, but what all objects have."""
    maker = {name: value for name, value in _maker(_SERIES_NUMBER + 90).items() if not name.startswith("content_")}
    made: Dataset = hd.SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="DOC",
        series_description="uncseg report - research use only",
        **maker,
    )
    made.copy_patient_and_study_information(source)
    if source.get("SpecificCharacterSet"):
        made.SpecificCharacterSet = source.SpecificCharacterSet
    made.ConversionType, made.BurnedInAnnotation, made.AcquisitionDateTime = "WSD", "NO", ""
    made.DocumentTitle, made.MIMETypeOfEncapsulatedDocument = f"Review of {prediction.study_id}", "application/pdf"
    made.ConceptNameCodeSequence = [CodedConcept("18748-4", "LN", "Diagnostic Imaging Report")]
    made.EncapsulatedDocument = report + b"\0" * (len(report) % 2)
    made.EncapsulatedDocumentLength = len(report)
    return made
