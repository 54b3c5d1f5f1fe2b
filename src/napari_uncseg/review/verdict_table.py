"""Verdicts, and what two reviewers said, as tables for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from napari_uncseg.io.files import write_files
from napari_uncseg.review.agreement import Answers
from napari_uncseg.review.verdicts import FindingVerdict, Record, StudyVerdict, plain_record


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
    columns = ["kind", *dict.fromkeys(field.name for kind in (StudyVerdict, FindingVerdict) for field in fields(kind))]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = plain_record(record)
        row["voxel"] = " ".join(str(index) for index in row.get("voxel") or ())
        writer.writerow({name: _harmless(row.get(name)) for name in columns})
    return out.getvalue()


def export_csv(records: Iterable[Record], path: Path) -> None:
    """Write :func:`csv_text`, at once or not at all; SaveError when the disk cannot take it."""
    write_files({path: csv_text(records).encode("utf-8-sig")})  # the mark tells spreadsheets that it is UTF-8


def answers_text(answers: Iterable[Answers], first: str, second: str) -> str:
    """What two reviewers both answered, as a table: one row each, in the order given; quoted as :func:`csv_text`.

    Parameters
    ----------
    answers : iterable of Answers
    first, second : str
        Reviewers; they are told in columns of their own, so that tables of several pairs can be joined.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *("study", "about", "map", "region", "voxel", "same_result", "reviewer_1", "reviewer_2"),
            *("answer_1", "answer_2", "same", "comment_1", "comment_2"),
        ]
    )
    for each in answers:
        voxel = " ".join(str(index) for index in each.voxel or ())
        same_result, same = ("yes" if said else "no" for said in (each.same_result, each.same))
        row = [each.study, each.about, each.map, each.region, voxel, same_result, first, second]
        row += [each.first, each.second, same, each.first_comment, each.second_comment]
        writer.writerow([_harmless(value) for value in row])
    return out.getvalue()


def export_answers(answers: Iterable[Answers], first: str, second: str, path: Path) -> None:
    """Write :func:`answers_text`, at once or not at all; SaveError when the disk cannot take it."""
    write_files({path: answers_text(answers, first, second).encode("utf-8-sig")})


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
