"""What anyone's arrays must be; each refusal is one sentence that names the array, such as ``Case P1: the map 'x'``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import Array, Floats32, Labels
from napari_uncseg.errors import EvaluationError
from napari_uncseg.labels import Label
from napari_uncseg.maps import MapName

_SLACK = 1e-5
"""How far beyond its bounds rounding may carry a map, relative to its upper bound."""


def upper_bound(name: str) -> float:
    """Largest possible value of a named map; 1 for names this version does not know."""
    return MapName.parse(name).upper or 1.0


def shaped(array: npt.ArrayLike, what: str, shape: tuple[int, ...]) -> Array:
    """A contiguous array of a shape, or an :class:`EvaluationError`."""
    values = np.ascontiguousarray(array)
    if np.shape(array) != shape:
        raise EvaluationError(f"{what} has shape {np.shape(array)} where {shape} is needed.")
    return values


def label_map(labels: npt.ArrayLike, what: str, shape: tuple[int, ...]) -> Labels:
    """Values of :class:`napari_uncseg.labels.Label` and 0, or an :class:`EvaluationError`."""
    array = shaped(labels, what, shape)
    with np.errstate(invalid="ignore"):  # what is not finite becomes another number, and is found out
        whole = array.astype(np.uint8)
    if not np.array_equal(whole, array) or whole.max(initial=0) > max(Label):
        odd = array[~np.isin(array, (0, *Label))][0]
        raise EvaluationError(f"{what} holds the label {odd}; use 1 necrosis, 2 oedema, 3 enhancing tumour, 0 none.")
    return whole


def bounded_values(values: npt.ArrayLike, what: str, shape: tuple[int, ...], upper: float) -> Floats32:
    """Contiguous float32 values in 0 to ``upper``, or an :class:`EvaluationError`."""
    array = shaped(values, what, shape).astype(np.float32, copy=False)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= -_SLACK * upper and high <= upper * (1 + _SLACK)):
        raise EvaluationError(f"{what} spans {low:.4g} to {high:.4g} where 0 to {upper:.4g} is needed; scale it.")
    # Equal to the bound in float32 is as close as it gets.
    return np.clip(array, 0.0, np.float32(upper)) if low < 0 or high > np.float32(upper) else array


def voxel_size(spacing: Sequence[float], what: str) -> tuple[float, float, float]:
    """Three positive voxel sizes in mm, or an :class:`EvaluationError`."""
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != 3 or not all(np.isfinite(size) and size > 0 for size in sizes):
        raise EvaluationError(f"{what} is {sizes}; give three voxel sizes in mm.")
    return sizes
