"""Uncertainty of a voxel from its probability, written once for numpy arrays and torch tensors."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from napari_uncseg.uncertainty.arrays import at_least_float32, namespace, special

ArrayT = TypeVar("ArrayT")


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


def _clipped(probability: Any) -> Any:
    return namespace(probability).clip(at_least_float32(probability), 0.0, 1.0)
