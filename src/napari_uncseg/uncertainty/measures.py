"""Uncertainty of a voxel, from one probability or from those of several members, and whether it is wrong.

For numpy and torch alike. torch is never imported here: a torch tensor can only arrive after its library was imported
by the caller. What the maps are called is in :mod:`napari_uncseg.maps`.
"""

from __future__ import annotations

import sys
from functools import reduce
from operator import or_
from typing import Any, Literal, cast

import numpy as np

from napari_uncseg.arrays import ArrayT
from napari_uncseg.labels import REGION_LABELS, Region

Failure = Literal["wt", "any_region", "per_region"]


def entropy(probability: ArrayT) -> ArrayT:
    """Binary entropy, ``-p ln p - (1 - p) ln(1 - p)``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped. With members, their mean.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        Nats in 0..ln 2; float32, or float64 for float64 input. 0 at p = 0 and p = 1.

    References
    ----------
    Shannon, "A mathematical theory of communication", Bell System Technical Journal 27 (1948), section 6.
    """
    p, fn = _clipped(probability), special(probability)
    # xlog1py keeps the digits of ln(1 - p) that 1 - p would round away for small p.
    return cast(ArrayT, -(fn.xlogy(p, p) + fn.xlog1py(1 - p, -p)))


def bernoulli_variance(probability: ArrayT) -> ArrayT:
    """Variance of a Bernoulli variable, ``p (1 - p)``: the one-pass ``var1shot``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.25; float32, or float64 for float64 input.
    """
    p = _clipped(probability)
    return cast(ArrayT, p * (1 - p))


def one_minus_max(probability: ArrayT) -> ArrayT:
    """One minus the probability of the likelier answer, ``1 - max(p, 1 - p)``.

    Parameters
    ----------
    probability : ndarray or torch.Tensor of any shape
        Probability of a region in 0..1; rounding beyond these bounds is clipped. With members, their mean.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.5; float32, or float64 for float64 input. For a calibrated p the probability that ``p > 0.5`` errs.

    References
    ----------
    Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017.
    """
    p = _clipped(probability)
    return cast(ArrayT, namespace(p).minimum(p, 1 - p))


def mutual_information(mean_probability: ArrayT, expected_entropy: ArrayT) -> ArrayT:
    """Mutual information of the answer and the member, ``h(mean p) - mean h(p)``.

    Parameters
    ----------
    mean_probability : ndarray or torch.Tensor of any shape
        Mean of the members' probabilities.
    expected_entropy : ndarray or torch.Tensor of the same shape
        Mean of the members' entropies, nats.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        Nats in 0..ln 2; 0 where the members agree. Rounding below 0 is clipped.

    References
    ----------
    Houlsby et al., "Bayesian active learning for classification and preference learning", arXiv 1112.5745 (2011).
    """
    difference: Any = entropy(mean_probability) - cast(Any, expected_entropy)
    return cast(ArrayT, namespace(difference).clip(difference, 0.0, None))


def disagreement(votes_for: ArrayT) -> ArrayT:
    """Share of the members that voted against the majority, ``min(v, 1 - v)``.

    Parameters
    ----------
    votes_for : ndarray or torch.Tensor of any shape
        Share *v* of the members with p > 0.5, in 0..1.

    Returns
    -------
    ndarray or torch.Tensor of the same shape
        In 0..0.5; 0 where all members gave one answer.

    References
    ----------
    Freeman, "Elementary applied statistics" (1965): the variation ratio.
    """
    share: Any = votes_for
    return cast(ArrayT, namespace(share).minimum(share, 1 - share))


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
    if failure not in ("wt", "any_region", "per_region"):
        raise ValueError(f"Failure {failure!r} is none of 'wt', 'any_region' and 'per_region'.")

    def inside(labels: Any, region: Region) -> Any:
        return reduce(or_, [labels == int(label) for label in REGION_LABELS[region]])

    regions = (Region.WT,) if failure == "wt" else Region
    wrong = [inside(prediction, region) ^ inside(reference, region) for region in regions]
    return cast(ArrayT, namespace(prediction).stack(wrong) if failure == "per_region" else reduce(or_, wrong))


def _clipped(probability: Any) -> Any:
    return namespace(probability).clip(at_least_float32(probability), 0.0, 1.0)


def is_tensor(array: Any) -> bool:
    """Whether ``array`` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(array: Any) -> Any:
    """Find the module that holds the functions (``stack``, ``clip``) for an array.

    Parameters
    ----------
    array : ndarray or torch.Tensor

    Returns
    -------
    module
        ``torch`` for a tensor, ``numpy`` for everything else.
    """
    return sys.modules["torch"] if is_tensor(array) else np


def special(array: Any) -> Any:
    """Find the module of special functions (``xlogy``, ``xlog1py``) for an array."""
    if is_tensor(array):
        return sys.modules["torch"].special
    import scipy.special

    return scipy.special


def at_least_float32(array: Any) -> Any:
    """Bring an array to float32, or leave it in float64 when it already was.

    Half precision has no room for ``p log p`` near 0 and 1, and sums of it overflow.
    """
    xp = namespace(array)
    if not is_tensor(array):
        array = np.asarray(array)
    if array.dtype in (xp.float32, xp.float64):
        return array
    return array.to(xp.float32) if is_tensor(array) else array.astype(np.float32)
