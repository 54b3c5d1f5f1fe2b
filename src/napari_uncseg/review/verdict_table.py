"""Verdicts, and the answers of two reviewers, as tables for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from napari_uncseg.io.files import write_files
from napari_uncseg.review.agreement import Answers
from napari_uncseg.review.verdicts import FindingVerdict, Record, StudyVerdict

_FIELDS = dict.fromkeys(field.name for kind in (StudyVerdict, FindingVerdict) for field in fields(kind))
_COLUMNS = tuple(dict.fromkeys(("kind", *(name for name in _FIELDS if name != "schema"))))


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
    columns = (
        *("study", "about", "map", "region", "voxel", "same_result", "reviewer_1", "reviewer_2"),
        *("answer_1", "answer_2", "same", "comment_1", "comment_2"),
    )
    pair = {"reviewer_1": first, "reviewer_2": second}
    rows = (
        {
            **{name: getattr(each, name) for name in ("study", "about", "map", "region", "voxel")},
            **{name: "yes" if getattr(each, name) else "no" for name in ("same_result", "same")},
            **{"answer_1": each.first, "answer_2": each.second},
            **{"comment_1": each.first_comment, "comment_2": each.second_comment},
        }
        for each in answers
    )
    _write(_table(columns, ({**pair, **row} for row in rows)), path)


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _write(text: str, path: Path) -> None:
    write_files({path: text.encode("utf-8-sig")})  # the mark tells spreadsheets that it is UTF-8


def _cell(value: Any) -> Any:
    """A voxel as ``x y z``, and a text so that no spreadsheet runs it as a formula."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
