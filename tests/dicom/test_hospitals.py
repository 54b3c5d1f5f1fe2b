"""Examinations as hospitals send them: each is read where it lies and as it is, or refused for what is wrong."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid
from tests.dicom.test_series import check_same
from tests.dicom_writer import SEQUENCES, affine_of, head, write_series

from napari_uncseg.dicom.roles import choose_series
from napari_uncseg.dicom.series import Series, read_examination
from napari_uncseg.dicom.voxels import read_voxels
from napari_uncseg.errors import DicomError, StudyError
from napari_uncseg.preparation.scans import read_dicom

SHAPE = (30, 34, 14)
AFFINE = affine_of((6.0, 5.0, 11.0), SHAPE)
VALUES = np.rint(head("t1c", AFFINE, SHAPE))

Change = Callable[[Dataset, int], object]


def sound(folder: Path) -> list[Series]:
    return [series for series in read_examination(folder).series if series.problem is None]


def alter(**tags: Any) -> Change:
    """Tags that every slice gets; None takes one out."""

    def change(image: Dataset, _: int) -> None:
        for keyword, value in tags.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)

    return change


def jittered(image: Dataset, index: int) -> None:
    noise = np.random.default_rng(index).uniform(-1e-3, 1e-3, 3)
    image.ImagePositionPatient = (np.array(image.ImagePositionPatient) + noise).round(6).tolist()


def jittered_spacing(image: Dataset, index: int) -> None:
    image.PixelSpacing = [5.0 + 1e-5 * (index % 2), 6.0]


def jittered_echo(image: Dataset, index: int) -> None:
    image.EchoTime = 2.94 + 0.02 * (index % 3)


def tilted_a_little(image: Dataset, index: int) -> None:
    image.ImageOrientationPatient = [1, 1e-4 * (index % 2), 0, 0, 1, 0]


def signed(image: Dataset, _: int) -> None:
    image.PixelRepresentation, image.BitsStored, image.HighBit = 1, 16, 15


def big_values(image: Dataset, _: int) -> None:
    image.PixelRepresentation, image.BitsStored, image.HighBit = 0, 16, 15


def overlay_in_high_bits(image: Dataset, _: int) -> None:
    stored = np.frombuffer(image.PixelData, "<u2") | 0xF000
    image.PixelData = stored.astype("<u2").tobytes()


def philips(image: Dataset, _: int) -> None:
    """What Philips writes beside RescaleSlope: scaling of its own, which says nothing of where the brain is."""
    block = image.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", 0.0)
    block.add_new(0x0E, "FL", 0.0073)
    item = Dataset()
    item.EchoTime, item.RescaleSlope, item.ImageOrientationPatient = 99.0, 7.0, [0, 1, 0, 0, 0, -1]
    block.add_new(0x0F, "SQ", [item])


def names(charset: Any, name: str, description: str) -> Change:
    return alter(SpecificCharacterSet=charset, PatientName=name, SeriesDescription=description)


SAME: dict[str, dict[str, Any]] = {
    "positions that jitter": {"change": jittered},
    "pixel sizes in other digits": {"change": jittered_spacing},
    "echo times in other digits": {"change": jittered_echo},
    "orientations in other digits": {"change": tilted_a_little},
    "no thickness": {"change": alter(SliceThickness=None)},
    "no instance numbers": {"change": alter(InstanceNumber=None)},
    "the same UID for every slice": {"change": alter(SOPInstanceUID="1.2.3.4")},
    "no series UID": {"change": alter(SeriesInstanceUID=None)},
    "no study UID": {"change": alter(StudyInstanceUID="")},
    "nobody": {"change": alter(PatientID="", PatientName="", StudyDate="", StudyTime="", AcquisitionTime=None)},
    "signed": {"change": signed},
    "overlay in the high bits": {"change": overlay_in_high_bits},
    "private scaling": {"change": philips},
    "Japanese": {"change": names(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "T1 造影後")},
    "Chinese": {"change": names("GB18030", "Wang^XiaoDong=王^小东", "T1 增强")},
    "Korean": {"change": names(["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "T1 조영")},
    "Russian": {"change": names("ISO_IR 144", "Люкceмбypг", "T1 с контрастом")},
    "carets": {"change": alter(PatientName="A^B^C^D^E", SeriesDescription="T1 ^KM^")},
    "series number of many digits": {"number": 2147483647},
    "enhanced": {"enhanced": True},
}


@pytest.mark.parametrize("options", SAME.values(), ids=SAME)
def test_what_scanners_and_archives_do_to_a_series_changes_nothing(tmp_path, options):
    write_series(tmp_path, VALUES, AFFINE, **options)
    (series,) = sound(tmp_path)
    check_near(series, VALUES)
    assert choose_series(read_examination(tmp_path)).series["t1c"].label == series.label


def check_near(series: Series, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """As :func:`check_same`, but for the millimetre's thousandth by which positions jitter."""
    found, _ = read_voxels(series)
    places = (
        np.linalg.inv(affine)
        @ series.affine
        @ np.vstack([np.indices(series.shape).reshape(3, -1), np.ones(found.size)])
    )
    voxels = np.rint(places[:3]).astype(int)
    np.testing.assert_allclose(places[:3], voxels, atol=2e-3)
    np.testing.assert_array_equal(found.ravel(), values[tuple(voxels)])


