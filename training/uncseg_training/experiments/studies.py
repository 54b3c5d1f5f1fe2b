"""Studies that an experiment reads: one that cannot be used is named and left out, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.study import Study


def usable(folder: Path, *, references: bool = True) -> Iterator[Study]:
    """Studies of a folder, read one after the other.

    Parameters
    ----------
    folder : Path
        A study folder or a folder of studies.
    references : bool
        Leave out studies without a reference.

    Yields
    ------
    Study

    Raises
    ------
    StudyError
        When the folder holds no study, or at the end when none could be used.
    """
    used = 0
    for files in find_studies(folder):
        try:
            study = load_study(files)
        except StudyError as error:
            typer.echo(f"left out: {error}", err=True)
            continue
        if references and study.reference is None:
            typer.echo(f"left out: {study.id} has no reference.", err=True)
            continue
        used += 1
        yield study
    if not used:
        wanted = "study with a reference" if references else "study that can be read"
        raise StudyError(f"{folder} holds no {wanted}; name another folder.")


def require_studies(folder: Path | None) -> None:
    """Look whether a folder holds a study to judge by, before hours go by.

    Raises
    ------
    StudyError
        When it does not; None asks for nothing.
    """
    if folder is not None:
        next(usable(folder))
