"""Series of an examination: grids, order, what is wrong with them, and their voxels in every transfer syntax."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid
from tests.dicom_writer import affine_of, compress, head, write_series

from napari_uncseg.dicom.roles import choose_series
from napari_uncseg.dicom.series import Series, read_examination
from napari_uncseg.dicom.voxels import read_voxels
from napari_uncseg.errors import DicomError

SHAPE = (30, 34, 14)
AFFINE = affine_of((6.0, 5.0, 11.0), SHAPE)


@pytest.fixture
def values() -> np.ndarray:
    return np.rint(head("t1c", AFFINE, SHAPE))


def only(folder: Path) -> Series:
    (series,) = read_examination(folder).series
    return series


def world(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Values, and where their voxels lie, both in the order of the positions."""
    values, _ = read_voxels(series)
    places = series.affine[:3, :3] @ np.indices(series.shape).reshape(3, -1) + series.affine[:3, 3:]
    order = np.lexsort(places.round(2))
    return values.ravel()[order], places.T[order]


def check_same(series: Series, values: np.ndarray, affine: np.ndarray) -> None:
    places = affine[:3, :3] @ np.indices(values.shape).reshape(3, -1) + affine[:3, 3:]
    order = np.lexsort(places.round(2))
    found, where = world(series)
    np.testing.assert_allclose(where, places.T[order], atol=1e-3)
    np.testing.assert_array_equal(found, values.ravel()[order])


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(("plane", "tilt"), [("axial", 0), ("axial", 14), ("sagittal", 0), ("coronal", 7)])
def test_voxels_lie_where_they_were_acquired(tmp_path, values, plane, tilt, enhanced):
    affine = affine_of((6.0, 5.0, 11.0), SHAPE, plane, tilt)
    write_series(tmp_path, values, affine, enhanced=enhanced)
    check_same(only(tmp_path), values, affine)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
def test_compressed_series_are_read(tmp_path, values, syntax):
    write_series(tmp_path, values, AFFINE, syntax=syntax)
    check_same(only(tmp_path), values, AFFINE)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_jpeg_is_read_and_rescaled(tmp_path, values, compressor):
    write_series(tmp_path / "a", values, AFFINE, RescaleSlope="2", RescaleIntercept="-5")
    compress(tmp_path / "a", compressor)
    check_same(only(tmp_path / "a"), values * 2 - 5, AFFINE)


def test_files_twice_and_slices_twice_count_once(tmp_path, values):
    paths = write_series(tmp_path, values, AFFINE)
    shutil.copy(paths[3], tmp_path / "copy of a file")
    again = pydicom.dcmread(paths[5])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    again.InstanceNumber = 900
    again.save_as(tmp_path / "sent again")
    series = only(tmp_path)
    assert series.notes
    check_same(series, values, AFFINE)


def test_echoes_are_told_apart(tmp_path, values):
    uid = generate_uid()
    write_series(tmp_path / "a", values, AFFINE, "t2w", SeriesInstanceUID=uid, EchoTime=12, SeriesDescription="pd t2")
    write_series(
        tmp_path / "b", values + 9, AFFINE, "t2w", SeriesInstanceUID=uid, EchoTime=96, SeriesDescription="pd t2"
    )
    first, second = read_examination(tmp_path).series
    assert first.label != second.label
    chosen = choose_series(read_examination(tmp_path)).series["t2w"]
    assert chosen.label == second.label
    check_same(second, values + 9, AFFINE)


def test_archive_and_dicomdir_are_as_good_as_a_folder(tmp_path, values):
    paths = write_series(tmp_path / "PAT" / "IM", values, AFFINE)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        packed.writestr("../../readme.txt", "hello")
        for path in paths:
            packed.write(path, f"disc/{path.name}")
    check_same(only(tmp_path / "export.zip"), values, AFFINE)
    files = FileSet()
    for path in paths:
        files.add(path)
    files.write(tmp_path / "disc")
    check_same(only(tmp_path / "disc" / "DICOMDIR"), values, AFFINE)


def no_positions(image: pydicom.Dataset, _: int) -> None:
    del image.ImagePositionPatient


def shifted(image: pydicom.Dataset, index: int) -> None:
    if index > 6:
        image.ImagePositionPatient = [*image.ImagePositionPatient[:2], image.ImagePositionPatient[2] + 4.0]


def turned(image: pydicom.Dataset, index: int) -> None:
    if index % 3 == 0:
        image.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