def test_values_beyond_twelve_bits_and_below_zero(tmp_path):
    def negative(image: Dataset, _: int) -> None:
        signed(image, 0)
        image.PixelData = (np.frombuffer(image.PixelData, "<u2").astype("<i2") - 1000).tobytes()

    write_series(tmp_path / "a", VALUES, AFFINE, change=negative)
    write_series(tmp_path / "b", VALUES, AFFINE, number=2, PhotometricInterpretation="MONOCHROME1")
    first, second = sound(tmp_path)
    check_near(first, VALUES - 1000)
    check_near(second, VALUES.max() + VALUES.min() - VALUES)


def test_what_the_scanner_filled_up_is_dark(tmp_path):
    def fill(image: Dataset, _: int) -> None:
        signed(image, 0)
        stored = np.frombuffer(image.PixelData, "<i2").copy()
        stored[:50] = -2000
        image.PixelData, image.PixelPaddingValue = stored.tobytes(), -2000

    write_series(tmp_path, VALUES, AFFINE, change=fill)
    (series,) = sound(tmp_path)
    values, _ = read_voxels(series)
    assert values.min() == VALUES.transpose(2, 1, 0).reshape(SHAPE[2], -1)[:, 50:].min()


@pytest.mark.parametrize("slope", ["1e300", "0.0"], ids=["infinite", "constant"])
def test_image_of_one_value_is_refused_before_it_is_registered(tmp_path, slope):
    for number, role in enumerate(SEQUENCES, start=2):
        tags = {"RescaleSlope": slope, "RescaleIntercept": "0"} if role == "t2w" else {}
        flat = role == "t2w" and slope == "0.0"
        write_series(tmp_path / role, np.full(SHAPE, 90.0) if flat else VALUES, AFFINE, role, number=number, **tags)
    with pytest.raises(StudyError, match="T2w"):
        read_dicom(tmp_path)


def test_slope_of_each_slice_is_its_own(tmp_path):
    def scale(image: Dataset, index: int) -> None:
        image.RescaleSlope, image.RescaleIntercept = str(1 + index), "-3"

    write_series(tmp_path, VALUES, AFFINE, change=scale)
    (series,) = sound(tmp_path)
    check_near(series, VALUES * np.arange(1, SHAPE[2] + 1) - 3)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize("bare", [False, True], ids=["with preamble", "without preamble"])
def test_encodings_of_old_archives(tmp_path, syntax, bare):
    for path in write_series(tmp_path, VALUES, AFFINE):
        image = pydicom.dcmread(path)
        little, implicit = syntax is ImplicitVRLittleEndian, syntax is ImplicitVRLittleEndian
        if not little:
            image["PixelData"].value = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, image, implicit_vr=implicit, little_endian=little, force_encoding=True)
        if bare:  # the meta information stays where the order of bytes has to be told
            meta = pydicom.filereader.read_file_meta_info(path)
            start = 132 if not implicit else 132 + 12 + meta.FileMetaInformationGroupLength
            path.write_bytes(path.read_bytes()[start:])
    (series,) = sound(tmp_path)
    check_near(series, VALUES)


def files_in_many_folders(folder: Path, paths: list[Path]) -> Path:
    for number, path in enumerate(paths):
        place = folder / "moved" / f"DIR{number % 4}" / f"SUB {number}"
        place.mkdir(parents=True)
        shutil.move(path, place / "Ä b^c.IMA")
    return folder / "moved"


