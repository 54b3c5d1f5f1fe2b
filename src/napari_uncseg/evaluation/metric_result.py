"""The value: one number of an evaluation with everything needed to read it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.labels import Region

Aggregation = Literal["case", "pooled", "mean", "median"]


@dataclass(frozen=True)
class Value:
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

    @property
    def key(self) -> tuple[str, Region | None, str | None, VoxelSet | None, str, int | None]:
        """What two values must share to be averaged."""
        return self.metric, self.region, self.map, self.voxel_set, self.unit, self.bins


def mean_of(values: Sequence[Value]) -> Value:
    """Mean over the cases whose value is defined.

    Parameters
    ----------
    values : sequence of Value
        One per case, all of one metric, region, map, voxel set, unit and number of bins.

    Returns
    -------
    Value
        ``count`` is the number of defined cases; NaN when there is none.

    Raises
    ------
    EvaluationError
        When there are no values or they do not belong together.
    """
    return _over_cases(values, "mean", statistics.fmean)


def median_of(values: Sequence[Value]) -> Value:
    """Median over the cases whose value is defined; as :func:`mean_of`."""
    return _over_cases(values, "median", statistics.median)


def _over_cases(
    values: Sequence[Value], aggregation: Aggregation, summarise: Callable[[Sequence[float]], float]
) -> Value:
    if not values:
        raise EvaluationError(f"There is no {aggregation} of no values; evaluate at least one case.")
    if len({value.key for value in values}) > 1:
        names = " and ".join(sorted({value.metric for value in values}))
        raise EvaluationError(f"Values of {names} of different regions, maps or voxel sets have no {aggregation}.")
    defined = [value.value for value in values if value.defined]
    missing = len(values) - len(defined)
    return replace(
        values[0],
        value=float(summarise(defined)) if defined else math.nan,
        aggregation=aggregation,
        case=None,
        count=len(defined),
        undefined=f"{missing} of {len(values)} undefined" if missing else "",
    )
