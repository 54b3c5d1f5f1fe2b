"""Synthetic gliomas grown in an anatomy.

The core grows by the Fisher-Kolmogorov equation ``du/dt = div(D grad u) + rho u (1 - u)`` with a diffusion that
differs between white and grey matter (Swanson et al., *Cell Proliferation* 2000; Clatz et al., *IEEE TMI* 2005).
Oedema starts from the grown core and spreads with its own diffusion, almost confined to white matter. What is kept of
either is the time of arrival of the front at each voxel: any threshold on it is a tumour of some volume, so that
target volumes, not densities, set the outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.fields import Dice, blur


class Kind(StrEnum):
    """What a tumour looks like."""

    NONE = "none"
    RIM = "rim"
    SOLID = "solid"
    NON_ENHANCING = "non_enhancing"
    OEDEMATOUS = "oedematous"
    CYSTIC = "cystic"


KIND_WEIGHTS: dict[Kind, float] = {
    Kind.NONE: 0.04,
    Kind.RIM: 0.38,
    Kind.SOLID: 0.18,
    Kind.NON_ENHANCING: 0.17,
    Kind.OEDEMATOUS: 0.10,
    Kind.CYSTIC: 0.13,
}


@dataclass(frozen=True)
class Tumour:
    """A grown tumour on the grid of its phantom.

    Parameters
    ----------
    kind : Kind
        Its type.
    labels : Tensor of uint8, shape (x, y, z)
        BraTS 2023 coding: 1 NCR, 2 ED, 3 ET.
    depth : Tensor of float32, shape (x, y, z)
        1 in the middle of the core and of the oedema, falling to 0 at the outer edge; 0 outside.
    """

    kind: Kind
    labels: Tensor
    depth: Tensor


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
        Most steps of 0.15 units of time.

    Returns
    -------
    Tensor of float32, shape (x, y, z)
        Step at which the density passed one half; ``inf`` where it never did.
    """
    step = 0.15
    density = start.clone()
    arrival = torch.where(density > 0.5, 0.0, torch.inf)
    faces = []
    for axis in range(3):
        near, far = (
            diffusion.narrow(axis, 0, diffusion.shape[axis] - 1),
            diffusion.narrow(axis, 1, diffusion.shape[axis] - 1),
        )
        faces.append(step * 2 * near * far / (near + far + 1e-6))
    growth = step * proliferation * (diffusion > 0)
    for index in range(1, steps + 1):
        change = growth * density * (1 - density)
        for axis, face in enumerate(faces):
            count = density.shape[axis] - 1
            flux = face * (density.narrow(axis, 1, count) - density.narrow(axis, 0, count))
            change.narrow(axis, 0, count).add_(flux)
            change.narrow(axis, 1, count).sub_(flux)
        density = density + change
        arrival = torch.where((density > 0.5) & torch.isinf(arrival), float(index), arrival)
        if index % 10 == 0 and int(torch.isfinite(arrival).sum()) > volume:
            break
    return arrival


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


NEVER = 3.0
"""Relative time of arrival given to voxels no front reached."""

LARGEST_OEDEMA = 160.0
"""Millilitres."""

GROWTH_SPACING = 3.0
"""Voxel size in millimetres at which the equations are solved; finer grids take the smooth arrival times from there."""