def packed_in_a_packed_folder(folder: Path, paths: list[Path]) -> Path:
    pack(folder / "inner.zip", paths)
    return pack(folder / "outer.zip", [folder / "inner.zip"])


def packed_in_a_folder(folder: Path, paths: list[Path]) -> Path:
    (folder / "export").mkdir()
    pack(folder / "export" / "images.zip", paths)
    return folder / "export"


def beside_a_disc(folder: Path, paths: list[Path]) -> Path:
    """Viewers and small print, as they lie on a disc from a hospital."""
    for name, data in {
        "AUTORUN.INF": b"x",
        "viewer.exe": b"MZ" + bytes(500),
        "dicomdir": b"\0" * 128 + b"DICM",
    }.items():
        (paths[0].parent / name).write_bytes(data)
    (paths[0].parent / "._im").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 99)
    return paths[0].parent


def one_of_its_files(folder: Path, paths: list[Path]) -> Path:
    return paths[3]


def pack(archive: Path, paths: list[Path]) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in paths:
            packed.write(path, f"Müller^Anna/{path.name}")
    return archive


PLACES = (files_in_many_folders, packed_in_a_packed_folder, packed_in_a_folder, beside_a_disc, one_of_its_files)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_wherever_the_files_lie(tmp_path, place):
    path = place(tmp_path, write_series(tmp_path / "a", VALUES, AFFINE))
    examination = read_examination(path)
    (series,) = examination.series
    check_same(series, VALUES, AFFINE)
    assert not examination.damaged


def test_repeats_that_jitter_are_repeats(tmp_path):
    uid = generate_uid()
    for number in range(2):
        write_series(tmp_path / str(number), VALUES, AFFINE, SeriesInstanceUID=uid, change=jittered)
        for path in (tmp_path / str(number)).iterdir():
            image = pydicom.dcmread(path)
            image.ImagePositionPatient = [x + 0.004 * number for x in image.ImagePositionPatient]
            image.InstanceNumber += 100 * number
            image.save_as(path)
    (series,) = sound(tmp_path)
    assert series.repeats == 2
    check_near(series, VALUES)


def two_orientations(folder: Path, values: np.ndarray, **options: Any) -> None:
    uid = generate_uid()
    write_series(folder / "a", values, AFFINE, SeriesInstanceUID=uid, **options)
    write_series(folder / "b", values, affine_of((6.0, 5.0, 11.0), SHAPE, "sagittal"), SeriesInstanceUID=uid, **options)


def test_two_orientations_under_one_number_are_two_volumes(tmp_path):
    two_orientations(tmp_path, VALUES)
    series = sound(tmp_path)
    assert [each.label for each in series] == ["1a", "1b"]
    check_same(series[0], VALUES, AFFINE)
    check_same(series[1], VALUES, affine_of((6.0, 5.0, 11.0), SHAPE, "sagittal"))


def merge_enhanced(
    folder: Path, others: Mapping[str, np.ndarray], changes: Mapping[str, Callable[[Dataset], None]]
) -> None:
    """Put the frames of several enhanced images into one file, every other one of each in turn."""
    images = []
    for number, (name, affine) in enumerate(others.items(), start=1):
        (path,) = write_series(folder / name, VALUES + 10 * number, affine, enhanced=True, SeriesDescription="T2/PD")
        image = pydicom.dcmread(path)
        for group in image.PerFrameFunctionalGroupsSequence:
            group.PlaneOrientationSequence = image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
            changes[name](group)
        images.append(image)
        shutil.rmtree(folder / name)
    merged = images[0]
    del merged.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    groups = [each.PerFrameFunctionalGroupsSequence for each in images]
    voxels = [each.pixel_array for each in images]
    merged.PerFrameFunctionalGroupsSequence = [group for pair in zip(*groups, strict=True) for group in pair]
    merged.PixelData = np.stack([frame for pair in zip(*voxels, strict=True) for frame in pair]).astype("<u2").tobytes()
    merged.NumberOfFrames = len(merged.PerFrameFunctionalGroupsSequence)
    merged.save_as(folder / "IM_0001")


