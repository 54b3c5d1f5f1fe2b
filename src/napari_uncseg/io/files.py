"""Files that appear whole or not at all: a temporary name beside the target, then a rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from napari_uncseg.errors import SaveError, reason_of


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files of one folder so that a failure leaves every one of them as it was.

    All bytes go to temporary names first; only when the last of them is complete are they renamed, in the order given.

    Parameters
    ----------
    contents : mapping of Path to bytes
        Target -> what it shall hold. The one that vouches for the others comes last.

    Raises
    ------
    SaveError
        When the folder cannot be made or written, or the disk is full; no temporary file stays behind.
    """
    for target in contents:
        if target.is_dir():
            raise SaveError(
                f"{target} is a folder where a file is to be written; move it away or choose another folder."
            )
    made: list[Path] = []
    temporary: dict[Path, Path] = {}
    renamed = 0
    try:
        for target, data in contents.items():
            made += _make_folder(target.parent)
            name = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
            temporary[name] = target
            name.write_bytes(data)
        for name, target in temporary.items():
            os.replace(name, target)
            renamed += 1
    except OSError as error:
        kept = " (what stood there before is unchanged)" if not renamed else " and save again"
        raise SaveError(_sentence(error, next(iter(contents)).parent) + kept + ".") from error
    finally:
        if renamed < len(contents):  # also when the user interrupts
            for name in temporary:
                name.unlink(missing_ok=True)
            for folder in reversed(made):
                _remove_if_empty(folder)


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
    try:
        while not nearest.exists() and not nearest.is_symlink() and nearest != nearest.parent:
            nearest = nearest.parent
        is_folder = nearest.is_dir()
    except OSError as error:
        raise SaveError(_sentence(error, folder) + ".") from error
    if not is_folder:
        raise SaveError(
            f"Results cannot be written to {folder}: {nearest} is not a folder; choose another output folder."
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SaveError(
            f"Results cannot be written to {folder}: {nearest} may not be written; choose another output folder or "
            "change its permissions."
        )


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder with its parents; return those that were new, outermost first."""
    new = [part for part in (*reversed(folder.parents), folder) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # someone else has put something there meanwhile
        return


def _sentence(error: OSError, folder: Path) -> str:
    return (
        f"Results cannot be written to {folder} ({reason_of(error)}); free some space or choose another output folder"
    )
