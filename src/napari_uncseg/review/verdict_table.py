"""Verdicts as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from napari_uncseg.review.verdict import FindingVerdict, Record, StudyVerdict, plain_record
from napari_uncseg.study.atomic import write_files


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


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