def test_enhanced_image_of_several_stacks_and_of_several_echoes(tmp_path):
    def echo(time: float) -> Callable[[Dataset], None]:
        def change(group: Dataset) -> None:
            item = Dataset()
            item.EffectiveEchoTime = time
            group.MREchoSequence = [item]

        return change

    sagittal = affine_of((6.0, 5.0, 11.0), SHAPE, "sagittal")
    still: Callable[[Dataset], None] = lambda group: None  # noqa: E731
    for name in ("stacks", "echoes"):
        (tmp_path / name).mkdir()
    merge_enhanced(tmp_path / "stacks", {"a": AFFINE, "b": sagittal}, {"a": still, "b": still})
    first, second = sound(tmp_path / "stacks")
    check_same(first, VALUES + 10, AFFINE)
    check_same(second, VALUES + 20, sagittal)
    merge_enhanced(tmp_path / "echoes", {"a": AFFINE, "b": AFFINE}, {"a": echo(12.0), "b": echo(102.0)})
    first, second = sound(tmp_path / "echoes")
    assert (first.frames[0].echo, second.frames[0].echo) == (12.0, 102.0)
    check_same(second, VALUES + 20, AFFINE)


def t1_twice(folder: Path, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Labels of what is taken for T1n and T1c of two T1 series, a T2 and a FLAIR."""
    for number, (role, tags) in enumerate((("t1n", first), ("t2w", first), ("t2f", first), ("t1n", second)), start=2):
        own = {"SeriesDescription": "t1_tra", "InversionTime": 900} if role == "t1n" else {}
        write_series(folder / str(number), VALUES, AFFINE, role, number=number, **{**own, **tags})
    chosen = choose_series(read_examination(folder)).series
    return [chosen[role].label for role in ("t1n", "t1c") if role in chosen]


AGENT = {"ContrastBolusAgent": "Gadovist"}
ORDERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an agent typed in before the first series": (AGENT, AGENT),
    "no times": ({"AcquisitionTime": ""}, {"AcquisitionTime": ""}),
    "times all the same": ({"AcquisitionTime": "000000"}, {"AcquisitionTime": "000000"}),
    "past midnight": (
        {"AcquisitionDate": "20190817", "AcquisitionTime": "235800"},
        {"AcquisitionDate": "20190818", "AcquisitionTime": "001200"},
    ),
    "an agent that is none": ({"ContrastBolusAgent": "NONE"}, AGENT),
}


@pytest.mark.parametrize("tags", ORDERS.values(), ids=ORDERS)
def test_which_of_two_t1_came_after_contrast_agent(tmp_path, tags):
    assert t1_twice(tmp_path, *tags) == ["2", "5"]


def test_enhanced_gradient_echo_and_echo_planar_images_are_no_t1_or_t2(tmp_path):
    slow = {"RepetitionTime": 700, "EchoTime": 20, "EchoPulseSequence": "GRADIENT", "SeriesDescription": "FFE"}
    planar = {"EchoPlanarPulseSequence": "YES", "SeriesDescription": "b0"}
    write_series(tmp_path / "a", VALUES, AFFINE, "t2w", enhanced=True, **slow)
    write_series(tmp_path / "b", VALUES, AFFINE, "t2w", enhanced=True, number=2, **planar)
    assert [verdict.role for verdict in choose_series(read_examination(tmp_path)).verdicts] == [None, None]


def test_images_without_a_number_are_not_another_patient(tmp_path):
    write_series(tmp_path / "a", VALUES, AFFINE)
    write_series(tmp_path / "b", VALUES, AFFINE, number=2, PatientID="", PatientName="")
    assert len(sound(tmp_path)) == 2


def no_numbers(image: Dataset, index: int) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    for keyword in ("ImagePositionPatient", "PixelSpacing"):
        tag = Tag(keyword)
        image._dict[tag] = RawDataElement(tag, "DS", 6, b"nan\\nan", 0, False, True, True)


REFUSED: dict[str, dict[str, Any]] = {
    "pixels without size": {"change": alter(PixelSpacing=[0, 0])},
    "numbers that are none": {"change": no_numbers},
    "mosaic": {"change": alter(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], ImagePositionPatient=[0, 0, 0])},
    "planes that are none": {"change": alter(ImageOrientationPatient=[0, 0, 0, 0, 0, 0])},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_series_that_lies_nowhere_is_refused(tmp_path, options):
    write_series(tmp_path, VALUES, AFFINE, **options)
    assert not sound(tmp_path)
    with pytest.raises(DicomError) as told:
        choose_series(read_examination(tmp_path)).complete()
    assert told.value.code in ("dicom.broken-series", "dicom.missing-series")