def grow(fractions: Tensor, spacing: float, dice: Dice, kind: Kind | None = None) -> Tumour:
    """Grow one tumour.

    Parameters
    ----------
    fractions : Tensor, shape (10, x, y, z)
        Tissue fractions, channel 0 the outside.
    spacing : float
        Voxel size in millimetres.
    dice : Dice
        Source of randomness.
    kind : Kind, optional
        Drawn by :data:`KIND_WEIGHTS` when left out.
    """
    shape = fractions.shape[1:]
    if kind is None:
        kind = list(KIND_WEIGHTS)[dice.index(len(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))]
    if kind is Kind.NONE:
        empty = torch.zeros(shape, device=fractions.device)
        return Tumour(kind, empty.to(torch.uint8), empty)
    fine_shape, fine_spacing = shape, spacing
    fine_tissue = 1 - fractions[: Tissue.CORTEX].sum(0)
    if spacing < GROWTH_SPACING:
        size = [max(8, round(n * spacing / GROWTH_SPACING)) for n in shape]
        fractions = F.interpolate(fractions[None], size=size, mode="area")[0]
        shape, spacing = fractions.shape[1:], GROWTH_SPACING
    white = fractions[Tissue.WHITE] + fractions[Tissue.CEREBELLUM_WHITE] + 0.8 * fractions[Tissue.BRAINSTEM]
    grey = fractions[Tissue.CORTEX] + fractions[Tissue.CEREBELLUM_GREY]
    deep = fractions[Tissue.DEEP_GREY] + fractions[Tissue.PALLIDUM]
    tissue = white + grey + deep
    voxel_ml = spacing**3 / 1000
    core_ml, oedema_ml = _draw_volumes(kind, dice)
    oedema_ml = min(oedema_ml, LARGEST_OEDEMA)

    seed = _seed(white, grey, deep, dice)
    radius = (3 * (core_ml + oedema_ml) * 1000 / (4 * 3.1416)) ** (1 / 3)
    box = _box(seed, shape, int((1.9 * radius + 24) / spacing))
    white, grey, deep, tissue = white[box], grey[box], deep[box], tissue[box]
    local = white.shape
    start = _blobs(seed, box, local, dice, spacing, multifocal=dice.chance(0.12))

    roughness = torch.exp(dice.uniform(0.3, 0.9) * dice.smooth(local, dice.uniform(8, 24) / spacing)[0])
    # Solid tumour pushes through grey matter and, where it is large, into sulci and ventricles; oedema does not.
    permissive = (tissue > dice.uniform(0.05, 0.35)).float()
    diffusion = (white + dice.uniform(0.35, 0.9) * (grey + deep) + 0.15) * roughness * permissive
    proliferation = 0.35 * torch.exp(0.4 * dice.smooth(local, 10 / spacing)[0]).clamp(0.3, 3)
    core_time = arrival_time(start, diffusion.clamp(0, 1), proliferation, core_ml / voxel_ml)
    core, lateness = first_to_arrive(core_time, core_ml / voxel_ml)

    inside = (tissue > 0.4).float()
    roughness = torch.exp(dice.uniform(0.2, 0.8) * dice.smooth(local, dice.uniform(8, 20) / spacing)[0])
    leak = dice.log_uniform(0.004, 0.12)
    diffusion = ((white**2 + leak * grey + 1.5 * leak * deep) * roughness * inside).clamp(0, 1)
    diffusion = torch.maximum(diffusion, core.float() * 0.5)
    oedema_time = arrival_time(core.float(), diffusion, 0.3 * inside, (core_ml + oedema_ml) / voxel_ml)
    _, fade = first_to_arrive(oedema_time, float(core.sum()) + oedema_ml / voxel_ml)

    if fine_spacing < spacing:
        # Never reached is a long time, so that times can be interpolated; the fine grid cuts at the same times.
        times = torch.full((2, *shape), NEVER, device=fractions.device)
        times[0][box], times[1][box] = lateness.clamp(max=NEVER), fade.clamp(max=NEVER)
        lateness, fade = F.interpolate(times[None], size=tuple(fine_shape), mode="trilinear")[0]
        box = _bounds(torch.minimum(lateness, fade) <= 1.2)
        lateness, fade, tissue, spacing = lateness[box], fade[box], fine_tissue[box], fine_spacing
        local, shape = lateness.shape, fine_shape
    core = lateness <= 1
    whole = ((fade <= 1) & (tissue > 0.3)) | core

    labels = torch.zeros(local, dtype=torch.uint8, device=fractions.device)
    labels[whole] = 2
    labels[core] = 1
    labels[core & _enhancing(kind, lateness, spacing, core_ml, dice)] = 3
    depth = torch.where(core, 1.5 - 0.5 * lateness, (1 - fade).clamp(0, 1)).clamp(0, 1) * whole

    full_labels = torch.zeros(shape, dtype=torch.uint8, device=fractions.device)
    full_depth = torch.zeros(shape, device=fractions.device)
    full_labels[box], full_depth[box] = labels, depth
    return Tumour(kind, full_labels, full_depth)


def _bounds(mask: Tensor) -> tuple[slice, slice, slice]:
    """Smallest box that holds a mask."""
    places = mask.nonzero()
    if not len(places):
        return slice(0, 1), slice(0, 1), slice(0, 1)
    low, high = places.min(0).values.tolist(), places.max(0).values.tolist()
    x, y, z = (slice(a, b + 1) for a, b in zip(low, high, strict=True))
    return x, y, z


def _draw_volumes(kind: Kind, dice: Dice) -> tuple[float, float]:
    """Core and oedema in millilitres."""
    match kind:
        case Kind.RIM:
            core = dice.log_uniform(2, 110)
            return core, core * dice.log_uniform(0.25, 6)
        case Kind.SOLID:
            core = dice.log_uniform(1, 180)
            return core, core * dice.log_uniform(0.04, 4)
        case Kind.NON_ENHANCING:
            core = dice.log_uniform(3, 170)
            return core, core * dice.log_uniform(0.08, 2)
        case Kind.OEDEMATOUS:
            return dice.log_uniform(0.3, 6), dice.log_uniform(15, 140)
        case _:
            core = dice.log_uniform(8, 150)
            return core, core * dice.log_uniform(0.04, 1.2)


