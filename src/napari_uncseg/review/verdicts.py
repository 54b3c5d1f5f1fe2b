"""What a reviewer decided, as an append-only log: one line of JSON per decision, nothing ever overwritten."""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_uncseg.errors import SaveError, reason_of
from napari_uncseg.io.files import exists, is_dir, read_bytes

LOG_NAME = "uncseg-verdicts.jsonl"
"""Name of the log, in the folder that holds a folder per study."""

DIFFICULTIES = (1, 2, 3, 4, 5)
"""From easy to hard."""


class Decision(StrEnum):
    """What is to become of a result."""

    ACCEPT = "accept"
    NEEDS_CORRECTION = "needs correction"
    REJECT = "reject"


class Judgement(StrEnum):
    """What a finding turned out to be."""

    REAL_ERROR = "real error"
    FINE = "fine"
    UNSURE = "unsure"


class Status(StrEnum):
    """Where the review of a study stands; ``flagged``: findings were judged errors or unsure, the study not yet."""

    NEW = "new"
    FLAGGED = "flagged"
    ACCEPTED = "accepted"
    NEEDS_CORRECTION = "needs correction"
    REJECTED = "rejected"


STATUS_OF: Mapping[Decision, Status] = {
    Decision.ACCEPT: Status.ACCEPTED,
    Decision.NEEDS_CORRECTION: Status.NEEDS_CORRECTION,
    Decision.REJECT: Status.REJECTED,
}
"""Where each decision leaves a study."""


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, AfterValidator(_is_time)]


@dataclass(frozen=True)
class StudyVerdict:
    """A decision about a result.

    Parameters
    ----------
    study : str
        The study's id.
    reviewer : str
    time : str
        When it was taken, ISO 8601 in UTC (:func:`now`).
    decision : Decision, optional
        None withdraws an earlier decision.
    difficulty : int, optional
        1 (easy) to 5 (hard).
    comment : str
    result : str
        Fingerprint of the result (:func:`napari_uncseg.io.provenance.fingerprint`); empty when it has none.
    kind, schema
        Which records these are, and the version of the format.
    """

    study: str
    reviewer: str
    time: Time
    decision: Decision | None
    difficulty: Annotated[int, Field(ge=1, le=5)] | None = None
    comment: str = ""
    result: str = ""
    kind: Literal["study"] = "study"
    schema: Literal[1] = 1


@dataclass(frozen=True)
class FindingVerdict:
    """A judgement of one finding.

    Parameters
    ----------
    study, reviewer, time : str
        As for :class:`StudyVerdict`.
    judgement : Judgement, optional
        None withdraws an earlier judgement.
    map : str
        Name of the map the finding was cut out of.
    region : str
        Region it speaks of.
    voxel : tuple of int
        The finding's voxel, in the file's order; with map and region it identifies the finding at any threshold.
    threshold : float
        At which it was seen, in the map's unit.
    volume_ml, peak : float
        Its volume and its largest value.
    comment : str
    result : str
        Fingerprint of the result.
    kind, schema : as for :class:`StudyVerdict`.
    """

    study: str
    reviewer: str
    time: Time
    judgement: Judgement | None
    map: str
    region: str
    voxel: tuple[int, int, int]
    threshold: float
    volume_ml: float
    peak: float
    comment: str = ""
    result: str = ""
    kind: Literal["finding"] = "finding"
    schema: Literal[1] = 1


Record: TypeAlias = StudyVerdict | FindingVerdict
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


@dataclass(frozen=True)
class Log:
    """What a log holds.

    Parameters
    ----------
    records : tuple of StudyVerdict or FindingVerdict
        In the order in which they were written.
    problems : tuple of str
        Lines that could not be read, a sentence each; nothing is left out without one.
    """

    records: tuple[Record, ...] = ()
    problems: tuple[str, ...] = ()


def log_path(results: Path) -> Path:
    """Log of a folder of results."""
    return Path(results) / LOG_NAME


