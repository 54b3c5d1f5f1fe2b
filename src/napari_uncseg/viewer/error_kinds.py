"""The two kinds of errors: what a segmentation missed, and what it has too much."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.maps import MapName
from napari_uncseg.uncertainty.prediction_maps import map_values

MISSED, EXTRA = 1, 2

ERROR_NAMES: Mapping[int, str] = {MISSED: "missed", EXTRA: "extra"}

ERROR_COLOURS: Mapping[int, tuple[float, float, float, float]] = {
    MISSED: (0.90, 0.13, 0.30, 1.0),
    EXTRA: (0.25, 0.55, 1.0, 1.0),
}
"""Crimson and blue: told apart in every kind of colour vision."""

ERROR_VALUES: Mapping[int, float] = {MISSED: 1.0, EXTRA: 0.5}
"""Values of a layer that shows errors, which its colours tell apart."""


def error_kinds(prediction: Prediction, name: MapName) -> npt.NDArray[np.uint8]:
    """Kind of each error of a map of errors.

    Parameters
    ----------
    prediction : Prediction
    name : MapName
        An error map of the prediction.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        :data:`MISSED` where the region was not predicted, :data:`EXTRA` where it was; 0 without an error.
    """
    predicted = region_masks(prediction.segmentation)[REGIONS.index(name.region)]
    return np.where(map_values(prediction, name) > 0, np.where(predicted, EXTRA, MISSED), 0).astype(np.uint8)
