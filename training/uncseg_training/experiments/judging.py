"""How the experiments judge a method on the parts of a cohort, by what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_uncseg.evaluation.recalibration import counts_of, judge
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.recalibration.fit import fit
from napari_uncseg.uncertainty.recalibration.models import IDENTITY, Method, MonotoneMap, Temperature
from uncseg_training.experiments.records import CALIBRATED_SETS, Record


def temperatures(calibration: Record) -> dict[Region, MonotoneMap]:
    """One temperature per region, fitted on the voxels of the brain of calibration studies."""
    return {
        region: fit(Method.TEMPERATURE, counts_of(calibration.steps[region, CALIBRATED_SETS[0]].total())).map
        for region in REGIONS
    }


@dataclass(frozen=True, eq=False)
class Measured:
    """One method on all parts of a cohort, each predicted by networks that have not met it.

    What is fitted (temperatures, thresholds, expected Dice) is fitted for each part on the others: for a fold on the
    other folds, for unseen phantoms on those of the calibration.

    Parameters
    ----------
    parts : mapping of str to Record
        By name.
    judged : sequence of str
        The parts that tables are made of; the others are there to fit on.
    """

    parts: Mapping[str, Record]
    judged: Sequence[str]

    @cached_property
    def record(self) -> Record:
        """All judged parts together."""
        return Record.of_all([self.parts[name] for name in self.judged])

    @cached_property
    def part_of(self) -> dict[str, str]:
        """Part of every study."""
        return {study: name for name, record in self.parts.items() for study in record.studies()}

    def others(self, part: str) -> Record | None:
        """What is fitted on for a part; None where there is no other."""
        rest = [record for name, record in self.parts.items() if name != part]
        return Record.of_all(rest) if rest else None

    @cached_property
    def temperatures(self) -> dict[str, dict[Region, MonotoneMap]]:
        """For each judged part, fitted on the others."""
        each = {part: self.others(part) for part in self.judged}
        return {part: temperatures(others) for part, others in each.items() if others is not None}

    def temperature(self, region: Region) -> float | None:
        """Mean over the judged parts; None where nothing could be fitted."""
        found = [each[region] for each in self.temperatures.values()]
        known = [each.temperature for each in found if isinstance(each, Temperature)]
        return float(np.mean(known)) if known else None

    def changes(self, region: Region) -> dict[str, MonotoneMap]:
        """What recalibrates the region in each judged study; empty where nothing could be fitted."""
        return {
            study: each[region]
            for part, each in self.temperatures.items()
            for study in self.parts[part].steps[region, CALIBRATED_SETS[0]].cases
        }

    def calibration_error(self, region: Region, voxels: VoxelSet, *, scaled: bool = False) -> tuple[float, float]:
        """Class-wise ECE of a region, see :func:`calibration_error`; NaN where there is nothing to scale by."""
        changes = self.changes(region) if scaled else {}
        if scaled and not changes:
            return math.nan, math.nan
        return calibration_error(self.record, region, voxels, changes)


def calibration_error(
    record: Record, region: Region, voxels: VoxelSet, changes: Mapping[str, MonotoneMap]
) -> tuple[float, float]:
    """Class-wise ECE of a region, as it is or recalibrated: of the voxels of all studies together, and mean per study.

    15 equal bins of 0..1; a study without a voxel in the set has none. ``changes`` recalibrate the studies they name.
    """
    counts = {name: counts_of(statistic) for name, statistic in record.steps[region, voxels].cases.items()}
    pairs = [(changes.get(name, IDENTITY), each) for name, each in counts.items()]
    pooled = judge(pairs)["ece_classwise"]
    defined = [value for value in (judge([pair])["ece_classwise"] for pair in pairs) if not math.isnan(value)]
    return pooled, float(np.mean(defined)) if defined else math.nan
