"""Files at the edge: probes and reading that never raise the system's errors, hashes, and writing whole or not at all.

Whatever the system says (no permission, a name that is too long, a folder that vanished) comes out as one of the
package's own errors, which names the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_uncseg.errors import NameTaken, SaveError, StudyError, UncsegError, reason_of

Error = type[UncsegError]

_TEMPORARY = ".tmp"
_FORGOTTEN_SECONDS = 3600.0
_NAME_MAX = 255
"""Bytes of a file name that every system in use takes."""

_NO_NAME_ON_WINDOWS = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def is_file(path: Path, error: Error | None = StudyError) -> bool:
    """Whether there is such a file; when nobody may look an error of the package's, with None just False."""
    return stat.S_ISREG(_mode(path, error))


def is_dir(path: Path, error: Error | None = StudyError) -> bool:
    """Whether there is such a folder; when nobody may look as :func:`is_file`."""
    return stat.S_ISDIR(_mode(path, error))


def exists(path: Path, error: Error | None = StudyError) -> bool:
    """Whether there is anything of this name; when nobody may look as :func:`is_file`."""
    return _mode(path, error) != 0


def entries(folder: Path, error: Error = StudyError) -> list[Path]:
    """What a folder holds, in the order of the names; an error of the package's when it cannot be read."""
    with _reading(folder, error):
        return sorted(folder.iterdir())


def read_bytes(path: Path, error: Error = StudyError) -> bytes:
    """All bytes of a file; an error of the package's when it cannot be read."""
    with _reading_file(path, error):
        return path.read_bytes()


def read_text(path: Path, error: Error = StudyError) -> str:
    """A text file in UTF-8, with or without its mark; an error of the package's when it cannot be read."""
    with _reading_file(path, error):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, error: Error = StudyError, do: str = "repair it") -> dict[str, Any]:
    """The JSON object in a file.

    Parameters
    ----------
    path : Path
    error : type
        Which of the package's errors it is when there is none.
    do : str
        What a user is to do about a damaged file.
    """
    return parse_json(read_bytes(path, error), path, error, do)


def parse_json(data: bytes, path: Path, error: Error = StudyError, do: str = "repair it") -> dict[str, Any]:
    """The JSON object that bytes of a file hold, see :func:`read_json`."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} cannot be read as JSON ({reason_of(reason)}); {do}.") from reason
    if not isinstance(content, dict):
        raise error(f"{path} holds no JSON object; {do}.")
    return content


def sha256(data: bytes | memoryview) -> str:
    """Hash of bytes, in hexadecimal."""
    import hashlib  # which loads OpenSSL: not for a help text

    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path, error: Error = StudyError) -> str:
    """Hash of a file's bytes, in hexadecimal; an error of the package's when it cannot be read."""
    import hashlib

    with _reading_file(path, error), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(content: Any) -> str:
    """Hash of plain JSON values, whatever the order of their keys."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def versions(*packages: str) -> dict[str, str]:
    """Versions of this package, of Python and of other packages, as results tell them."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {name: python if name == "python" else _version(name) for name in ("napari-uncseg", "python", *packages)}


def write_files(contents: Mapping[Path, bytes], *, new: bool = False) -> None:
    """Write several files so that a failure leaves every one of them as it was.

    All bytes go to temporary names first; only when the last of them is complete are they renamed, in the order given.

    Parameters
    ----------
    contents : mapping of Path to bytes
        Target -> what it shall hold. The one that vouches for the others comes last.
    new : bool
        Replace nothing: of two runs that write a name in the same moment only one has it.

    Raises
    ------
    NameTaken
        When they are to be new and one is there.
    SaveError
        When the folder cannot be made or written, or the disk is full. No temporary file stays behind; but where files
        were replaced already, the last one does, which vouches for them.
    """
    for target in contents:
        if is_dir(target, SaveError):
            raise SaveError(f"{target} is a folder where a file is to be written; choose another folder.")
    made: list[Path] = []
    temporary: dict[Path, Path] = {}
    fresh: list[Path] = []
    renamed = 0
    try:
        for target, data in contents.items():
            _make_folder(target.parent, made)
            name = target.parent / f".{os.urandom(8).hex()}{_TEMPORARY}"  # never longer than what it stands for can be
            temporary[name] = target
            name.write_bytes(data)
        for name, target in temporary.items():
            absent = not target.exists()
            (_rename_to_new if new else os.replace)(name, target)
            renamed += 1
            fresh += [target] * absent
        for folder in {target.parent for target in contents}:
            _sweep(folder)
    except OSError as error:
        what = f"Results cannot be written to {next(iter(contents)).parent} ({reason_of(error)})"
        raise SaveError(f"{what}; free some space or choose another output folder, and save again.") from error
    finally:
        if renamed < len(contents):  # also when the user interrupts
            gone = list(temporary)[: -1 if renamed > len(fresh) else None]
            for name in (*gone, *fresh):
                with contextlib.suppress(OSError):
                    name.unlink()
            for folder in reversed(made):
                with contextlib.suppress(OSError):  # someone else has put something there meanwhile
                    folder.rmdir()


def _rename_to_new(name: Path, target: Path) -> None:
    """Rename a file in one step that fails when the other name is taken."""
    try:
        try:
            os.link(name, target)
        except FileExistsError:
            raise
        except OSError:  # a disk without links: whoever makes the file first has the name
            target.open("xb").close()
            os.replace(name, target)
        else:
            name.unlink()
    except FileExistsError as error:
        raise NameTaken(f"{target} is there already; nothing was written.") from error


def temporary_files(folder: Path) -> list[Path]:
    """What runs that were killed while they wrote left behind in a folder, or runs of this moment have there."""
    return sorted(folder.glob(f".{'[0-9a-f]' * 16}{_TEMPORARY}"))


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Make sure, before a long computation, that a disk takes a folder and files of some names; else a SaveError."""
    for name in (folder.name, *names):
        if len(os.fsencode(name)) > _NAME_MAX:
            raise SaveError(f"The name {name} is too long for a file; give the study a shorter id (--id).")
        if sys.platform == "win32" and _NO_NAME_ON_WINDOWS.search(name):
            raise SaveError(f"Windows takes no file of the name {name!r}; give the study another id (--id).")


