"""Verdicts, and the answers of two reviewers, as tables for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from napari_uncseg.io.files import write_files
from napari_uncseg.review.agreement import Answers
from napari_uncseg.review.verdicts import FindingVerdict, Record, StudyVerdict

_FIELDS = dict.fromkeys(field.name for kind in (StudyVerdict, FindingVerdict) for field in fields(kind))
_COLUMNS = ("kind", *(name for name in _FIELDS if name not in ("kind", "schema")))

_ANSWERS = (
    *("study", "about", "map", "region", "voxel", "same_result", "reviewer_1", "reviewer_2"),
    *("answer_1", "answer_2", "same", "comment_1", "comment_2"),
)
_RENAMED = {"first": "answer_1", "second": "answer_2", "first_comment": "comment_1", "second_comment": "comment_2"}


def csv_text(records: Iterable[Record]) -> str:
    """Records as a table: one row each, in the order given, with a header.

    Parameters
    ----------
    records : iterable of StudyVerdict or FindingVerdict
        All of a log for its history, or :func:`latest` for what stands.

    Returns
    -------
    str
        Comma-separated, quoted as RFC 4180 has it; the voxel is ``x y z``. What a spreadsheet would take for a formula
        gets a leading apostrophe.
    """
    return _table(_COLUMNS, map(asdict, records))


def export_csv(records: Iterable[Record], path: Path) -> None:
    """Write :func:`csv_text`, at once or not at all; SaveError when the disk cannot take it."""
    _write(csv_text(records), path)


def export_answers(answers: Iterable[Answers], first: str, second: str, path: Path) -> None:
    """Write what two reviewers both answered: one row each, in the order given; quoted as :func:`csv_text`.

    Parameters
    ----------
    answers : iterable of Answers
    first, second : str
        Reviewers; they have columns of their own, so that tables of several pairs can be joined.
    path : Path
        File to write, at once or not at all.

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    told = ({**asdict(each), "same": each.same, "reviewer_1": first, "reviewer_2": second} for each in answers)
    rows = ({_RENAMED.get(name, name): value for name, value in row.items()} for row in told)
    _write(_table(_ANSWERS, rows), path)


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    import pandas as pd  # a third of a second that the first picture of a review need not wait for

    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    text: str = frame.map(_cell).to_csv(index=False, lineterminator="\n")
    return text


def _write(text: str, path: Path) -> None:
    write_files({path: text.encode("utf-8-sig")})  # the mark tells spreadsheets that it is UTF-8


def _cell(value: Any) -> Any:
    """A voxel as ``x y z``, a truth in a word, and a text so that no spreadsheet runs it as a formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
