"""Fronts of the Fisher-Kolmogorov equation: when they reach each voxel, and which voxels they reach first."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = 3.0
"""Relative time of arrival given to voxels no front reached."""

STEP = 0.15
"""Units of time of one step of the equations."""


def arrival_time(start: Tensor, diffusion: Tensor, proliferation: Tensor, volume: float, steps: int = 260) -> Tensor:
    """Time at which a Fisher-Kolmogorov front reaches each voxel.

    Parameters
    ----------
    start : Tensor, shape (x, y, z)
        Initial density in 0..1.
    diffusion : Tensor, shape (x, y, z)
        In voxels squared per unit of time, at most 1; a face between voxels takes the harmonic mean, so that 0 stops
        the front.
    proliferation : Tensor, shape (x, y, z)
        Rate of growth per unit of time.
    volume : float
        Number of voxels at which to stop.
    steps : int
        Most steps of :data:`STEP` units of time.

    Returns
    -------
    Tensor of float32, shape (x, y, z)
        Step at which the density passed one half; ``inf`` where it never did.
    """
    density = start.clone()
    # Counting the steps below one half is the cheapest way to note when it was passed.
    waited = (density <= 0.5).float()
    faces = []
    for axis in range(3):
        count = diffusion.shape[axis] - 1
        near, far = diffusion.narrow(axis, 0, count), diffusion.narrow(axis, 1, count)
        faces.append(STEP * 2 * near * far / (near + far + 1e-6))
    growth = STEP * proliferation * (diffusion > 0)
    done = 0
    for index in range(1, steps + 1):
        change = growth * density
        change.addcmul_(change, density, value=-1)
        for axis, face in enumerate(faces):
            count = density.shape[axis] - 1
            flux = face * (density.narrow(axis, 1, count) - density.narrow(axis, 0, count))
            change.narrow(axis, 0, count).add_(flux)
            change.narrow(axis, 1, count).sub_(flux)
        density += change
        waiting = density <= 0.5
        waited += waiting
        done = index
        if index % 10 == 0 and waiting.numel() - int(waiting.sum()) > volume:
            break
    return torch.where(waited > done, torch.inf, waited)


def first_to_arrive(arrival: Tensor, volume: float) -> tuple[Tensor, Tensor]:
    """The ``volume`` voxels that a front reached first.

    Returns
    -------
    mask : Tensor of bool, shape (x, y, z)
    lateness : Tensor of float32, shape (x, y, z)
        Arrival as a fraction of the last arrival inside the mask; above 1 outside.
    """
    reached = arrival[torch.isfinite(arrival)]
    count = int(min(max(volume, 1), reached.numel()))
    last = float(torch.kthvalue(reached, count).values) if reached.numel() else 0.0
    last = max(last, 1e-3)
    return arrival <= last, arrival / last