def now() -> str:
    """The moment of the call, ISO 8601 in UTC to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def append(path: Path, *records: Record) -> None:
    """Add records to a log and wait until the disk has them.

    Parameters
    ----------
    path : Path
        The log; it is made when missing, its folder is not.
    *records : StudyVerdict or FindingVerdict

    Raises
    ------
    SaveError
        When the disk cannot take them. What stood in the log before is still there.

    Notes
    -----
    A torn last line that an earlier crash left is closed with a line break first, so that it spoils nothing after it.
    """
    text = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    if not is_dir(path.parent, SaveError):
        raise SaveError(f"The folder {path.parent} is gone; bring it back, and give the verdict again.")
    try:
        with path.open("a+b") as log:
            torn = _is_torn(log)
            log.write((b"\n" if torn else b"") + text.encode())
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        why = reason_of(error)
        do = "make room, or move away what stands there, and repeat it"
        raise SaveError(f"The verdict cannot be written to {path} ({why}); {do}.") from error


def read_log(path: Path) -> Log:
    """Read a log.

    Parameters
    ----------
    path : Path
        A missing file is an empty log.

    Returns
    -------
    Log
        With a problem for each line that is none of ours; a torn last line, as a crash leaves it, is one of them.

    Raises
    ------
    StudyError
        When the file cannot be read at all.
    """
    lines = read_bytes(path).removeprefix(BOM_UTF8).split(b"\n") if exists(path) else []
    records: list[Record] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(_RECORD.validate_json(line))
        except ValidationError as error:
            torn = number == len(lines)
            why = error.errors()[0]["msg"]
            what = "is torn: a crash or a full disk cut it short" if torn else f"is no verdict ({why})"
            problems.append(f"Line {number} of {path} {what}; it is left out, all others are read.")
    return Log(tuple(records), tuple(problems))


def latest(records: Iterable[Record]) -> list[Record]:
    """Keep what stands: the last record per study or finding and reviewer, without those that were withdrawn.

    Parameters
    ----------
    records : iterable of StudyVerdict or FindingVerdict
        In the order in which they were written.

    Returns
    -------
    list of StudyVerdict or FindingVerdict
        In the order in which each was first given.
    """
    standing = {_subject(record): record for record in records}
    return [record for record in standing.values() if _answer(record) is not None]


def verdict_of(
    records: Iterable[Record], study: str, reviewer: str | None = None, *, result: str | None = None
) -> StudyVerdict | None:
    """Verdict on a study that stands.

    Parameters
    ----------
    records : iterable of StudyVerdict or FindingVerdict
        In the order in which they were written.
    study : str
        The study's id.
    reviewer : str, optional
        Whose verdict; by default that of whoever decided last.
    result : str, optional
        Fingerprint of a result (:func:`napari_uncseg.io.provenance.fingerprint`): what was said of another result does
        not count. A record that names no result counts for each. By default all results count.

    Returns
    -------
    StudyVerdict or None
        None while there is none.
    """
    return _standing((record for record in records if speaks_of(record, result)), study, reviewer)


def earlier_verdict(
    records: Iterable[Record], study: str, result: str | None, reviewer: str | None = None
) -> StudyVerdict | None:
    """Verdict on another result of a study than this one, as a new run leaves it behind; None while there is none.

    Parameters
    ----------
    records, study, reviewer
        As for :func:`verdict_of`.
    result : str, optional
        Fingerprint of the result that stands now; with None there is no other.
    """
    return _standing((record for record in records if not speaks_of(record, result)), study, reviewer)


def status_of(
    records: Sequence[Record], study: str, reviewer: str | None = None, *, result: str | None = None
) -> Status:
    """Where the review of a study, or of one result of it, stands; parameters as for :func:`verdict_of`."""
    counted = [record for record in records if speaks_of(record, result)]
    verdict = _standing(counted, study, reviewer)
    if verdict is not None and verdict.decision is not None:
        return STATUS_OF[verdict.decision]
    open_questions = any(
        isinstance(record, FindingVerdict)
        and record.study == study
        and reviewer in (None, record.reviewer)
        and record.judgement is not Judgement.FINE
        for record in latest(counted)
    )
    return Status.FLAGGED if open_questions else Status.NEW


def speaks_of(record: Record, result: str | None) -> bool:
    """Whether a record counts for a result; logs of old name none."""
    return result is None or record.result in ("", result)


def _standing(records: Iterable[Record], study: str, reviewer: str | None) -> StudyVerdict | None:
    found: dict[str, StudyVerdict] = {}
    for record in records:
        if isinstance(record, StudyVerdict) and record.study == study and reviewer in (None, record.reviewer):
            found.pop(record.reviewer, None)
            if record.decision is not None:
                found[record.reviewer] = record
    return list(found.values())[-1] if found else None


def _is_torn(log: BinaryIO) -> bool:
    end = log.seek(0, os.SEEK_END)
    log.seek(max(end - 1, 0))
    return log.read(1) not in (b"", b"\n")


def _subject(record: Record) -> tuple[object, ...]:
    """What a record speaks of, and who speaks: a later record of the same replaces it."""
    if isinstance(record, StudyVerdict):
        return record.study, record.reviewer
    return record.study, record.reviewer, record.map, record.region, record.voxel


def _answer(record: Record) -> Decision | Judgement | None:
    return record.decision if isinstance(record, StudyVerdict) else record.judgement
