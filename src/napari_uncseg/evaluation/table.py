"""The long table of an evaluation: one number a row, with everything needed to read it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

Aggregation = Literal["case", "pooled", "mean", "median"]

COLUMNS = ("case", "metric", "region", "map", "voxel_set", "aggregation", "bins", "count", "value", "unit", "undefined")
"""Columns of the table and of ``metrics.csv``. Text that says nothing is empty, ``bins`` may be missing."""

KEYS = ["metric", "region", "map", "voxel_set", "unit", "bins"]
"""What two rows must share to be averaged."""


@dataclass(frozen=True)
class MetricResult:
    """A number and what it says.

    Parameters
    ----------
    metric : str
        Name of the number, such as ``auroc``.
    value : float
        NaN when undefined.
    aggregation : {"case", "pooled", "mean", "median"}
        Of one case, of the voxels of all cases together, or over the values of the cases.
    case : str, optional
        The case's id when the aggregation is ``case``.
    region : Region, optional
    map : str, optional
        Name of the uncertainty map.
    voxel_set : VoxelSet, optional
    unit : str
        Empty for fractions and other plain numbers.
    bins : int, optional
        Bins of the histogram behind the number.
    count : int
        Voxels behind it for ``case`` and ``pooled``, defined cases for ``mean`` and ``median``.
    undefined : str
        Why the value is NaN ("no errors", "empty reference" …); for ``mean`` and ``median`` how many cases are
        undefined ("3 of 5 undefined").
    """

    metric: str
    value: float
    aggregation: Aggregation = "case"
    case: str | None = None
    region: Region | None = None
    map: str | None = None
    voxel_set: VoxelSet | None = None
    unit: str = ""
    bins: int | None = None
    count: int = 0
    undefined: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)


def to_frame(results: Iterable[MetricResult]) -> pd.DataFrame:
    """Results as a table.

    Parameters
    ----------
    results : iterable of MetricResult

    Returns
    -------
    pandas.DataFrame
        A row each, in the columns :data:`COLUMNS`; undefined values are ``nan``.
    """
    rows = list(results)
    frame = pd.DataFrame({name: [getattr(row, name) for row in rows] for name in COLUMNS})
    text = [name for name in COLUMNS if name not in ("bins", "count", "value")]
    frame[text] = frame[text].astype(object).fillna("").map(str).astype(object)
    return frame.astype({"bins": "Int64", "count": "int64", "value": "float64"})


def over_cases(frame: pd.DataFrame) -> pd.DataFrame:
    """Means and medians over the cases whose value is defined.

    Parameters
    ----------
    frame : pandas.DataFrame
        See :func:`to_frame`; rows that are not of single cases are left out.

    Returns
    -------
    pandas.DataFrame
        A mean and a median for each of :data:`KEYS`. ``count`` is the number of defined cases, and ``undefined``
        counts the others; ``nan`` when none is defined.
    """
    groups = frame[frame["aggregation"] == "case"].groupby(KEYS, sort=False, dropna=False)["value"]
    found = groups.agg(["mean", "median", "count", "size"]).reset_index()
    counts = zip(found["count"], found["size"], strict=True)
    found["undefined"] = [f"{size - count} of {size} undefined" if count < size else "" for count, size in counts]
    both = [found.assign(aggregation=name, value=found[name], case="") for name in ("mean", "median")]
    return pd.concat(both, ignore_index=True)[list(COLUMNS)]


def select(frame: pd.DataFrame, **criteria: Any) -> pd.DataFrame:
    """Rows that meet all criteria.

    Parameters
    ----------
    frame : pandas.DataFrame
        See :func:`to_frame`.
    **criteria
        Column -> what it must equal; None stands for text that says nothing.

    Returns
    -------
    pandas.DataFrame
        In the order given.
    """
    chosen = np.ones(len(frame), dtype=bool)
    for name, wanted in criteria.items():
        chosen &= (frame[name] == ("" if wanted is None else str(wanted))).to_numpy(dtype=bool)
    return frame[chosen]


def result_of(row: Mapping[str, Any]) -> MetricResult:
    """A row of the table as a result."""
    values = {field.name: row[field.name] for field in fields(MetricResult)}
    values |= {name: values[name] or None for name in ("case", "map")}
    values["region"] = Region(values["region"]) if values["region"] else None
    values["voxel_set"] = VoxelSet(values["voxel_set"]) if values["voxel_set"] else None
    values["bins"] = None if pd.isna(values["bins"]) else int(values["bins"])
    return MetricResult(**values | {"value": float(values["value"]), "count": int(values["count"])})


def by_case(frame: pd.DataFrame, **criteria: Any) -> pd.Series:
    """Values of single cases that are defined and meet the criteria, by the case's id."""
    found = select(frame, aggregation="case", **criteria)
    return found.set_index("case")["value"].dropna()


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain JSON values; what is undefined, or of no case, region, map or voxel set, is None."""
    plain = frame.astype(object).where(frame.notna(), None)
    names = [name for name in ("case", "region", "map", "voxel_set") if name in frame]
    plain[names] = plain[names].replace({"": None})
    records: list[dict[str, Any]] = plain.to_dict("records")
    return records


def csv_text(table: pd.DataFrame | Sequence[MetricResult]) -> str:
    """The long table as CSV: one number a line, undefined ones as ``nan`` with the reason.

    Parameters
    ----------
    table : pandas.DataFrame or sequence of MetricResult

    Returns
    -------
    str
        Lines end in a newline; the first names the columns, :data:`COLUMNS`.
    """
    frame = table if isinstance(table, pd.DataFrame) else to_frame(table)
    frame = frame.assign(bins=frame["bins"].astype("string").fillna(""))[list(COLUMNS)]
    text: str = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n", na_rep="nan")
    return text
