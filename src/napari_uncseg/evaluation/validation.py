"""What anyone's arrays must be to become a case; each refusal is one sentence that names the array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import EvaluationError
from napari_uncseg.labels import Label, region_masks
from napari_uncseg.maps import MapName

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.float32]

_SLACK = 1e-5
"""How far beyond its bounds rounding may carry a map, relative to its upper bound."""


def upper_bound(name: str) -> float:
    """Largest possible value of a named map; 1 for names this version does not know."""
    return MapName.parse(name).upper or 1.0


def _check_shape(array: npt.NDArray[Any], case_id: str, what: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise EvaluationError(f"Case {case_id}: the {what} has shape {array.shape} where {shape} is needed.")


def regions_of(labels: npt.ArrayLike, case_id: str, what: str, shape: tuple[int, ...]) -> Mask:
    """Masks of WT, TC and ET of a label map, bool (3, x, y, z), or an :class:`EvaluationError`."""
    array = np.ascontiguousarray(labels)
    _check_shape(array, case_id, what, shape)
    if not np.issubdtype(array.dtype, np.integer) and array.dtype != bool:
        with np.errstate(invalid="ignore"):  # what is not finite becomes another number, and is found out below
            whole = np.asarray(array).astype(np.int64)
        if not np.array_equal(whole, array):
            raise EvaluationError(f"Case {case_id}: the {what} holds values that are no labels; give 0, 1, 2 and 3.")
        array = whole
    if array.size and (array.min() < 0 or array.max() > max(Label)):
        odd = np.unique(array[(array < 0) | (array > max(Label))])[0]
        raise EvaluationError(
            f"Case {case_id}: the {what} holds the label {odd}; recode it to 0, 1 (necrosis), 2 (oedema) and 3 "
            "(enhancing tumour)."
        )
    return np.ascontiguousarray(region_masks(array.astype(np.uint8)))


def bounded_values(values: npt.ArrayLike, case_id: str, what: str, shape: tuple[int, ...], upper: float) -> Map:
    """Contiguous float32 values in 0 to ``upper``, or an :class:`EvaluationError`."""
    array = np.ascontiguousarray(values, dtype=np.float32)
    _check_shape(array, case_id, what, shape)
    if not array.size:
        return array
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise EvaluationError(f"Case {case_id}: the {what} holds values that are not finite; mend them first.")
    if low < -_SLACK * upper or high > upper * (1 + _SLACK):
        raise EvaluationError(
            f"Case {case_id}: the {what} spans {low:.4g} to {high:.4g} where 0 to {upper:.4g} is needed; scale it "
            "first."
        )
    # Equal to the bound in float32 is as close as it gets.
    return np.clip(array, 0.0, np.float32(upper)) if low < 0 or high > np.float32(upper) else array


def brain_of(brain: npt.ArrayLike | None, case_id: str, shape: tuple[int, ...]) -> Mask:
    """The brain mask, the whole volume when there is none, or an :class:`EvaluationError`."""
    if brain is None:
        return np.ones(shape, dtype=bool)
    array = np.ascontiguousarray(brain)
    _check_shape(array, case_id, "brain mask", shape)
    return np.asarray(array != 0)


def voxel_size(spacing: Sequence[float], case_id: str) -> tuple[float, float, float]:
    """Three positive voxel sizes in mm, or an :class:`EvaluationError`."""
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != 3 or not all(np.isfinite(size) and size > 0 for size in sizes):
        raise EvaluationError(f"Case {case_id}: the spacing {sizes} is none; give three voxel sizes in mm.")
    return sizes
