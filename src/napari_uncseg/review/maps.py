"""Which maps a prediction has for each region, stored or derived from its probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import EvaluationError
from napari_uncseg.io.prediction import Prediction, map_info
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.uncertainty.maps import bernoulli_variance, entropy

Map = npt.NDArray[np.float32]

PROBABILITY_OF_ERROR: tuple[str, ...] = ("unc_output", "unc_output_unmasked", "one_minus_max", "error")
"""Maps whose value says how probable an error is: summed over voxels, it is a volume of errors to expect."""

_ORDER: tuple[str, ...] = (
    *("unc_output", "entropy", "mutual_information", "expected_entropy", "variance", "var1shot"),
    *("disagreement", "one_minus_max", "unc_output_unmasked", "error"),
)
_DERIVED: Mapping[str, Callable[[Any], Any]] = {"entropy": entropy, "variance": bernoulli_variance}


@dataclass(frozen=True)
class MapKey:
    """A map of a region.

    Parameters
    ----------
    measure : str
        What it measures: ``unc_output``, ``entropy`` ...
    region : Region
        What it speaks of.
    """

    measure: str
    region: Region = Region.WT

    @classmethod
    def parse(cls, name: str) -> MapKey:
        """Key of a name on disk: ``entropy`` is that of WT, ``entropy-et`` that of ET."""
        measure, _, suffix = name.rpartition("-")
        if measure and suffix.upper() in REGIONS:
            return cls(measure, Region(suffix.upper()))
        return cls(name)

    @property
    def name(self) -> str:
        """Name on disk."""
        return self.measure if self.region is Region.WT else f"{self.measure}-{self.region.lower()}"

    @property
    def is_probability_of_error(self) -> bool:
        """Whether the values are probabilities of an error."""
        return self.measure in PROBABILITY_OF_ERROR


def maps_of(prediction: Prediction, region: Region) -> tuple[MapKey, ...]:
    """Maps that a region has: those of the prediction, and what its probabilities tell.

    Parameters
    ----------
    prediction : Prediction
    region : Region

    Returns
    -------
    tuple of MapKey
        The most telling first. ``variance`` is derived for one pass only: that between members is nowhere else.
    """
    stored = [key for key in map(MapKey.parse, prediction.maps) if key.region is region]
    derived = [MapKey(measure, region) for measure in _DERIVED if _derives(prediction, measure)]
    place = {measure: number for number, measure in enumerate(_ORDER)}
    found = dict.fromkeys((*stored, *derived))
    return tuple(sorted(found, key=lambda key: place.get(key.measure, len(_ORDER))))


def map_values(prediction: Prediction, key: MapKey) -> Map:
    """Values of a map.

    Parameters
    ----------
    prediction : Prediction
    key : MapKey
        One of :func:`maps_of`.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        The prediction's own array where it has one; else a new one.

    Raises
    ------
    EvaluationError
        When the prediction has no such map.
    """
    if key.name in prediction.maps:
        return prediction.maps[key.name]
    if not _derives(prediction, key.measure):
        known = ", ".join(each.name for each in maps_of(prediction, key.region)) or "none"
        raise EvaluationError(f"The result of {prediction.study_id} has no map {key.name!r} (there is: {known}).")
    probability = prediction.probabilities[REGIONS.index(key.region)]
    return np.asarray(_DERIVED[key.measure](probability), dtype=np.float32)


def map_upper(prediction: Prediction, key: MapKey) -> float:
    """Largest value a map can take, or does take when nothing is known about it."""
    info = map_info(key.name)
    if info is not None:
        return info.upper
    return float(map_values(prediction, key).max(initial=0.0)) or 1.0


def map_title(prediction: Prediction, key: MapKey) -> str:
    """Title of a map for a reader, with its region."""
    return prediction.title(key.name)


def map_unit(key: MapKey) -> str:
    """Unit of a map's values, for a reader; empty when it is not known."""
    info = map_info(key.name)
    return info.unit if info is not None else ""


def _derives(prediction: Prediction, measure: str) -> bool:
    return measure in _DERIVED and (measure != "variance" or prediction.members == 1)
