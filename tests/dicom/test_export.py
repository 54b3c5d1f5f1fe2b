"""Results as DICOM: the same voxels in the same place, the patient of the source, sound by the standard."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from tests.dicom_writer import PATIENT, STUDY, affine_of, head, write_series

from napari_uncseg.dicom.export import export_dicom, find_source
from napari_uncseg.dicom.series import Series, read_examination
from napari_uncseg.errors import DicomError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Label

SHAPE = (40, 44, 30)
AFFINE = affine_of((5.0, 4.0, 5.0), SHAPE, tilt=9.0)


@pytest.fixture(params=[False, True], ids=["classic", "enhanced"])
def t1c(request: pytest.FixtureRequest, tmp_path: Path) -> Series:
    write_series(tmp_path / "in", head("t1c", AFFINE, SHAPE), AFFINE, enhanced=request.param)
    return read_examination(tmp_path / "in").series[0]


@pytest.fixture
def prediction(t1c: Series) -> Prediction:
    labels = np.zeros(t1c.shape, dtype=np.uint8)
    labels[10:20, 12:25, 8:18] = Label.ED
    labels[12:16, 14:20, 10:14] = Label.ET
    labels[13:15, 15:17, 11:13] = Label.NCR
    entropy = np.random.default_rng(3).uniform(0, 0.69, t1c.shape).astype(np.float32)
    probabilities = np.zeros((3, *t1c.shape), dtype=np.float32)
    return Prediction("study-1", probabilities, labels, {"entropy": entropy, "unc_output": entropy}, t1c.affine)


def in_world(volume: hd.Volume) -> tuple[np.ndarray, np.ndarray]:
    places = volume.affine[:3, :3] @ np.indices(volume.array.shape).reshape(3, -1) + volume.affine[:3, 3:]
    return np.diag([-1, -1, 1]) @ places, volume.array.ravel()


def test_segmentation_and_maps_come_back_with_the_same_voxels(tmp_path, t1c, prediction):
    objects = export_dicom(prediction, t1c, b"%PDF-1.4 a report")
    assert set(objects) == {"segmentation.dcm", "unc_output.dcm", "entropy.dcm", "report.dcm"}
    for name, made in objects.items():
        made.save_as(tmp_path / name, enforce_file_format=True)
    segmentation = hd.seg.segread(tmp_path / "segmentation.dcm")
    places, values = in_world(segmentation.get_volume(combine_segments=True))
    voxels = np.rint(np.linalg.inv(t1c.affine) @ np.vstack([places, np.ones(places.shape[1])]))[:3].astype(int)
    np.testing.assert_array_equal(values, prediction.segmentation[tuple(voxels)])
    assert np.count_nonzero(values) == np.count_nonzero(prediction.segmentation)
    assert segmentation.FrameOfReferenceUID == t1c.header.FrameOfReferenceUID
    assert "research use only" in segmentation.SeriesDescription
    assert all("SegmentationAlgorithmIdentificationSequence" in each for each in segmentation.SegmentSequence)
    places, values = in_world(hd.Image.from_dataset(pydicom.dcmread(tmp_path / "entropy.dcm")).get_volume())
    voxels = np.rint(np.linalg.inv(t1c.affine) @ np.vstack([places, np.ones(places.shape[1])]))[:3].astype(int)
    np.testing.assert_allclose(values, prediction.maps["entropy"][tuple(voxels)], atol=1e-6)


def test_objects_are_of_the_same_study_with_uids_of_their_own(t1c, prediction):
    first, second = (export_dicom(prediction, t1c, b"%PDF-1.4") for _ in range(2))
    for made in first.values():
        assert made.StudyInstanceUID == STUDY
        assert (made.PatientName, made.PatientID) == (PATIENT["PatientName"], PATIENT["PatientID"])
    uids = [(made.SOPInstanceUID, made.SeriesInstanceUID) for made in (*first.values(), *second.values())]
    assert len({uid for pair in uids for uid in pair}) == 2 * len(uids)


@pytest.mark.parametrize("t1c", [False], indirect=True, ids=["classic"])
def test_names_of_every_alphabet_and_of_nobody_go_out(tmp_path, t1c, prediction):
    def written(**tags):
        for frame in t1c.frames:
            image = pydicom.dcmread(frame.path)
            for keyword, value in tags.items():
                setattr(image, keyword, value)
                if value is None:
                    delattr(image, keyword)
            image.save_as(frame.path)
        made = export_dicom(prediction, t1c, b"%PDF-1.4")
        for name, each in made.items():
            each.save_as(tmp_path / name, enforce_file_format=True)
        return {str(pydicom.dcmread(tmp_path / name).PatientName) for name in made}

    japanese = "Yamada^Tarou=山田^太郎"
    assert written(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=japanese) == {japanese}
    gone = dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyID", "AccessionNumber"))
    assert written(**gone) == {""}
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID"):
        with pytest.raises(DicomError, match=keyword):
            written(**{keyword: ""})


def test_source_is_the_one_the_result_was_made_from(tmp_path, t1c, prediction):
    assert find_source(prediction, tmp_path / "in").label == t1c.label
    told = {"preparation": {"inputs": {"t1c": {"series": 1, "sha256": "0" * 64}}}}
    with pytest.raises(DicomError) as missing:
        find_source(replace(prediction, provenance=told), tmp_path / "in")
    assert missing.value.code == "dicom.missing-series"
    elsewhere = prediction.affine.copy()
    elsewhere[0, 3] += 40
    with pytest.raises(DicomError):
        export_dicom(replace(prediction, affine=elsewhere), t1c)


@pytest.mark.parametrize("t1c", [False], indirect=True, ids=["classic"])
def test_objects_are_sound_by_the_standard(tmp_path, t1c, prediction):
    assert shutil.which("dciodvfy"), "dicom3tools is missing: run scripts/system-libraries --xvfb --dicom"
    for name, made in export_dicom(prediction, t1c, b"%PDF-1.4 a report").items():
        made.save_as(tmp_path / name, enforce_file_format=True)
        done = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True, check=False)
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert not errors, (name, errors)


def by_dcmqi(tool: str, made: Path, out: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """What dcmqi writes of an object: voxels and affine of each file."""
    out.mkdir()
    program = [Path(sysconfig.get_path("scripts"), tool), "--inputDICOM", made, "--outputDirectory", out]
    subprocess.run([*program, "--outputType", "nii"], capture_output=True, check=True)
    images = [nib.load(path) for path in sorted(out.glob("*.nii.gz"))]
    return [(np.asarray(image.dataobj), image.affine) for image in images]


def test_dcmqi_reads_the_same_voxels_in_the_same_place(tmp_path, t1c, prediction):
    for name, made in export_dicom(prediction, t1c).items():
        made.save_as(tmp_path / name, enforce_file_format=True)
    segments = by_dcmqi("segimage2itkimage", tmp_path / "segmentation.dcm", tmp_path / "segments")
    assert [np.unique(values[values > 0]).tolist() for values, _ in segments] == [[1], [2], [3]]
    read = np.zeros_like(prediction.segmentation)
    for values, affine in segments:  # only the slices that hold something
        places = np.linalg.inv(t1c.affine) @ affine @ np.vstack([np.argwhere(values).T, np.ones(np.sum(values > 0))])
        voxels = np.rint(places)[:3].astype(int)
        np.testing.assert_allclose(places[:3], voxels, atol=1e-4)
        read[tuple(voxels)] = values[values > 0]
    np.testing.assert_array_equal(read, prediction.segmentation)
    ((values, affine),) = by_dcmqi("paramap2itkimage", tmp_path / "entropy.dcm", tmp_path / "map")
    np.testing.assert_array_equal(values, prediction.maps["entropy"])
    np.testing.assert_allclose(affine, t1c.affine, atol=1e-4)
