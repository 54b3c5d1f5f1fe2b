"""Which maps a prediction has for each region, stored or derived from its probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from napari_uncseg.arrays import Floats32
from napari_uncseg.errors import UnknownMap
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.uncertainty.measures import bernoulli_variance, entropy

DERIVED: Mapping[str, Callable[[Any], Any]] = {Measure.ENTROPY: entropy, Measure.VARIANCE: bernoulli_variance}
"""Measures that the probabilities of a region tell; the variance when they are those of a single pass."""


def derives(measure: str, members: int) -> bool:
    """Whether probabilities that are the mean of so many members tell a measure."""
    return measure in DERIVED and (measure != Measure.VARIANCE or members == 1)


def maps_of(prediction: Prediction, region: Region) -> tuple[MapName, ...]:
    """Maps that a region has: those of the prediction, and what its probabilities tell.

    Parameters
    ----------
    prediction : Prediction
    region : Region

    Returns
    -------
    tuple of MapName
        The most telling first. ``variance`` is derived for one pass only: that between members is nowhere else.
    """
    stored = [name for name in map(MapName.parse, prediction.maps) if name.region is region]
    derived = [MapName(measure, region) for measure in DERIVED if derives(measure, prediction.member_count)]
    return tuple(sorted(dict.fromkeys((*stored, *derived)), key=lambda name: name.place))


def map_values(prediction: Prediction, name: MapName) -> Floats32:
    """Values of a map.

    Parameters
    ----------
    prediction : Prediction
    name : MapName
        One of :func:`maps_of`.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        The prediction's own array where it has one; else a new one.

    Raises
    ------
    UnknownMap
        When the prediction has no such map.
    """
    if str(name) in prediction.maps:
        return prediction.maps[str(name)]
    if not derives(name.measure, prediction.member_count):
        known = ", ".join(map(str, maps_of(prediction, name.region))) or "none"
        raise UnknownMap(f"The result of {prediction.study_id} has no map {str(name)!r} (there is: {known}).")
    probability = prediction.probabilities[REGIONS.index(name.region)]
    return np.asarray(DERIVED[name.measure](probability), dtype=np.float32)


def map_upper(prediction: Prediction, name: MapName) -> float:
    """Largest value a map can take, or does take when nothing is known about it."""
    return name.upper or name.upper_of(map_values(prediction, name))