def check_writable(folder: Path) -> None:
    """Make sure, before a long computation, that a folder can be written or made.

    Parameters
    ----------
    folder : Path
        Where results shall go; it need not exist and is not made.

    Raises
    ------
    SaveError
        When it, or the nearest folder above it that exists, is no folder or cannot be written.
    """
    nearest = folder
    while not (os.path.islink(nearest) or exists(nearest, SaveError)) and nearest != nearest.parent:
        nearest = nearest.parent  # a link that leads nowhere is there: nothing can be made in its place
    if not is_dir(nearest, SaveError) or not os.access(nearest, os.W_OK | os.X_OK):
        why = "may not be written" if is_dir(nearest, SaveError) else "is not a folder"
        raise SaveError(f"Results cannot be written to {folder}: {nearest} {why}; choose another output folder.")


def _mode(path: Path, error: Error | None) -> int:
    """Kind of what has this name; 0 when there is nothing."""
    absent = (FileNotFoundError, NotADirectoryError) if error else (OSError, ValueError)
    with _reading(path, error or StudyError), contextlib.suppress(*absent):
        return path.stat().st_mode
    return 0


def _sweep(folder: Path) -> None:
    """Remove temporary files that no run can still be writing."""
    for path in temporary_files(folder):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
                path.unlink()


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder with its parents, and note those that were new, outermost first."""
    made += [part for part in (*reversed(folder.parents), folder) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@contextlib.contextmanager
def _reading(path: Path, error: Error) -> Iterator[None]:
    """Turn what the system says of a path (no permission, a ring of links, no text ...) into an error of ours."""
    try:
        yield
    except FileNotFoundError as reason:
        if os.path.islink(path):
            to = os.readlink(path)
            raise error(f"{path} is a link to {to}, which is not there; fetch or copy that file.") from reason
        raise error(f"{path} does not exist; check how it is written.") from reason
    except (OSError, ValueError) as reason:
        closed = (folder for folder in reversed(path.parents) if not os.access(folder, os.X_OK))
        what = next(closed, path) if isinstance(reason, PermissionError) else path
        raise error(f"{what} cannot be read ({reason_of(reason)}); check its name and its permissions.") from reason


@contextlib.contextmanager
def _reading_file(path: Path, error: Error) -> Iterator[None]:
    """The same of what holds bytes, and not of a pipe or a device, which may never end, or never begin."""
    mode = _mode(path, error)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{path} is a pipe or a device; give a file.")
    with _reading(path, error):
        yield
