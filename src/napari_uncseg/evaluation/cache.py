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
from typing import Any

import numpy as np

from napari_uncseg import __version__
from napari_uncseg.errors import EvaluationError, reason_of
from napari_uncseg.evaluation.metric import Metric, Statistic
from napari_uncseg.io.files import write_files
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain

SCHEMA = 1

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
        Key of a metric, see :func:`metric_key` -> its statistic.
    inputs : mapping of str to str
        Role of a file -> sha256.
    brain : str
        Where the brain came from, a :class:`~napari_uncseg.evaluation.loading.BrainSource`.
    notes : tuple of str
        A sentence each.
    checks : mapping
        Numbers for the lint, see :class:`~napari_uncseg.evaluation.loading.ReadCase`.
    seconds : float
        From the first file read to the last metric measured.
    """

    study: str
    fingerprint: str
    statistics: Mapping[str, Statistic]
    inputs: Mapping[str, str]
    brain: str
    notes: tuple[str, ...] = ()
    checks: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def metric_key(metric: Metric) -> str:
    """A metric with its settings as one line of JSON: the same line, the same meaning of its statistics."""
    return json.dumps(metric.settings(), sort_keys=True, separators=(",", ":"))


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
    content = {
        "schema": SCHEMA,
        "research_use_only": RESEARCH_USE_ONLY,
        "study": record.study,
        "version": __version__,
        "fingerprint": record.fingerprint,
        "statistics": {"file": f"{record.study}.npz", "sha256": hashlib.sha256(data).hexdigest()},
        "metrics": list(record.statistics),
        "inputs": dict(record.inputs),
        "brain": record.brain,
        "notes": list(record.notes),
        "checks": dict(record.checks),
        "seconds": round(record.seconds, 2),
    }
    text = json.dumps(plain(content), indent=2) + "\n"
    write_files({path.parent / f"{record.study}.npz": data, path: text.encode()})
    return path


def read_record(path: Path) -> Record:
    """Read the statistics of a study.

    Raises
    ------
    EvaluationError
        When they are not there, damaged, or of another version of the format.
    """
    content = _content(path)
    npz = path.parent / content["statistics"]["file"]
    try:
        data = npz.read_bytes()
        if hashlib.sha256(data).hexdigest() != content["statistics"]["sha256"]:
            raise EvaluationError(
                f"{npz} is not the file that {path.name} was written with; remove both and start again."
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            statistics: dict[str, Statistic] = {str(key): {} for key in content["metrics"]}
            keys = list(statistics)
            for name in archive.files:
                number, _, part = name.partition("/")
                statistics[keys[int(number)]][part] = archive[name]
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{npz} cannot be read ({reason_of(error)}); remove it and start again.") from error
    return Record(
        study=content["study"],
        fingerprint=content["fingerprint"],
        statistics=statistics,
        inputs=content["inputs"],
        brain=content["brain"],
        notes=tuple(content["notes"]),
        checks=content["checks"],
        seconds=float(content["seconds"]),
    )


def stands(path: Path, fingerprint: str) -> bool:
    """Whether whole statistics with this fingerprint are there.

    Raises
    ------
    EvaluationError
        When whole statistics stand there with another fingerprint: they may be someone's.
    """
    try:
        content = _content(path)
        npz = path.parent / content["statistics"]["file"]
        whole: bool = hashlib.sha256(npz.read_bytes()).hexdigest() == content["statistics"]["sha256"]
    except (EvaluationError, OSError):
        return False
    if whole and content["fingerprint"] != fingerprint:
        raise EvaluationError(
            f"{path} was measured on other files, with other settings or by another version; choose another output "
            "folder, or --overwrite."
        )
    return whole


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "study": str,
    "fingerprint": str,
    "statistics": dict,
    "metrics": list,
    "inputs": dict,
    "brain": str,
    "notes": list,
    "checks": dict,
    "seconds": (int, float),
}


def _content(path: Path) -> dict[str, Any]:
    """The JSON of a record, checked."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} cannot be read ({reason_of(error)}); remove it and start again.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise EvaluationError(f"{path} holds no statistics that this version reads; remove it and start again.")
    file = content.get("statistics", {}).get("file") if isinstance(content.get("statistics"), dict) else None
    sound = all(isinstance(content.get(name), kind) for name, kind in _TYPES.items())
    if not sound or not isinstance(file, str) or Path(file).name != file or "\\" in file:
        raise EvaluationError(f"{path} is damaged; remove it and start again.")
    return content
