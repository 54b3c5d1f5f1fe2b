"""The faults of a scan: misregistration, thick slices, bias, gamma, noise, clipping, ghosts, a cut field of view."""

from __future__ import annotations

import torch
from torch import Tensor

from uncseg_training.phantom.fields import Rng, along_axes, blur, slabs

OFFSET = 6.0
"""Added to units of contrast, so that magnitude images are positive."""


def scan(image: Tensor, spacing: float, rng: Rng) -> Tensor:
    """One acquisition of one modality.

    Parameters
    ----------
    image : Tensor of float32, shape (x, y, z)
        In units of contrast, about -4..6.
    spacing : float
        Voxel size in millimetres.
    rng : Rng
        Source of randomness.

    Returns
    -------
    Tensor of float32, shape (x, y, z)
        Magnitude, positive; 0 beyond a cut field of view.
    """
    shape, volume = image.shape, image[None]
    if rng.chance(0.15):
        volume = _shift(volume, [rng.normal(0.8 / spacing) for _ in range(3)])
    if rng.chance(0.6):
        volume = blur(volume, rng.uniform(0.0, 0.9) / spacing)
    if rng.chance(0.3):
        thickness = rng.uniform(3.0, 6.0) / spacing
        axis = rng.index(3, (0.2, 0.2, 0.6))
        if thickness > 1.2:
            volume = slabs(volume, axis, thickness)
    bias = torch.exp(rng.uniform(0.0, 0.09) * rng.smooth(shape, max(shape) / 2.5))
    positive = (volume + OFFSET).clamp(min=0.2) * bias
    if rng.chance(0.5):
        top = positive.amax()
        positive = top * (positive / top) ** rng.log_uniform(0.7, 1.45)
    # Rician: the magnitude of a signal with noise in both channels (Gudbjartsson and Patz, MRM 1995).
    noise = rng.noise(shape, 2) * rng.log_uniform(0.02, 0.35)
    positive = torch.hypot(positive + noise[:1], noise[1:])[0]
    if rng.chance(0.2):
        limit = torch.quantile(positive.flatten()[::29], rng.uniform(0.985, 0.999))
        positive = positive.clamp(max=float(limit))
    if rng.chance(0.06):
        axis = rng.index(3)
        ghost = torch.roll(positive, int(rng.uniform(0.1, 0.4) * shape[axis]), axis)
        positive = positive + rng.uniform(0.02, 0.1) * ghost
    if rng.chance(0.04):
        # The slab did not reach the vertex or the skull base.
        missing = int(rng.uniform(0.08, 0.3) * shape[2])
        if rng.chance(0.5):
            positive[:, :, :missing] = 0
        else:
            positive[:, :, shape[2] - missing :] = 0
    return positive


def _shift(volume: Tensor, voxels: list[float]) -> Tensor:
    """Translate by a fraction of a voxel, linear, edges replicated."""
    matrices: list[Tensor | None] = []
    for size, amount in zip(volume.shape[1:], voxels, strict=True):
        place = (torch.arange(size, device=volume.device) + amount).clamp(0, size - 1)
        matrices.append((1 - (place[:, None] - torch.arange(size, device=volume.device)).abs()).clamp(min=0))
    return along_axes(volume, matrices)
