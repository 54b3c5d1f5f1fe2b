"""Resampling of whole grids along their axes: exact about where voxel centres lie, and fast.

Old and new grid cover the same box, edge to edge, as nnU-Net and scikit-image's ``resize`` have it: the centre of new
voxel ``i`` lies at ``(i + 1/2) * old / new - 1/2`` on the old axis. Along one axis resampling is then a small matrix,
and a volume takes three matrix products. The linear interpolant is taken at the new centre when the grid becomes finer,
and averaged over the new voxel's width when it becomes coarser, so that nothing smaller than a new voxel is aliased;
both keep a linear ramp exactly where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from napari_uncseg.arrays import Floats32, Floats64


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, ...]:
    """Count the voxels of the new grid: the extent divided by the new spacing, rounded, at least 1."""
    return tuple(max(1, round(count * old / new)) for count, old, new in zip(shape, spacing, new_spacing, strict=True))


def resample(volumes: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Put volumes on a grid of another number of voxels over the same box.

    Parameters
    ----------
    volumes : torch.Tensor of float32, shape (channels, x, y, z)
    shape : sequence of int
        New number of voxels along x, y and z.

    Returns
    -------
    torch.Tensor of float32, shape (channels, *shape)
        Contiguous; ``volumes`` itself when the shape stays.
    """
    # Shrinking axes first keeps the products small.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volumes.shape[axis + 1]):
        old, new = volumes.shape[axis + 1], shape[axis]
        if old != new:
            weights = torch.from_numpy(_weights(old, new)).to(volumes.device)
            volumes = _along(weights, volumes, axis)
    return volumes.contiguous()


def _along(weights: torch.Tensor, volumes: torch.Tensor, axis: int) -> torch.Tensor:
    channels, x, y, z = volumes.shape
    if axis == 2:
        return volumes @ weights.T
    if axis == 1:
        return torch.matmul(weights, volumes)
    return torch.matmul(weights, volumes.reshape(channels, x, y * z)).reshape(channels, -1, y, z)


@lru_cache(maxsize=64)
def _weights(old: int, new: int) -> Floats32:
    """Matrix of shape (new, old) that resamples one axis; each row sums to 1."""
    scale = old / new
    centre = (np.arange(new) + 0.5) * scale - 0.5
    if scale <= 1:
        # Beyond the outermost centres the edge value goes on.
        distance = np.abs(np.clip(centre, 0, old - 1)[:, None] - np.arange(old)[None])
        weights: Floats64 = np.maximum(0.0, 1.0 - distance)
        return weights.astype(np.float32)
    bounds = np.stack([centre - scale / 2, centre + scale / 2])[:, :, None] - np.arange(-1.0, old + 1)
    low, high = _hat_integral(bounds)
    padded = (high - low) / scale  # one voxel more at each end, which repeats the edge value
    weights = padded[:, 1:-1]
    weights[:, 0] += padded[:, 0]
    weights[:, -1] += padded[:, -1]
    return weights.astype(np.float32)


def _hat_integral(t: Floats64) -> Floats64:
    """Integral of the linear interpolation kernel ``max(0, 1 - |t|)`` from -1 to ``t``."""
    t = np.clip(t, -1.0, 1.0)
    integral: Floats64 = np.where(t < 0, (1 + t) ** 2 / 2, 1 - (1 - t) ** 2 / 2)
    return integral
