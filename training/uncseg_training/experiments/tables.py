"""Tables of the experiments: numbers with intervals, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_uncseg.io.files import write_files
from napari_uncseg.metrics.bootstrap import Interval


def told_interval(found: Interval) -> dict[str, float | int | None]:
    """An interval as JSON values: the estimate as ``mean``, ``low``, ``high`` (None where undefined) and ``count``."""
    numbers = {"mean": found.estimate, "low": found.low, "high": found.high}
    told: dict[str, float | int | None] = {
        key: round(value, 4) if math.isfinite(value) else None for key, value in numbers.items()
    }
    return told | {"count": found.count}


def write_table(rows: Sequence[Mapping[str, Any]], stem: Path, title: str) -> None:
    """Write ``<stem>.csv`` with every number, and ``<stem>.md`` below a title, without columns that are empty.

    Parameters
    ----------
    rows : sequence of mapping
        All with the same keys; what :func:`told_interval` gave takes four columns of the CSV and one of the other.
    stem : Path
    title : str
    """
    buffer = io.StringIO()
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(buffer, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    columns = [key for key in rows[0] if any(_told(row[key]) for row in rows)]
    lines = [title, "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_told(row[key]) for key in columns) + " |" for row in rows]
    write_files(
        {
            stem.with_suffix(".csv"): buffer.getvalue().encode(),
            stem.with_suffix(".md"): ("\n".join(lines) + "\n").encode(),
        }
    )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= (
            {f"{key} {part}": number for part, number in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return flat


def _told(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "" if value is None else str(value)
    if value["mean"] is None:
        return ""
    if value["low"] is None:
        return f"{value['mean']:.3f}"
    return f"{value['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
