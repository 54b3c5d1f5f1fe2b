"""DICOM files of a folder, a DICOMDIR or zips, found by what they hold and never by their names."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from napari_uncseg.errors import DamagedDicom, NoDicom, StudyError, reason_of
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.files import exists, is_dir
from napari_uncseg.io.nifti import is_nifti

DICOMDIR = "DICOMDIR"

_MAGIC = b"DICM"
_BARE = (
    *(b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00"),
    b"\x02\x00\x00\x00\x55\x4c\x04\x00",
)
"""How a file without preamble begins: with the length of a group, or with one of the first elements of an image."""

_ZIP = b"PK\x03\x04"

_DEPTH = 3
"""Archives within archives that are unpacked."""

_LARGEST_ARCHIVE = 16 * 2**30
"""Bytes that are unpacked from an archive at most."""

_GLANCE = 2000
"""Files that are looked at before a folder counts as one without DICOM."""


@dataclass(frozen=True)
class Found:
    """What was found at a path.

    Parameters
    ----------
    files : tuple of Path
        DICOM files, in the order of their names; those of an archive lie in a temporary folder under numbers.
    sealed : tuple of Path
        Files that call themselves DICOM and are not: encrypted, or cut off before they begin.
    others : int
        Number of files of other kinds.
    """

    files: tuple[Path, ...]
    sealed: tuple[Path, ...]
    others: int


def find_files(path: Path) -> Found:
    """DICOM files below a folder and in its zip archives, of the folder of a DICOMDIR or of one file, or in an archive.

    Raises
    ------
    StudyError
        When the path does not exist.
    NoDicom
        When no file there is DICOM.
    DamagedDicom
        When an archive cannot be unpacked, or all that calls itself DICOM is encrypted or damaged.
    """
    if not exists(path):
        raise StudyError(f"{path} does not exist; check how it is written.")
    if is_dir(path):
        root = path
    elif zipfile.is_zipfile(path):
        root = _unpack([path])
    elif _is_dicom(path):
        root = path.parent
    else:
        raise NoDicom(f"{path} is neither DICOM nor a zip archive of it; give the folder of the examination.")
    files: list[Path] = []
    sealed: list[Path] = []
    others = 0
    archives: list[Path] = []
    for file in _walk(root):
        if file.name.upper() == DICOMDIR:
            continue
        if _is_dicom(file):
            files.append(file)
        elif _is_archive(file):
            archives.append(file)
        elif file.suffix.lower() in (".dcm", ".dicom", ".ima"):
            sealed.append(file)
        else:
            others += 1
    if archives and is_dir(path):
        files += _walk(_unpack(archives))
    if not files and sealed:
        what = f"None of the {len(sealed)} DICOM files in {path} can be read ({sealed[0].name} is encrypted or damaged)"
        raise DamagedDicom(f"{what}; export them again without encryption.")
    if not files and not is_dir(path):
        raise NoDicom(f"{path} is an archive without DICOM; unpack it, and give the folder with the images.")
    if not files:
        raise NoDicom(f"{path} holds no DICOM among its {others} files; give the folder of the examination.")
    return Found(tuple(files), tuple(sealed), others)


class InputKind(Enum):
    """What a path holds that is to be segmented."""

    NIFTI = auto()
    """Studies of NIfTI files, whole or not."""
    DICOM = auto()
    """An examination in DICOM, raw as it comes from the scanner."""
    NEITHER = auto()


def kind_of(path: Path) -> InputKind:
    """What a path holds, told by the files that are there; where a folder has both, NIfTI goes before DICOM."""
    with suppress(StudyError):
        find_studies(path)
        return InputKind.NIFTI
    return InputKind.DICOM if _holds_dicom(path) else InputKind.NEITHER


def _holds_dicom(path: Path) -> bool:
    """Whether a path looks like an examination in DICOM: a file, an archive, or a folder that holds some."""
    if is_dir(path, None):
        for number, file in enumerate(_walk(path)):
            if number >= _GLANCE:
                return False
            if _is_dicom(file) or _is_archive(file):
                return True
        return False
    return not is_nifti(path) and exists(path, None) and (zipfile.is_zipfile(path) or _is_dicom(path))


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder, in the order of their names; what cannot be looked into is passed over."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and zipfile.is_zipfile(path)


def _is_dicom(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return _begins_dicom(file.read(132))
    return False


def _begins_dicom(head: bytes) -> bool:
    return head[128:132] == _MAGIC or head.startswith(_BARE)


def _unpack(archives: Sequence[Path]) -> Path:
    """A temporary folder with the DICOM files of archives, which goes when the process ends."""
    temporary = tempfile.TemporaryDirectory(prefix="uncseg-")
    _UNPACKED.append(temporary)
    folder = Path(temporary.name)
    taken, numbers = 0, itertools.count()
    waiting = [(archive, archive, 1) for archive in archives]
    for archive, packed, depth in waiting:
        try:
            with zipfile.ZipFile(packed) as entries:
                for entry in entries.infolist():
                    if entry.is_dir():
                        continue
                    with entries.open(entry) as file:
                        head = file.read(132)
                        inner = head.startswith(_ZIP) and depth < _DEPTH
                        if not inner and not _begins_dicom(head):
                            continue
                        taken += entry.file_size
                        if taken > _LARGEST_ARCHIVE:
                            raise DamagedDicom(f"{archive} unpacks to more than any examination; give its folder.")
                        path = folder / f"{next(numbers):06}.{'zip' if inner else 'dcm'}"
                        with path.open("wb") as target:
                            target.write(head)
                            shutil.copyfileobj(file, target)
                    if inner:
                        waiting.append((archive, path, depth + 1))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, zlib.error) as error:
            if depth > 1 and not isinstance(error, OSError):
                continue  # what calls itself an archive within one need not be one
            what = f"{archive} cannot be unpacked ({reason_of(error).replace(str(archive), 'it')})"
            raise DamagedDicom(f"{what}; give a folder, or an archive without a password.") from error
        finally:
            if depth > 1:
                packed.unlink(missing_ok=True)
    return folder


_UNPACKED: list[tempfile.TemporaryDirectory[str]] = []
