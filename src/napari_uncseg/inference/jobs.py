"""What is to be predicted: studies, the commands that make their results again, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.io.command import command_line
from napari_uncseg.io.discovery import StudyFiles, find_studies, study_files
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES

FROM_LAYERS = "napari: Segment with uncertainty, on open layers without files of their own"
"""What stands for a command when there is none."""


@dataclass(frozen=True)
class PredictionJob:
    """A study to predict and the command that makes its result again."""

    files: StudyFiles
    command: str


class Status(StrEnum):
    """What became of a job."""

    SAVED = "saved"
    PARTIAL = "saved in part"
    SKIPPED = "already there"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one study.

    Parameters
    ----------
    study_id : str
        The study's id, or the path that led to none.
    status : Status
        Saved (in part when the run was stopped after some of its members), already there, or failed.
    seconds : float
        From the first file read to the last one written.
    folder : Path, optional
        Where the result is.
    provenance : mapping
        What the result's JSON says; empty after a failure.
    error : Exception, optional
        Why it failed.
    """

    study_id: str
    status: Status
    seconds: float = 0.0
    folder: Path | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None


def find_jobs(paths: Sequence[Path], options: Mapping[str, object]) -> tuple[list[PredictionJob], list[Outcome]]:
    """Studies in the given folders and files.

    Parameters
    ----------
    paths : sequence of Path
        Studies, or folders of studies.
    options : mapping of str to object
        What followed the studies on the command line, as for :func:`napari_uncseg.io.command.command_line`.

    Returns
    -------
    tuple of list of PredictionJob and list of Outcome
        Each study once, in the order given, and a failure for each path that holds none.

    Raises
    ------
    StudyError
        When two different studies have the same id, for they would share a folder.
    """
    jobs: dict[str, PredictionJob] = {}
    failures = []
    for path in paths:
        try:
            found = find_studies(path)
        except UncsegError as error:
            failures.append(Outcome(str(path), Status.FAILED, error=error))
            continue
        for files in found:
            # Absolute, so that the command makes the result again, and its images are found, from any folder.
            own = _own_path(files, path, len(found)).absolute()
            job = PredictionJob(files, command_line("predict", own, options=options))
            known = jobs.setdefault(files.id.casefold(), job)  # some disks know no case
            if not known.files.same_images(files):
                what = f"Two studies are called {files.id} ({known.files.folder} and {files.folder})"
                raise StudyError(f"{what}; predict them in two runs with different output folders.")
    return list(jobs.values()), failures


def job_of_files(files: Mapping[str, Path], study_id: str | None, options: Mapping[str, object]) -> PredictionJob:
    """PredictionJob of one study whose files are named one by one.

    Parameters
    ----------
    files : mapping of str to Path
        A file for each modality, and perhaps one for ``reference``.
    study_id : str, optional
        The study's id; ``None`` takes what the names have in common.
    options : mapping of str to object
        What followed the files on the command line.

    Raises
    ------
    StudyError
        When one file is named twice.
    """
    study = study_files(**files, id=study_id)
    return PredictionJob(study, command_line("predict", options={**_file_options(files, study.id), **options}))


def _own_path(files: StudyFiles, given: Path, found: int) -> Path:
    """Path that stands for one study: the given one, or for one of many its own folder if it holds nothing else."""
    with suppress(StudyError):
        if found > 1 and files.folder != given and [other.id for other in find_studies(files.folder)] == [files.id]:
            return files.folder
    return given


def command_of(study: Study, options: Mapping[str, object]) -> str:
    """The command that makes a result of a study again, which was read without one.

    Parameters
    ----------
    study : Study
    options : mapping of str to object
        What follows the study on the command line, as for :func:`find_jobs`.

    Returns
    -------
    str
        ``uncseg predict …`` with the folder that holds the study and no other, or else its files one by one;
        :data:`FROM_LAYERS` for a study that was not read from files.
    """
    files = {source.role: source.path.absolute() for source in study.sources}
    if not set(MODALITIES) <= set(files):
        return FROM_LAYERS
    if len({files[modality] for modality in MODALITIES}) == 1:  # volumes of one file cannot be named one by one
        return command_line("predict", files["t1c"], options=options)
    try:
        found = [(other.id, _paths(other)) for other in find_studies(files["t1c"].parent)]
    except UncsegError:
        found = []
    if found == [(study.id, files)]:
        return command_line("predict", files["t1c"].parent, options=options)
    return command_line("predict", options={**_file_options(files, study.id), **options})


def _paths(files: StudyFiles) -> dict[str, Path]:
    """Absolute path of each file, by role."""
    named = {**files.paths, **({"reference": files.reference} if files.reference is not None else {})}
    return {role: path.absolute() for role, path in named.items()}


def _file_options(files: Mapping[str, Path], study_id: str) -> dict[str, object]:
    return {**{f"--{role}": path.absolute() for role, path in files.items()}, "--id": study_id}
