"""The command that makes a result again: written into its JSON, and read to find the images that it was made from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import StudyFiles, find_studies, study_files
from napari_uncseg.io.files import is_file
from napari_uncseg.io.results import read_result
from napari_uncseg.labels import MODALITIES

_LEVELS = 4
"""Folders from which relative paths are tried, that of the results and those above it: a command is run near them."""


def option_words(options: Mapping[str, object]) -> list[str]:
    """Options as they are written on a command line: ``True`` for a flag, what is ``None`` or ``False`` left out."""
    given = {option: value for option, value in options.items() if value is not None and value is not False}
    return [word for option, value in given.items() for word in ([option] if value is True else [option, str(value)])]


def command_line(command: str, *arguments: object, options: Mapping[str, object] = MappingProxyType({})) -> str:
    """A command of ``uncseg`` as it is typed into a shell.

    Parameters
    ----------
    command : str
        ``predict``, ``evaluate`` ...
    *arguments : object
        What stands before the options.
    options : mapping of str to object
        As for :func:`option_words`.
    """
    return shlex.join(["uncseg", command, *map(str, arguments), *option_words(options)])


def seen_from(out: Path, command: str) -> str:
    """A command as it is typed in the folder of its results, without the folders above them.

    Parameters
    ----------
    out : Path
        Absolute; the folder of results.
    command : str
        With absolute paths.

    Returns
    -------
    str
        What lies in or beside ``out`` by a relative path, everything else by its last name alone: folders may bear a
        patient's name.
    """
    return shlex.join(_seen_from(out, word) for word in _split(command))


def _seen_from(out: Path, word: str) -> str:
    kind, colon, folders = word.partition(":")
    if kind == "ensemble":
        return kind + colon + ",".join(_seen_from(out, folder) for folder in folders.split(","))
    path = Path(word)
    if not path.is_absolute():
        return word
    if path.is_relative_to(out):
        return path.relative_to(out).as_posix()
    return f"../{path.name}" if path.parent == out.parent else path.name


def find_inputs(study: str, result: Path, searched: dict[Path, dict[str, StudyFiles]]) -> StudyFiles | None:
    """Images that a result says it was made from, if they still stand there.

    Parameters
    ----------
    study : str
        The study's id.
    result : Path
        JSON of the result, ``OUT/<id>/<id>_uncseg.json``.
    searched : dict of Path to dict of str to StudyFiles
        Studies by id of each place that was searched before; new ones are added.

    Returns
    -------
    StudyFiles or None

    Notes
    -----
    Commands of the package name images by absolute paths. Those of prepared studies and of older results are relative:
    they are tried from the folder of results and three above, then from the current one.

    Raises
    ------
    StudyError
        When the JSON cannot be read.
    """
    words = _words(read_result(result).provenance.get("command"))
    bases = (*result.absolute().parents[1 : 1 + _LEVELS], Path.cwd())
    for word in takewhile(lambda word: not word.startswith("-"), words):  # paths of studies come first
        if Path(word).name in ("", ".."):  # it names nothing, so it would be found anywhere
            continue
        for base in bases:
            path = base / word
            if path not in searched:
                searched[path] = _studies_at(path)
            if study in searched[path]:
                return searched[path][study]
    named = {word[2:]: value for word, value in pairwise(words) if word[2:] in (*MODALITIES, "reference")}
    return next((files for base in bases if (files := _named_files(study, base, named)) is not None), None)


def _words(command: Any) -> list[str]:
    """What follows ``uncseg predict``; empty when the command is another."""
    words = _split(command)
    return words[2:] if words[:2] == ["uncseg", "predict"] else []


def _split(command: Any) -> list[str]:
    """Words of a command; none where it is no text, or one with unbalanced quotes: somebody edited it."""
    try:
        return shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return []


def _studies_at(path: Path) -> dict[str, StudyFiles]:
    with suppress(StudyError):
        return {files.id: files for files in find_studies(path)}
    return {}


def _named_files(study: str, base: Path, named: Mapping[str, str]) -> StudyFiles | None:
    """The study whose files were named one by one, as seen from a folder; None unless all four images are there."""
    with suppress(StudyError):
        there = {role: base / name for role, name in named.items() if is_file(base / name)}
        return study_files(**there, id=study) if set(MODALITIES) <= set(there) else None
    return None
