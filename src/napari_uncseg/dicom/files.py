"""DICOM files of a folder, a DICOMDIR or a zip, found by what they hold and never by their names."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.errors import DamagedDicom, NoDicom, StudyError, reason_of
from napari_uncseg.io.files import exists, is_dir
from napari_uncseg.io.nifti import is_nifti

DICOMDIR = "DICOMDIR"

_MAGIC = b"DICM"
_BARE = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
"""How a file without preamble begins: element 0008,0000 (group length) or one of the first ones of an image."""

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
    """DICOM files below a folder, of the folder of a DICOMDIR or of one file, or in a zip archive.

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
        root = _unpack(path)
    elif _is_dicom(path):
        root = path.parent
    else:
        raise NoDicom(f"{path} is neither DICOM nor a zip archive of it; give the folder of the examination.")
    files: list[Path] = []
    sealed: list[Path] = []
    others = 0
    for file in _walk(root):
        if file.name == DICOMDIR:
            continue
        if _is_dicom(file):
            files.append(file)
        elif file.suffix.lower() in (".dcm", ".dicom", ".ima"):
            sealed.append(file)
        else:
            others += 1
    if not files and sealed:
        what = f"None of the {len(sealed)} DICOM files in {path} can be read ({sealed[0].name} is encrypted or damaged)"
        raise DamagedDicom(f"{what}; export them again without encryption.")
    if not files:
        raise NoDicom(f"{path} holds no DICOM among its {others} files; give the folder of the examination.")
    return Found(tuple(files), tuple(sealed), others)


def holds_dicom(path: Path) -> bool:
    """Whether a path looks like an examination in DICOM: a file, an archive, or a folder that holds some."""
    if is_dir(path, None):
        for number, file in enumerate(_walk(path)):
            if number >= _GLANCE:
                return False
            if _is_dicom(file):
                return True
        return False
    return not is_nifti(path) and exists(path, None) and (zipfile.is_zipfile(path) or _is_dicom(path))


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder, in the order of their names; what cannot be looked into is passed over."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _is_dicom(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return _begins_dicom(file.read(132))
    return False


def _begins_dicom(head: bytes) -> bool:
    return head[128:] == _MAGIC or head[:4] in _BARE


def _unpack(archive: Path) -> Path:
    """A temporary folder with the DICOM files of an archive, which goes when the process ends."""
    temporary = tempfile.TemporaryDirectory(prefix="uncseg-")
    _UNPACKED.append(temporary)
    folder = Path(temporary.name)
    taken = 0
    try:
        with zipfile.ZipFile(archive) as packed:
            for number, entry in enumerate(packed.infolist()):
                if entry.is_dir():
                    continue
                with packed.open(entry) as file:
                    head = file.read(132)
                    if not _begins_dicom(head):
                        continue
                    taken += entry.file_size
                    if taken > _LARGEST_ARCHIVE:
                        raise DamagedDicom(f"{archive} unpacks to more than any examination; give its folder.")
                    with (folder / f"{number:06}.dcm").open("wb") as target:
                        target.write(head)
                        shutil.copyfileobj(file, target)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, zlib.error) as error:
        what = f"{archive} cannot be unpacked ({reason_of(error).replace(str(archive), 'it')})"
        raise DamagedDicom(f"{what}; give a folder, or an archive without a password.") from error
    return folder


_UNPACKED: list[tempfile.TemporaryDirectory[str]] = []
