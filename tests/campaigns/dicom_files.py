"""Ways to damage DICOM: elements of its header at any depth, its voxels, their encoding, and bytes."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian as Deflated
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from tests.campaigns.mutations import Mutated, Random, damage_bytes
from tests.dicom_writer import affine_of, compress, head, write_series

SHAPE = (30, 34, 12)
AFFINE = affine_of((6.0, 5.0, 13.0), SHAPE)

_NUMBERS = (0, 1, 2, 7, 16, 255, 65535)
_TEXTS = (
    *(b"", b"0", b"-1", b"1e400", b"nan", b"inf", b"-inf", b"1e-300", b"abc", b"1\\2\\3\\4", b"99999999999999999999"),
    *(b"\xff\xfe\x80\x81", b"x" * 5000, b"\\" * 40, b"\0\0\0", b"\x1b[2J\x1b]0;owned\x07", b"../../x", b" ", b"1.2.3"),
    *(
        "日本^太郎".encode(),
        b"\x1b$B;3ED\x1b(B",
        b"ISO 2022 IR 87",
        b"1.2.840.10008.1.2.4.999",
        b"ORIGINAL\\PRIMARY\\P",
    ),
)
_REPRESENTATIONS = (*("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OW"),
                    *("PN", "SH", "SL", "SQ", "SS", "ST", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT"))  # fmt: skip
_GEOMETRY = (
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"),
    *("PixelRepresentation", "PhotometricInterpretation", "PixelSpacing", "ImagePositionPatient", "RescaleSlope"),
    *("ImageOrientationPatient", "RescaleIntercept", "SeriesNumber", "InstanceNumber", "EchoTime", "SOPClassUID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet", "PatientName", "SeriesDescription", "ImageType"),
    *("AcquisitionTime", "PixelData", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
)

_SYNTAXES = {"implicit": ImplicitVRLittleEndian, "big-endian": ExplicitVRBigEndian, "deflated": Deflated}


def damage_dicom(data: bytes, rng: Random) -> Mutated:
    """A DICOM file with elements at their extremes, lost, of another kind or too deep, or with damaged bytes."""
    if rng.random() < 0.35:
        return damage_bytes(data, rng)
    try:
        image = pydicom.dcmread(io.BytesIO(data), force=True)
        how = [_change(image, rng) for _ in range(int(rng.integers(1, 4)))]
        out = io.BytesIO()
        image.save_as(out, enforce_file_format=False)
    except Exception:  # what pydicom will not write is written by hand
        return damage_bytes(data, rng)
    return out.getvalue(), ", ".join(how)


def _change(image: Dataset, rng: Random) -> str:
    ways: list[Callable[[Dataset, Random], str]] = [_lose, _extreme, _extreme, _extreme, _extreme, _retype, _voxels]
    ways += [_syntax, _nest, _private, _encrypt, _encode]
    way = ways[int(rng.integers(0, len(ways)))]
    return f"{way.__name__[1:]} {way(image, rng)}"


def _place(image: Dataset, rng: Random) -> tuple[Dataset, BaseTag]:
    """An element: every other time one that says how the image is made up, wherever it stands."""
    places = list(_places(image))
    known = {Tag(keyword) for keyword in _GEOMETRY}
    telling = [(holder, tag) for holder, tag in places if tag in known]
    chosen = telling if telling and rng.random() < 0.6 else places
    return chosen[int(rng.integers(0, len(chosen)))]


def _places(image: Dataset) -> Iterator[tuple[Dataset, BaseTag]]:
    for tag in list(image.keys()):
        yield image, tag
        with suppress(Exception):
            if image[tag].VR == "SQ":
                for item in image[tag].value[:3]:
                    yield from _places(item)


def _lose(image: Dataset, rng: Random) -> str:
    holder, tag = _place(image, rng)
    del holder[tag]
    return str(tag)


def _raw(holder: Dataset, tag: BaseTag, vr: str | None, value: bytes) -> None:
    """Put bytes where a value stands, which pydicom would not let pass."""
    value += b" " * (len(value) % 2)
    implicit, little = holder.original_encoding
    holder._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, bool(implicit), little is not False, True)


def _extreme(image: Dataset, rng: Random) -> str:
    holder, tag = _place(image, rng)
    vr = holder[tag].VR
    if vr in ("US", "SS"):
        value = struct.pack("<H", int(rng.choice(_NUMBERS)))
    elif vr in ("UL", "SL"):
        value = struct.pack("<I", int(rng.choice([*_NUMBERS, 2**31, 2**32 - 1])))
    elif vr in ("FD", "FL"):
        floats = rng.choice([0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-30], int(rng.integers(0, 8)))
        value = floats.astype("<f8" if vr == "FD" else "<f4").tobytes()
    elif vr in ("IS", "DS") and rng.random() < 0.5:
        numbers = rng.choice(
            ["0", "-1", "1e308", "2147483647", "4294967296", "0.0001", "NaN", "12"], 1 + rng.integers(6)
        )
        value = "\\".join(numbers).encode()
    else:
        value = _TEXTS[int(rng.integers(0, len(_TEXTS)))]
    _raw(holder, tag, vr, value)
    return f"{tag} {value[:20]!r}"


def _retype(image: Dataset, rng: Random) -> str:
    holder, tag = _place(image, rng)
    vr = str(rng.choice(_REPRESENTATIONS))
    _raw(holder, tag, vr, bytes(rng.bytes(2 * int(rng.integers(0, 20)))))
    return f"{tag} {vr}"


def _voxels(image: Dataset, rng: Random) -> str:
    """Fewer, more or other voxels than there should be, or none."""
    if "PixelData" not in image:
        return "none"
    data = image.PixelData
    how = str(rng.choice(["none", "half", "twice", "noise", "empty", "floats"]))
    if how in ("none", "floats"):
        del image.PixelData
    if how == "floats":
        image.FloatPixelData = data[: len(data) // 4 * 4]
    elif how != "none":
        places = rng.integers(0, max(len(data), 1), 20)
        changed = bytearray(data)
        for at in places.tolist():
            changed[at : at + 1] = rng.bytes(1)
        image.PixelData = {
            "half": data[: len(data) // 4 * 2],
            "twice": data * 2,
            "noise": bytes(changed),
            "empty": b"",
        }[how]
    return how


def _syntax(image: Dataset, rng: Random) -> str:
    """Another transfer syntax than that of the bytes."""
    numbers = [
        *("1", "1.99", "2", "4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.100", "4.201", "5")
    ]
    uid = f"1.2.840.10008.1.2.{rng.choice([*numbers, '7.7', ''])}"
    image.file_meta.TransferSyntaxUID = uid
    return uid


def _nest(image: Dataset, rng: Random) -> str:
    """Sequences in sequences, written by hand: pydicom takes for ever to write them."""
    depth = int(rng.choice([3, 60, 400, 20_000]))
    inner = struct.pack("<HH", 0x0008, 0x1140) + (b"" if image.original_encoding[0] else b"SQ\0\0") + b"\xff" * 4
    begin, end = b"\xfe\xff\x00\xe0" + b"\xff" * 4, b"\xfe\xff\x0d\xe0" + b"\0" * 4
    value = (begin + inner) * depth + (b"\xfe\xff\xdd\xe0" + b"\0" * 4 + end) * depth
    keywords = ["ReferencedImageSequence", "SharedFunctionalGroupsSequence", "ContrastBolusAgentSequence"]
    keyword = str(rng.choice(keywords))
    _raw(image, Tag(keyword), "SQ", value)
    return f"{keyword} {depth} deep"


def _private(image: Dataset, rng: Random) -> str:
    """Private elements with and without a creator."""
    group = int(rng.choice([0x0009, 0x0019, 0x0029, 0x2001, 0x2005, 0x0043]))
    if rng.random() < 0.5:
        block = image.private_block(
            group, str(rng.choice(["SIEMENS CSA HEADER", "Philips MR Imaging DD 001"])), create=True
        )
        block.add_new(0x10, "OB", rng.bytes(400))
        return f"{group:04x} with a creator"
    for element in range(0x1000, 0x1000 + int(rng.integers(1, 60))):
        _raw(image, Tag(group, element), "UN", rng.bytes(int(rng.integers(0, 30)) * 2))
    return f"{group:04x}"


def _encrypt(image: Dataset, rng: Random) -> str:
    """Attributes that lie encrypted beside the image, and are lost from it."""
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID, item.EncryptedContent = "1.2.840.10008.1.2.1", rng.bytes(512)
    image.EncryptedAttributesSequence = [item]
    for keyword in rng.choice(_GEOMETRY, 6):
        with suppress(Exception):
            delattr(image, str(keyword))
    return ""


def _encode(image: Dataset, rng: Random) -> str:
    """Text in another character set than is said."""
    sets = [b"ISO_IR 192", b"ISO 2022 IR 87", b"GB18030", b"\\ISO 2022 IR 149", b"ISO_IR 13", b"nonsense", b"\\\\"]
    _raw(image, Tag("SpecificCharacterSet"), "CS", sets[int(rng.integers(0, len(sets)))])
    for keyword in ("PatientName", "SeriesDescription"):
        _raw(image, Tag(keyword), "PN" if keyword == "PatientName" else "LO", rng.bytes(24))
    return ""


def damage_archive_of(data: bytes, rng: Random) -> Mutated:
    """A zip archive of a series: one of its files, or its packed bytes."""
    if rng.random() < 0.4:
        return damage_bytes(data, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen, how = names[int(rng.integers(0, len(names)))], ""
        for name in names:
            content = old.read(name)
            if name == chosen:
                content, how = damage_dicom(content, rng)
            new.writestr(name, content)
    return out.getvalue(), how


def write_kinds(folder: Path) -> dict[str, tuple[Path, Path, Callable[[bytes, Random], Mutated]]]:
    """Series of every sort below a folder: what is read, the file of it that is damaged, and how."""
    values = np.rint(head("t1c", AFFINE, SHAPE))
    kinds: dict[str, tuple[Path, Path, Callable[[bytes, Random], Mutated]]] = {}

    def classic(name: str, **options: object) -> list[Path]:
        paths = write_series(folder / name, values, AFFINE, **options)  # type: ignore[arg-type]
        kinds[name] = (folder / name, paths[5], damage_dicom)
        return paths

    classic("classic")
    classic("RLE", syntax=RLELossless)
    classic("JPEG-LS", syntax=JPEGLSLossless)
    for name, syntax in _SYNTAXES.items():
        little, implicit = syntax is not ExplicitVRBigEndian, syntax is ImplicitVRLittleEndian
        for path in classic(name):
            image = pydicom.dcmread(path)
            if not little:
                image["PixelData"].value = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
            image.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, image, implicit_vr=implicit, little_endian=little, force_encoding=True)
            if implicit:  # as very old archives send it: no preamble, no meta information
                bare = Dataset()
                bare.update(image)
                pydicom.dcmwrite(path, bare, implicit_vr=True, little_endian=True)
    for name, compressor in (("JPEG lossless", "JPEG"), ("JPEG 2000", "JPEG2000")):
        classic(name)
        compress(folder / name, compressor)
    (path,) = write_series(folder / "enhanced", values, AFFINE, enhanced=True)
    kinds["enhanced"] = (folder / "enhanced", path, damage_dicom)
    files = FileSet()
    for path in write_series(folder / "loose", values, AFFINE):
        files.add(path)
    files.write(folder / "disc")
    kinds["DICOMDIR"] = (folder / "disc" / "DICOMDIR", folder / "disc" / "DICOMDIR", damage_dicom)
    archive = folder / "series.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (folder / "loose").iterdir():
            packed.write(path, path.name)
    kinds["archive"] = (archive, archive, damage_archive_of)
    return kinds
