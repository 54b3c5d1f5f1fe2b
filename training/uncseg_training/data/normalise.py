"""Bring a variance to the scale of an error probability: four ways, because a distance depends on which one is taken.

A correlation is the same after :attr:`Normalisation.FIXED` and, where the fit's slope is positive, after
:attr:`Normalisation.AFFINE`.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from scipy import ndimage
from scipy.special import expit

from napari_uncseg.arrays import AnyFloats, Array, Mask


class Normalisation(StrEnum):
    """The ways; the default of every table is ``fixed``."""

    FIXED = "fixed"
    MIN_MAX = "min_max"
    SQUEEZE = "squeeze"
    AFFINE = "affine"


def normalise(variance: AnyFloats, how: Normalisation | str, mask: Mask, error: AnyFloats) -> AnyFloats:
    """A variance on the scale of an error probability.

    Parameters
    ----------
    variance : ndarray of float, shape (x, y, z)
        At least 0.
    how : Normalisation
        Which way.
    mask : ndarray of bool, shape (x, y, z)
        Where the two will be compared.
    error : ndarray of float, shape (x, y, z)
        What it will be compared with; only the affine fit looks at it.

    Returns
    -------
    ndarray of float, shape (x, y, z)
    """
    match Normalisation(how):
        case Normalisation.FIXED:
            return times_four(variance)
        case Normalisation.MIN_MAX:
            return min_max(variance, mask)
        case Normalisation.SQUEEZE:
            return squeeze(variance, mask)
        case Normalisation.AFFINE:
            return affine_fit(variance, error, mask)


def times_four(variance: AnyFloats) -> AnyFloats:
    """``4 v``: the variance of an even coin, 1/4, becomes 1."""
    return np.asarray(4 * variance)


def min_max(values: AnyFloats, mask: Mask) -> AnyFloats:
    """Smallest value in the mask to 0, largest to 1; one voxel that stands out decides for all.

    Parameters
    ----------
    values : ndarray of float, shape (x, y, z)
        The map.
    mask : ndarray of bool, shape (x, y, z)
        Whose extremes.

    Returns
    -------
    ndarray of float, shape (x, y, z)
        In 0..1 inside the mask and 0 outside; 0 for a constant map.
    """
    scaled = np.zeros_like(values)
    inside = values[mask]
    if inside.size and (span := inside.max() - inside.min()) > 0:
        scaled[mask] = (inside - inside.min()) / span
    return scaled


def squeeze(values: AnyFloats, mask: Mask) -> AnyFloats:
    """What public forks of the paper's functions do to error and variance alike.

    Mean over 3×3×3 voxels (0 beyond the border), at least 1e-3, then the logistic function of the distance from the
    mean in the mask. Every map ends in a narrow band about 1/2, which makes a small distance between any two nearly
    automatic.

    Parameters
    ----------
    values : ndarray of float, shape (x, y, z)
        The map.
    mask : ndarray of bool, shape (x, y, z)
        Over which the mean is taken.

    Returns
    -------
    ndarray of float, shape (x, y, z)
        NaN when the mask is empty.
    """
    if not mask.any():
        return np.full_like(values, np.nan)
    pooled = ndimage.uniform_filter(values.astype(np.float64), 3, mode="constant").clip(min=1e-3)
    return np.asarray(expit(pooled - pooled[mask].mean()).astype(values.dtype))


def affine_fit(values: AnyFloats, error: AnyFloats, mask: Mask) -> AnyFloats:
    """``a + b v`` with the ``a`` and ``b`` that come closest to the error inside the mask.

    Parameters
    ----------
    values : ndarray of float, shape (x, y, z)
        The map.
    error : ndarray of float, shape (x, y, z)
        What to come close to; its NaN are left out.
    mask : ndarray of bool, shape (x, y, z)
        Where.

    Returns
    -------
    ndarray of float, shape (x, y, z)
        Its root mean square distance from the error is ``sd(error) sqrt(1 - r**2)``, whatever scale the map had, so
        that it ranks maps by their correlation ``r`` alone. NaN when no voxel is left.
    """
    inside = mask & np.isfinite(error)
    if not inside.any():
        return np.full_like(values, np.nan)
    x: Array = values[inside].astype(np.float64)
    y: Array = error[inside].astype(np.float64)
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread if spread > 0 else 0.0
    return np.asarray((y.mean() + slope * (values - x.mean())).astype(values.dtype))
