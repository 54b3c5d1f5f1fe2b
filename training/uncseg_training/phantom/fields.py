"""Random smooth fields, the raw material of every shape, texture and artefact of a phantom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


class Rng:
    """Random numbers of one phantom: a thin wrapper over a seeded ``torch.Generator``.

    Parameters
    ----------
    seed : int
        The same seed gives the same phantom on the same device.
    device : torch.device or str
        Where fields are drawn.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._scalars = torch.Generator().manual_seed(seed)
        self._fields = torch.Generator(self.device).manual_seed(seed + 1)

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return low + (high - low) * float(torch.rand((), generator=self._scalars))

    def log_uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high`` with a uniform logarithm."""
        return float(low * (high / low) ** float(torch.rand((), generator=self._scalars)))

    def normal(self, sigma: float = 1.0) -> float:
        """A normal number of mean 0."""
        return sigma * float(torch.randn((), generator=self._scalars))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return float(torch.rand((), generator=self._scalars)) < probability

    def index(self, count: int, weights: Sequence[float] | None = None) -> int:
        """An index below ``count``, by weight."""
        chosen = torch.ones(count) if weights is None else torch.tensor(weights, dtype=torch.float)
        return int(torch.multinomial(chosen, 1, generator=self._scalars))

    def noise(self, shape: Sequence[int], channels: int = 1) -> Tensor:
        """White noise of unit variance, shape ``(channels, x, y, z)``."""
        return torch.randn((channels, *shape), generator=self._fields, device=self.device)

    def smooth(self, shape: Sequence[int], length: float, channels: int = 1) -> Tensor:
        """Smooth noise of zero mean and unit variance: cubic B-splines with normal coefficients.

        Parameters
        ----------
        shape : sequence of int
            Grid.
        length : float
            Distance of the coefficients in voxels; the field changes over about as many.
        channels : int
            Number of independent fields.

        Returns
        -------
        Tensor, shape (channels, x, y, z)
        """
        bases = [_spline_basis(n, float(length), self.device) for n in shape]
        coarse = [basis.shape[1] for basis in bases]
        return along_axes(self.noise(coarse, channels), bases)


def along_axes(volume: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """Multiply every axis of a volume with a matrix: what is separable, as three matrix products.

    Parameters
    ----------
    volume : Tensor, shape (channels, x, y, z)
    matrices : three of Tensor of shape (new, old), or None
        One per spatial axis; None leaves the axis alone.
    """
    x, y, z = matrices
    if z is not None:
        volume = volume @ z.T
    if y is not None:
        volume = y @ volume
    if x is not None:
        channels, _, height, depth = volume.shape
        volume = (x @ volume.reshape(channels, -1, height * depth)).reshape(channels, -1, height, depth)
    return volume


def blur(volume: Tensor, sigma: Sequence[float] | float) -> Tensor:
    """Gaussian blur.

    Parameters
    ----------
    volume : Tensor, shape (channels, x, y, z)
        Blurred channel by channel, edges replicated.
    sigma : float or sequence of float
        Standard deviation in voxels along each axis; 0 leaves an axis alone.
    """
    sigmas = (sigma,) * 3 if isinstance(sigma, int | float) else tuple(sigma)
    kernels = [
        None if width <= 0.05 else _gaussian(size, float(width), volume.device)
        for width, size in zip(sigmas, volume.shape[1:], strict=True)
    ]
    return along_axes(volume, kernels)


def slabs(volume: Tensor, axis: int, thickness: float) -> Tensor:
    """What thick slices leave of a volume: means over slabs along one axis, interpolated back.

    Parameters
    ----------
    volume : Tensor, shape (channels, x, y, z)
    axis : int
        0, 1 or 2.
    thickness : float
        In voxels, above 1.
    """
    size = volume.shape[axis + 1]
    count = max(2, round(size / thickness))
    # Share of each voxel in each slab, then linear interpolation between the middles of the slabs.
    edges = torch.linspace(0, size, count + 1, device=volume.device)
    voxels = torch.arange(size, device=volume.device)
    shares = (torch.minimum(edges[1:, None], voxels + 1) - torch.maximum(edges[:-1, None], voxels)).clamp(min=0)
    shares = shares / shares.sum(1, keepdim=True)
    place = ((voxels + 0.5) * count / size - 0.5).clamp(0, count - 1)
    back = (1 - (place[:, None] - torch.arange(count, device=volume.device)).abs()).clamp(min=0)
    matrices: list[Tensor | None] = [None, None, None]
    matrices[axis] = back @ shares
    return along_axes(volume, matrices)


@lru_cache(maxsize=32)
def _gaussian(size: int, sigma: float, device: torch.device) -> Tensor:
    """Matrix ``(size, size)`` of a Gaussian cut at three standard deviations, edges replicated."""
    radius = max(1, int(3 * sigma + 0.5))
    offsets = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).expand(size, -1)
    sources = (torch.arange(size, device=device)[:, None] + offsets.long()).clamp(0, size - 1)
    return torch.zeros(size, size, device=device).scatter_add_(1, sources, weights)


@lru_cache(maxsize=32)
def _spline_basis(size: int, length: float, device: torch.device) -> Tensor:
    """Matrix ``(size, coefficients)`` of cubic B-splines, scaled to unit variance in the mean over places."""
    place = torch.arange(size, device=device, dtype=torch.float32) / max(length, 1.0)
    count = int(place[-1]) + 4
    distance = (place[:, None] + 1 - torch.arange(count, device=device)).abs()
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = (2 - distance).clamp(min=0) ** 3 / 6
    # The squares of the splines integrate to 151 / 315.
    basis: Tensor = torch.where(distance < 1, inner, outer) * (315 / 151) ** 0.5
    return basis
