"""The metric: fed with cases, or with what was measured of them elsewhere, read per case and pooled."""

from __future__ import annotations

import io
import json
import math
import zipfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from napari_uncseg.arrays import Array
from napari_uncseg.errors import EvaluationError, reason_of
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

Statistic = dict[str, Array]
"""What a metric keeps of a case: small arrays of integers or float64, which add up where the metric is additive."""


@dataclass(eq=False)
class Metric(ABC):
    """Something measured on every case.

    A subclass is a dataclass whose fields are its settings (``@dataclass(eq=False)``); it says how a case becomes a
    statistic and how a statistic is read. Keeping cases and pooling are done here.
    """

    name: ClassVar[str]
    """Name of the kind of metric."""

    additive: ClassVar[bool] = False
    """Whether the sum of the cases' statistics is the statistic of all their voxels together."""

    _packed: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for setting, kind in (("region", Region), ("voxel_set", VoxelSet)):
            if isinstance(getattr(self, setting, None), str):
                setattr(self, setting, kind(getattr(self, setting)))

    @abstractmethod
    def measure(self, case: Case) -> Statistic:
        """Statistic of a case; changes nothing."""

    @abstractmethod
    def read(self, statistic: Statistic) -> list[MetricResult]:
        """Results of a statistic, with region, map, voxel set, bins and count; aggregation and case are set outside."""

    def result(
        self, metric: str, value: float, count: int, undefined: str = "", voxel_set: VoxelSet | None = None, **more: Any
    ) -> MetricResult:
        """A result for this metric's region and map.

        Parameters
        ----------
        metric : str
            Name of the number.
        value : float
        count : int
            Voxels behind it.
        undefined : str
            Why it is undefined, if it is ``nan``.
        voxel_set : VoxelSet, optional
            That of the metric when left out.
        **more
            ``unit`` and ``bins``.

        Returns
        -------
        MetricResult
        """
        of: dict[str, Any] = {name: getattr(self, name, None) for name in ("region", "map")}
        voxels = voxel_set or getattr(self, "voxel_set", None)
        why = undefined if math.isnan(value) else ""
        return MetricResult(metric, value, count=count, undefined=why, voxel_set=voxels, **of, **more)

    def settings(self) -> dict[str, Any]:
        """Name and settings as JSON values."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}
        return {"metric": self.name, **json.loads(json.dumps(content))}

    @property
    def key(self) -> str:
        """Name and settings as one line of JSON: the same line, the same meaning of its statistics."""
        return json.dumps(self.settings(), sort_keys=True, separators=(",", ":"))

    def add(self, case: Case) -> None:
        """Measure a case and keep its statistic.

        Parameters
        ----------
        case : Case

        Raises
        ------
        EvaluationError
            When a case of this id is there already, or the case lacks what the metric needs.
        """
        self.put(case.id, self.measure(case))

    def put(self, case_id: str, statistic: Statistic) -> None:
        """Keep the statistic of a case that was measured elsewhere.

        Parameters
        ----------
        case_id : str
        statistic : dict of str to ndarray
            What :meth:`measure` gave.

        Raises
        ------
        EvaluationError
            When a case of this id is there already.
        """
        if case_id in self._packed:
            raise EvaluationError(f"Case {case_id} is there already; give every study one id of its own.")
        # Compressed, because histograms of thousands of studies are many small numbers and more zeros.
        self._packed[case_id] = _pack(statistic)

    def without(self, cases: Collection[str]) -> Self:
        """A copy that has not seen some cases."""
        other = copy(self)
        other._packed = {case_id: packed for case_id, packed in self._packed.items() if case_id not in cases}
        return other

    @property
    def cases(self) -> Mapping[str, Statistic]:
        """Statistic of every case by its id, in the order they came."""
        return _Statistics(self._packed)

    def per_case(self) -> list[MetricResult]:
        """Results of every case."""
        read = ((case_id, self.read(statistic)) for case_id, statistic in self.cases.items())
        return [replace(result, case=case_id) for case_id, results in read for result in results]

    def total(self) -> Statistic:
        """Sum of all statistics, in int64 and float64.

        Raises
        ------
        EvaluationError
            When the metric is not additive, or has no cases.
        """
        if not self.additive or not self._packed:
            why = "has seen no case" if self.additive else "cannot be pooled; use its mean or median"
            raise EvaluationError(f"The metric {self.name!r} {why}.")
        total: Statistic = {}
        for statistic in self.cases.values():
            total = {key: total[key] + array if total else array for key, array in statistic.items()}
        return total

    def pooled(self) -> list[MetricResult]:
        """Results of all voxels of all cases together: what :meth:`read` makes of the summed statistics.

        Raises
        ------
        EvaluationError
            As :meth:`total`.
        """
        return [replace(result, aggregation="pooled") for result in self.read(self.total())]


def to_npz(statistics: Iterable[Statistic], **more: Array) -> bytes:
    """Content of an ``.npz`` file of statistics, each array under ``<number>/<name>``, and of other arrays by name."""
    arrays = {f"{number}/{name}": array for number, each in enumerate(statistics) for name, array in each.items()}
    return _pack(arrays | more, level=6)


def from_npz(data: bytes, path: Path) -> tuple[dict[int, Statistic], Statistic]:
    """Statistics by number, and the other arrays, of what :func:`to_npz` gave; no pickle is ever opened.

    Raises
    ------
    EvaluationError
        When the bytes are not those of such a file.
    """
    statistics: dict[int, Statistic] = defaultdict(dict)
    more: Statistic = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            for name, array in file.items():
                number, _, part = name.partition("/")
                (statistics[int(number)] if part else more)[part or name] = array
    except Exception as error:  # what zipfile, zlib and numpy raise depends on the bytes that they find
        raise EvaluationError(f"{path} holds no statistics ({reason_of(error)}); evaluate the study again.") from error
    return statistics, more


class _Statistics(Mapping[str, Statistic]):
    """Statistics by case, unpacked as they are looked at."""

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        self._packed = packed

    def __getitem__(self, case_id: str) -> Statistic:
        with np.load(io.BytesIO(self._packed[case_id]), allow_pickle=False) as archive:
            return dict(archive)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _pack(arrays: Statistic, level: int = 1) -> bytes:
    """As numpy's ``savez_compressed``, which knows no level: 1 takes a fifth of the time of 6, the usual one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
