"""Random smooth fields, the raw material of every shape, texture and artefact of a phantom."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import torch
from torch import Tensor
from torch.nn import functional as F


class Dice:
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
        """Smooth noise of about unit variance.

        Parameters
        ----------
        shape : sequence of int
            Grid.
        length : float
            Correlation length in voxels.
        channels : int
            Number of independent fields.

        Returns
        -------
        Tensor, shape (channels, x, y, z)
        """
        coarse = [max(2, round(n / length) + 1) for n in shape]
        field = torch.randn((1, channels, *coarse), generator=self._fields, device=self.device)
        field = F.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)[0]
        # Interpolation between nodes averages independent values: variance (2/3)^3 in the mean.
        return field * 1.84


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
    for axis, width in enumerate(sigmas):
        if width <= 0.05:
            continue
        radius = max(1, int(3 * width + 0.5))
        weights = [exp(-0.5 * (offset / width) ** 2) for offset in range(-radius, radius + 1)]
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        padded = F.pad(volume[None], padding, mode="replicate")[0]
        size = volume.shape[axis + 1]
        # Shifted sums: on the CPU several times faster than a convolution with one channel.
        blurred = padded.narrow(axis + 1, 0, size) * (weights[0] / sum(weights))
        for offset in range(1, 2 * radius + 1):
            blurred.add_(padded.narrow(axis + 1, offset, size), alpha=weights[offset] / sum(weights))
        volume = blurred
    return volume