BROKEN: dict[str, dict[str, object]] = {
    "missing slices": {"skip": (7, 8, 11)},
    "uneven spacing": {"change": shifted},
    "mixed orientations": {"change": turned},
    "one slice": {"skip": tuple(range(1, 14))},
    "no positions": {"change": no_positions},
}


@pytest.mark.parametrize("options", BROKEN.values(), ids=BROKEN)
def test_series_that_is_no_volume_is_told_and_refused(tmp_path, values, options):
    write_series(tmp_path, values, AFFINE, **options)
    series = only(tmp_path)
    assert series.missing == len(options["skip"]) * (series.shape[2] > 1) if "skip" in options else True
    with pytest.raises(DicomError) as told:
        read_voxels(series)
    assert told.value.code == "dicom.broken-series"
    with pytest.raises(DicomError) as missing:
        choose_series(read_examination(tmp_path)).complete()
    assert missing.value.code == "dicom.broken-series"


def two_patients(folder: Path, values: np.ndarray) -> None:
    write_series(folder / "a", values, AFFINE)
    write_series(folder / "b", values, AFFINE, PatientID="other", StudyInstanceUID=generate_uid())


def two_visits(folder: Path, values: np.ndarray) -> None:
    write_series(folder / "a", values, AFFINE)
    write_series(folder / "b", values, AFFINE, StudyInstanceUID=generate_uid())


def ct(folder: Path, values: np.ndarray) -> None:
    write_series(folder, values, AFFINE, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")


def colour(folder: Path, values: np.ndarray) -> None:
    def paint(image: pydicom.Dataset, _: int) -> None:
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
        image.PixelData = image.PixelData * 3

    write_series(folder, values, AFFINE, change=paint)


def cut(folder: Path, values: np.ndarray) -> None:
    for path in write_series(folder, values, AFFINE):
        path.write_bytes(path.read_bytes()[:1500])


def encrypted(folder: Path, values: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(4):
        (folder / f"{number}.dcm").write_bytes(b"\x30\x82" + np.random.default_rng(number).bytes(5000))


def nothing(folder: Path, values: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)


REFUSED: dict[str, tuple[Callable[[Path, np.ndarray], None], str]] = {
    "two patients": (two_patients, "dicom.several-visits"),
    "two visits": (two_visits, "dicom.several-visits"),
    "CT": (ct, "dicom.not-mri"),
    "colour": (colour, "dicom.not-mri"),
    "cut files": (cut, "dicom.damaged"),
    "encrypted files": (encrypted, "dicom.damaged"),
    "empty folder": (nothing, "dicom.none"),
}


@pytest.mark.parametrize(("make", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_examination_is_refused(tmp_path, values, make, code):
    make(tmp_path / "in", values)
    with pytest.raises(DicomError) as told:
        read_examination(tmp_path / "in")
    assert told.value.code == code
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


def test_cut_compressed_file_and_unknown_syntax_are_refused(tmp_path, values):
    paths = write_series(tmp_path / "a", values, AFFINE)
    compress(tmp_path / "a", "JPEG2000")
    whole = paths[4].read_bytes()
    image = pydicom.dcmread(paths[4])
    image.PixelData = encapsulate([b"\xff\x4f" + b"\0" * 100])
    image.save_as(paths[4])
    with pytest.raises(DicomError) as told:
        read_voxels(only(tmp_path / "a"))
    assert told.value.code == "dicom.damaged"
    paths[4].write_bytes(whole.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.96"))
    with pytest.raises(DicomError) as told:
        read_voxels(only(tmp_path / "a"))
    assert told.value.code in ("dicom.transfer-syntax", "dicom.damaged")


def test_ten_thousand_other_files_are_passed_over_quickly(tmp_path):
    for number in range(10_000):
        (tmp_path / f"{number}.txt").write_bytes(b"x" * 200)
    start = time.process_time()
    with pytest.raises(DicomError) as told:
        read_examination(tmp_path)
    assert told.value.code == "dicom.none"
    assert time.process_time() - start < 5


def test_damaged_files_beside_a_sound_series_are_counted(tmp_path, values):
    write_series(tmp_path, values, AFFINE)
    (tmp_path / "bad").write_bytes(b"\0" * 128 + b"DICM" + b"\x07" * 300)
    examination = read_examination(tmp_path)
    assert [path.name for path in examination.damaged] == ["bad"]
    assert len(examination.series) == 1
