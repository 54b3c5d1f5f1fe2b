"""Where a segmentation disagrees with the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, Literal, cast

from napari_uncseg.arrays import ArrayT
from napari_uncseg.labels import REGION_LABELS, Region
from napari_uncseg.uncertainty.measures import namespace

Failure = Literal["wt", "any_region", "per_region"]


def compute_prediction_failure(prediction_labels: ArrayT, reference_labels: ArrayT, failure: Failure = "wt") -> ArrayT:
    """Voxels where the prediction fails: the XOR of prediction and reference, false positives and negatives alike.

    Parameters
    ----------
    prediction_labels, reference_labels : ndarray or torch.Tensor of int, one shape
        Values of :class:`napari_uncseg.labels.Label`, 0 elsewhere.
    failure : {"wt", "any_region", "per_region"}
        ``wt``: tumour against not tumour, which is blind to a confusion of tissues inside the tumour;
        ``any_region``: a failure of WT, TC or ET; ``per_region``: the three of them apart.

    Returns
    -------
    ndarray or torch.Tensor of bool
        Of the shape of the labels; for ``per_region`` with a first axis of three, WT, TC, ET.

    Raises
    ------
    ValueError
        When the shapes differ or ``failure`` is none of the three.
    """
    prediction, reference = cast(Any, prediction_labels), cast(Any, reference_labels)
    if prediction.shape != reference.shape:
        raise ValueError(f"Labels of shapes {tuple(prediction.shape)} and {tuple(reference.shape)} cannot be compared.")
    if failure == "wt":
        return cast(ArrayT, _differs(prediction, reference, Region.WT))
    if failure not in ("any_region", "per_region"):
        raise ValueError(f"Failure {failure!r} is none of 'wt', 'any_region' and 'per_region'.")
    each = [_differs(prediction, reference, region) for region in Region]
    combine: Callable[[list[Any]], Any] = namespace(prediction).stack if failure == "per_region" else _any
    return cast(ArrayT, combine(each))


def _any(masks: list[Any]) -> Any:
    return reduce(or_, masks)


def _differs(prediction: Any, reference: Any, region: Region) -> Any:
    return _region(prediction, region) ^ _region(reference, region)


def _region(labels: Any, region: Region) -> Any:
    return _any([labels == int(label) for label in REGION_LABELS[region]])