def _seed(white: Tensor, grey: Tensor, deep: Tensor, dice: Dice) -> tuple[int, int, int]:
    likelihood = (white + 0.5 * grey + 0.3 * deep).clamp(0, 1)
    likelihood = torch.where(likelihood > 0.5, likelihood, torch.zeros_like(likelihood))
    # Infratentorial tumours are rare in adults: the lowest third keeps a quarter of its weight.
    height = torch.linspace(0, 1, likelihood.shape[2], device=likelihood.device)
    weights = (likelihood * (0.25 + 0.75 * (height > 0.33))).flatten()
    cumulative = weights.cumsum(0)
    flat = int(
        torch.searchsorted(cumulative, dice.uniform(0, 1) * float(cumulative[-1])).clamp(max=weights.numel() - 1)
    )
    x, rest = divmod(flat, likelihood.shape[1] * likelihood.shape[2])
    y, z = divmod(rest, likelihood.shape[2])
    return x, y, z


def _box(seed: tuple[int, int, int], shape: torch.Size, radius: int) -> tuple[slice, slice, slice]:
    x, y, z = (slice(max(0, c - radius), min(n, c + radius + 1)) for c, n in zip(seed, shape, strict=True))
    return x, y, z


def _blobs(
    seed: tuple[int, int, int],
    box: tuple[slice, slice, slice],
    local: torch.Size,
    dice: Dice,
    spacing: float,
    *,
    multifocal: bool,
) -> Tensor:
    axes = [torch.arange(n, device=dice.device, dtype=torch.float32) for n in local]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    start = torch.zeros(local, device=dice.device)
    centre = [float(c - part.start) for c, part in zip(seed, box, strict=True)]
    for focus in range(3 if multifocal else 1):
        if focus and dice.chance(0.4):
            continue
        here = [c + (dice.normal(14 / spacing) if focus else 0.0) for c in centre]
        stretch = [dice.uniform(0.6, 1.6) for _ in range(3)]
        distance = sum(((grid[i] - here[i]) / stretch[i]) ** 2 for i in range(3))
        size = (2.5 if not focus else dice.uniform(1.2, 2.5)) * 2.0 / spacing
        start = torch.maximum(start, torch.exp(-torch.as_tensor(distance) / (2 * size**2)))
    return start


def _enhancing(kind: Kind, lateness: Tensor, spacing: float, core_ml: float, dice: Dice) -> Tensor:
    """Where the core takes up contrast; ``lateness`` is 0 at the seed and 1 at the core's edge."""
    shape = lateness.shape
    noise = dice.smooth(shape, dice.uniform(6, 16) / spacing)[0]
    fine = dice.smooth(shape, dice.uniform(3, 6) / spacing)[0]
    # The front moves at a constant speed, so lateness is about distance over radius.
    radius_mm = (3 * core_ml * 1000 / (4 * 3.1416)) ** (1 / 3)
    match kind:
        case Kind.RIM | Kind.CYSTIC:
            if kind is Kind.CYSTIC and dice.chance(0.35):
                return torch.zeros_like(lateness, dtype=torch.bool)
            thick = dice.log_uniform(1.5, 4) if kind is Kind.CYSTIC else dice.log_uniform(2.5, 12)
            thickness = (thick / radius_mm) * torch.exp(0.5 * noise)
            gaps = noise > dice.uniform(-2.2, 0.3 if kind is Kind.CYSTIC else -0.5)
            ragged = lateness + 0.06 * fine
            rim: Tensor = (ragged > 1 - thickness) & gaps
            return rim
        case Kind.SOLID:
            # Mixed: patches of enhancement of any share, now and then the whole core.
            return (0.7 * noise + 0.5 * fine + dice.uniform(-0.5, 1.5) * (lateness - 0.5)) > dice.uniform(-2.0, 0.6)
        case Kind.OEDEMATOUS:
            return fine > dice.uniform(-2.5, 1.0)
        case _:
            return (noise + 0.5 * fine) > dice.uniform(1.9, 4.5)


def displacement(tumour: Tumour, spacing: float, dice: Dice) -> Tensor:
    """Mass effect: how far tissue is pushed away from the core.

    Returns
    -------
    Tensor of float32, shape (3, x, y, z)
        Millimetres along each axis, outwards; 0 inside a small or absent core.

    Notes
    -----
    A quasi-static stand-in for the linear elastic response (Hogea et al. 2008): the push follows the gradient of the
    blurred core.
    """
    core = ((tumour.labels == 1) | (tumour.labels == 3)).float()[None, None]
    coarse = [max(4, round(n * spacing / 6)) for n in core.shape[2:]]
    smooth = blur(F.interpolate(core, size=coarse, mode="area")[0], 1.2)[0]
    gradient = torch.stack(torch.gradient(smooth))
    strength = float(gradient.square().sum(0).amax().sqrt())
    if strength < 1e-6:
        return torch.zeros((3, *core.shape[2:]), device=core.device)
    push = -gradient / strength * dice.uniform(0, 5)
    return F.interpolate(push[None], size=core.shape[2:], mode="trilinear")[0]
