"""The statistics of one study on disk: ``studies/<id>.npz`` and the JSON that vouches for it, written last.

A run that was cut finds them by their fingerprint and goes on with the next study.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_uncseg import __version__
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.metric import Statistic, from_npz, to_npz
from napari_uncseg.io.files import read_bytes, sha256, sha256_of, write_files
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, ListedFile, plain

SCHEMA = 1

STUDIES = "studies"
"""Folder of the statistics inside the output folder."""


class Record(JsonFormat):
    """The JSON of what was measured on one study.

    Parameters
    ----------
    study : str
        The study's id.
    fingerprint : str
        Hash of inputs, settings and version.
    statistics : ListedFile, optional
        Their file; None before they are written.
    metrics : tuple of str
        Key of a metric, see :attr:`~napari_uncseg.evaluation.metric.Metric.key`, for each statistic.
    inputs : dict of str to str
        Role of a file -> sha256.
    brain : str
        Where the brain came from: ``images``, or ``none`` where it is not known.
    notes : tuple of str
        A sentence each.
    checks : dict
        Numbers for the sanity checks, see :class:`~napari_uncseg.evaluation.loading.ReadCase`.
    seconds : float
        From the first file read to the last metric measured.
    codings : dict of str to str, optional
        How labels were to be read, where that was said; earlier versions did not tell.
    """

    what = "record of a study"
    error = EvaluationError
    do = "remove it and start again"

    schema_: int = Field(default=SCHEMA, alias="schema")
    research_use_only: str = RESEARCH_USE_ONLY
    study: str
    made_by: str = Field(default=__version__, alias="version")
    fingerprint: str = ""
    statistics: ListedFile | None = None
    metrics: tuple[str, ...] = ()
    inputs: dict[str, str] = Field(default_factory=dict)
    brain: str
    notes: tuple[str, ...] = ()
    checks: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    codings: dict[str, str | None] | None = None


def record_path(out: Path, study: str) -> Path:
    """JSON of a study in an output folder."""
    if Path(study).name != study or study in ("", ".", ".."):
        raise EvaluationError(f"The id {study!r} cannot name a file; rename the study.")
    return Path(out) / STUDIES / f"{study}.json"


def write_record(record: Record, statistics: Mapping[str, Statistic], out: Path) -> Path:
    """Write the statistics of a study by the keys of their metrics, whole or not at all.

    Returns
    -------
    Path
        Their JSON.

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    path, data = record_path(out, record.study), to_npz(statistics.values())
    file = ListedFile(file=f"{record.study}.npz", sha256=sha256(data))
    told = {"statistics": file, "metrics": tuple(statistics), "checks": plain(record.checks)}
    text = record.model_copy(update=told).model_dump_json(by_alias=True, indent=2) + "\n"
    write_files({path.parent / file.file: data, path: text.encode()})
    return path


def read_record(path: Path) -> tuple[Record, dict[str, Statistic]]:
    """Read the statistics of a study, by the keys of their metrics.

    Raises
    ------
    EvaluationError
        When they are not there, damaged, or of another version of the format.
    """
    record = Record.read(path)
    npz = path.parent / (record.statistics.file if record.statistics else "")
    data = read_bytes(npz, EvaluationError)
    if record.statistics is None or sha256(data) != record.statistics.sha256:
        raise EvaluationError(f"{npz} is not the file that {path.name} was written with; remove both and start again.")
    statistics, _ = from_npz(data, npz)
    return record, {key: statistics[number] for number, key in enumerate(record.metrics)}


def is_current(path: Path, now: Record) -> bool:
    """Whether the statistics of a study are there and need not be measured again.

    Parameters
    ----------
    path : Path
        JSON of the study.
    now : Record
        With the fingerprint, inputs and codings that they would have now.

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
        there = Record.read(path)
        file = there.statistics
        if file is None or sha256_of(path.parent / file.file, EvaluationError) != file.sha256:
            return False
    except EvaluationError:
        return False
    if there.inputs != now.inputs or there.codings not in (None, now.codings):
        raise EvaluationError(
            f"{path} was measured on other files or with other settings; choose another output folder, or --overwrite."
        )
    return there.fingerprint == now.fingerprint
