"""The metric: fed with cases, merged across processes, read per case and pooled."""

from __future__ import annotations

import io
import json
import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.case import Case
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet

Statistic = dict[str, npt.NDArray[Any]]
"""What a metric keeps of a case: small arrays of integers or float64, which add up where the metric is additive."""


@dataclass(eq=False)
class Metric(ABC):
    """Something measured on every case.

    A subclass is a dataclass whose fields are its settings (``@dataclass(eq=False)``); it says how a case becomes a
    statistic and how a statistic is read. Keeping cases, merging and pooling are done here.
    """

    name: ClassVar[str]
    """Name of the kind of metric."""

    additive: ClassVar[bool] = False
    """Whether the sum of the cases' statistics is the statistic of all their voxels together."""

    meanings: ClassVar[Mapping[str, str]] = {}
    """Name of a number, or a pattern of names -> what it means; the glossary of reports and documentation."""

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

    def results(
        self,
        numbers: Mapping[str, float],
        count: int,
        undefined: str = "",
        *,
        units: Mapping[str, str] = MappingProxyType({}),
        voxel_set: VoxelSet | None = None,
        bins: int | None = None,
    ) -> list[MetricResult]:
        """Results of this metric's region and map.

        Parameters
        ----------
        numbers : mapping of str to float
            Name of a number -> its value.
        count : int
            Voxels behind them.
        undefined : str
            Why those that are ``nan`` are undefined.
        units : mapping of str to str
            Of numbers that are no plain ones.
        voxel_set : VoxelSet, optional
            That of the metric when left out.
        bins : int, optional

        Returns
        -------
        list of MetricResult
        """
        voxels = voxel_set or getattr(self, "voxel_set", None)
        region, name = getattr(self, "region", None), getattr(self, "map", None)
        return [
            MetricResult(metric, value, "case", None, region, name, voxels, units.get(metric, ""), bins, count, why)
            for metric, value in numbers.items()
            for why in (undefined if math.isnan(value) else "",)
        ]

    def settings(self) -> dict[str, Any]:
        """Name and settings as JSON values; metrics merge only when these are equal."""
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
        self._check_new(case.id)
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
        self._check_new(case_id)
        # Compressed, because histograms of thousands of studies are many small numbers and more zeros.
        self._packed[case_id] = _pack(statistic)

    def merge(self, other: Metric) -> None:
        """Take over the cases of a metric with the same settings.

        Parameters
        ----------
        other : Metric
            Left as it is.

        Raises
        ------
        EvaluationError
            When the settings differ or a case is in both.
        """
        if self.settings() != other.settings():
            raise EvaluationError(
                f"Results with other settings cannot be merged: {self.settings()} and {other.settings()}; evaluate "
                "all studies with the same ones."
            )
        for case_id in other._packed:
            self._check_new(case_id)
        self._packed.update(other._packed)

    @property
    def cases(self) -> Mapping[str, Statistic]:
        """Statistic of every case by its id, in the order they came."""
        return _Statistics(self._packed)

    def per_case(self) -> list[MetricResult]:
        """Results of every case."""
        return [
            replace(result, case=case_id)
            for case_id, statistic in self.cases.items()
            for result in self.read(statistic)
        ]

    def total(self) -> Statistic:
        """Sum of all statistics, in int64 and float64.

        Raises
        ------
        EvaluationError
            When the metric is not additive, or has no cases.
        """
        if not self.additive:
            raise EvaluationError(f"Cases of the metric {self.name!r} cannot be pooled; use their mean or median.")
        if not self._packed:
            raise EvaluationError(f"The metric {self.name!r} has seen no case; add one first.")
        total: Statistic = {}
        for statistic in self.cases.values():
            for key, array in statistic.items():
                total[key] = total[key] + array if key in total else array
        return total

    def pooled(self) -> list[MetricResult]:
        """Results of all voxels of all cases together: what :meth:`read` makes of the summed statistics.

        Raises
        ------
        EvaluationError
            As :meth:`total`.
        """
        return [replace(result, aggregation="pooled") for result in self.read(self.total())]

    def save(self, path: Path) -> None:
        """Write settings and statistics to an ``.npz`` file, under a temporary name first.

        Raises
        ------
        SaveError
            When the disk cannot take it.
        """
        arrays: Statistic = {"settings": np.array(json.dumps(self.settings())), "cases": np.array(list(self._packed))}
        for number, statistic in enumerate(self.cases.values()):
            arrays |= {f"{number}/{key}": array for key, array in statistic.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_files({Path(path): buffer.getvalue()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote; no pickle is ever opened.

        Raises
        ------
        EvaluationError
            When the file is missing, damaged, or of another metric.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                settings = json.loads(str(file["settings"]))
                ids = [str(case_id) for case_id in file["cases"]]
                statistics: list[Statistic] = [{} for _ in ids]
                for key in set(file.files) - {"settings", "cases"}:
                    number, _, name = key.partition("/")
                    statistics[int(number)][name] = file[key]
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise EvaluationError(f"{path} holds no saved metric; evaluate the study again.") from error
        kind = settings.pop("metric", None) if isinstance(settings, dict) else None
        if kind != cls.name:
            raise EvaluationError(f"{path} holds the metric {kind!r} where {cls.name!r} is needed.")
        try:
            metric = cls(**settings)
        except TypeError as error:
            raise EvaluationError(f"{path} holds settings of another version; evaluate the study again.") from error
        for case_id, statistic in zip(ids, statistics, strict=True):
            metric.put(case_id, statistic)
        return metric

    def _check_new(self, case_id: str) -> None:
        if case_id in self._packed:
            raise EvaluationError(f"Case {case_id} is there already; give every study one id of its own.")


class _Statistics(Mapping[str, Statistic]):
    """Statistics by case, unpacked as they are looked at."""

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        self._packed = packed

    def __getitem__(self, case_id: str) -> Statistic:
        with zipfile.ZipFile(io.BytesIO(self._packed[case_id])) as archive:
            return {
                key: np.lib.format.read_array(io.BytesIO(archive.read(key)), allow_pickle=False)
                for key in archive.namelist()
            }

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _pack(statistic: Statistic) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, array in statistic.items():
            with archive.open(key, "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
