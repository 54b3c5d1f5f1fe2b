"""The statistics of one study on disk: ``studies/<id>.npz`` and the JSON that vouches for it, written last.

A run that was cut finds them by their fingerprint and goes on with the next study.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from napari_uncseg import __version__
from napari_uncseg.errors import EvaluationError, reason_of
from napari_uncseg.evaluation.metric import Statistic
from napari_uncseg.io.files import write_files
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain

SCHEMA: Literal[1] = 1

STUDIES = "studies"
"""Folder of the statistics inside the output folder."""


@dataclass(frozen=True, eq=False)
class Record:
    """What was measured on one study.

    Parameters
    ----------
    study : str
        The study's id.
    fingerprint : str
        Hash of inputs, settings and version, see :func:`fingerprint`.
    statistics : mapping of str to Statistic
        Key of a metric, see :attr:`~napari_uncseg.evaluation.metric.Metric.key` -> its statistic.
    inputs : mapping of str to str
        Role of a file -> sha256.
    brain : str
        Where the brain came from, a :class:`~napari_uncseg.evaluation.loading.BrainSource`.
    notes : tuple of str
        A sentence each.
    checks : mapping
        Numbers for the sanity checks, see :class:`~napari_uncseg.evaluation.loading.ReadCase`.
    seconds : float
        From the first file read to the last metric measured.
    codings : mapping of str to str
        How labels were to be read, where that was said.
    """

    study: str
    fingerprint: str
    statistics: Mapping[str, Statistic]
    inputs: Mapping[str, str]
    brain: str
    notes: tuple[str, ...] = ()
    checks: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    codings: Mapping[str, str | None] = field(default_factory=dict)


class _Npz(BaseModel):
    file: str = Field(pattern=r"^[^/\\]+$")
    sha256: str


class _RecordFile(BaseModel):
    """The JSON of a record."""

    format_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    research_use_only: str = RESEARCH_USE_ONLY
    study: str
    version: str = __version__
    fingerprint: str
    statistics: _Npz
    metrics: list[str]
    inputs: dict[str, str]
    brain: str
    notes: list[str]
    checks: dict[str, Any]
    seconds: float
    codings: dict[str, str | None] | None = None


def fingerprint(study: str, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Hash of all that decides the statistics of a study.

    Parameters
    ----------
    study : str
        The study's id.
    inputs : mapping of str to str
        Role of a file -> sha256.
    settings : mapping
        Plain JSON values: metrics, codings.

    Returns
    -------
    str
        sha256 in hexadecimal; another version of the package gives another one.
    """
    decisive = {
        "schema": SCHEMA,
        "version": __version__,
        "study": study,
        "inputs": dict(inputs),
        "settings": plain(settings),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record_path(out: Path, study: str) -> Path:
    """JSON of a study in an output folder."""
    if Path(study).name != study or study in ("", ".", ".."):
        raise EvaluationError(f"The id {study!r} cannot name a file; rename the study.")
    return Path(out) / STUDIES / f"{study}.json"


def write_record(record: Record, out: Path) -> Path:
    """Write the statistics of a study, whole or not at all.

    Returns
    -------
    Path
        Its JSON.

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    path = record_path(out, record.study)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for number, statistic in enumerate(record.statistics.values()):
        arrays |= {f"{number}/{name}": np.asarray(array) for name, array in statistic.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    content = _RecordFile(
        study=record.study,
        fingerprint=record.fingerprint,
        statistics=_Npz(file=f"{record.study}.npz", sha256=hashlib.sha256(data).hexdigest()),
        metrics=list(record.statistics),
        inputs=dict(record.inputs),
        brain=record.brain,
        notes=list(record.notes),
        checks=plain(dict(record.checks)),
        seconds=round(record.seconds, 2),
        codings=dict(record.codings),
    )
    text = content.model_dump_json(by_alias=True, indent=2) + "\n"
    write_files({path.parent / content.statistics.file: data, path: text.encode()})
    return path


def read_record(path: Path) -> Record:
    """Read the statistics of a study.

    Raises
    ------
    EvaluationError
        When they are not there, damaged, or of another version of the format.
    """
    content = _content(path)
    npz = path.parent / content.statistics.file
    try:
        data = npz.read_bytes()
        if hashlib.sha256(data).hexdigest() != content.statistics.sha256:
            raise EvaluationError(
                f"{npz} is not the file that {path.name} was written with; remove both and start again."
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            statistics: dict[str, Statistic] = {key: {} for key in content.metrics}
            for name in archive.files:
                number, _, part = name.partition("/")
                statistics[content.metrics[int(number)]][part] = archive[name]
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{npz} cannot be read ({reason_of(error)}); remove it and start again.") from error
    return Record(
        study=content.study,
        fingerprint=content.fingerprint,
        statistics=statistics,
        inputs=content.inputs,
        brain=content.brain,
        notes=tuple(content.notes),
        checks=content.checks,
        seconds=content.seconds,
        codings=content.codings or {},
    )


def is_current(path: Path, fingerprint: str, inputs: Mapping[str, str], codings: Mapping[str, str | None]) -> bool:
    """Whether the statistics of a study are there and need not be measured again.

    Parameters
    ----------
    path : Path
        JSON of the study.
    fingerprint : str
        What they would have now.
    inputs, codings : mapping
        What they would be measured on now.

    Returns
    -------
    bool
        False also for those of another version of the package, which are measured again.

    Raises
    ------
    EvaluationError
        When whole statistics stand there that were measured on other files, or with labels read otherwise.
    """
    try:
        content = _content(path)
        data = (path.parent / content.statistics.file).read_bytes()
    except (EvaluationError, OSError):
        return False
    if hashlib.sha256(data).hexdigest() != content.statistics.sha256:
        return False
    if content.inputs != dict(inputs) or content.codings not in (None, dict(codings)):
        raise EvaluationError(
            f"{path} was measured on other files or with other settings; choose another output folder, or --overwrite."
        )
    return content.fingerprint == fingerprint


def _content(path: Path) -> _RecordFile:
    """The JSON of a record, checked."""
    try:
        return _RecordFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({reason_of(error)}); remove it and start again.") from error
    except ValidationError as error:
        raise EvaluationError(
            f"{path} is damaged or holds no statistics that this version reads; remove it and start again."
        ) from error
