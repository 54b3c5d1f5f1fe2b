"""Synthetic gliomas grown in an anatomy.

The core grows by the Fisher-Kolmogorov equation ``du/dt = div(D grad u) + rho u (1 - u)`` with a diffusion that
differs between white and grey matter (Swanson et al., *Cell Proliferation* 2000; Clatz et al., *IEEE TMI* 2005).
Oedema starts from the grown core and spreads with its own diffusion, almost confined to white matter. What is kept of
either is the time of arrival of the front at each voxel (:mod:`uncseg_training.phantom.fronts`): any threshold on it is
a tumour of some volume, so that target volumes, not densities, set the outlines. Times are smooth: they are solved on a
coarse grid and cut on any.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.appearance_priors import AppearancePrior
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.fronts import NEVER, arrival_time, first_to_arrive
from uncseg_training.phantom.kinds import CORE_ML, OEDEMA_SHARE, Kind

LARGEST_ML = 250.0
"""Largest whole tumour."""

FAR_MM = 45.0
"""Least distance of a distant focus from the first."""


@dataclass(frozen=True)
class Fronts:
    """A grown tumour before it is cut into labels, on the grid its equations were solved on.

    Parameters
    ----------
    kind : Kind
        Its type.
    core, oedema : Tensor of float32, shape (x, y, z)
        Times of arrival as a fraction of the time at which the target volume was reached: up to 1 inside; at most
        :data:`NEVER`.
    core_ml : float
        Target volume of the core.
    """

    kind: Kind
    core: Tensor
    oedema: Tensor
    core_ml: float


@dataclass(frozen=True)
class Tumour:
    """A tumour on the grid of its phantom.

    Parameters
    ----------
    kind : Kind
        Its type.
    labels : Tensor of uint8, shape (x, y, z)
        BraTS 2023 coding: 1 NCR, 2 ED, 3 ET.
    lateness : Tensor of float32, shape (x, y, z)
        0 in the middle of the core, 1 at its edge, :data:`NEVER` where the front never came.
    depth : Tensor of float32, shape (x, y, z)
        1 in the core and where oedema came first, falling to 0 at its outer edge; 0 outside.
    cavity : Tensor of float32, shape (x, y, z), or None
        Fraction of a resection cavity: fluid, no tumour.
    """

    kind: Kind
    labels: Tensor
    lateness: Tensor
    depth: Tensor
    cavity: Tensor | None = None


def grow(fractions: Tensor, spacing: float, prior: AppearancePrior, rng: Rng, kind: Kind | None = None) -> Fronts:
    """Grow one tumour.

    Parameters
    ----------
    fractions : Tensor, shape (10, x, y, z)
        Tissue fractions, channel 0 the outside; voxels of about 3 mm are fine enough.
    spacing : float
        Voxel size in millimetres.
    prior : AppearancePrior
        Ranges to draw from.
    rng : Rng
        Source of randomness.
    kind : Kind, optional
        Drawn by its weight when left out.
    """
    shape, voxel_ml = fractions.shape[1:], spacing**3 / 1000
    if kind is None:
        kind = list(prior.kinds)[rng.index(len(prior.kinds), list(prior.kinds.values()))]
    never = torch.full(shape, NEVER, device=fractions.device)
    if kind is Kind.NONE:
        return Fronts(kind, never, never, 0.0)
    white = fractions[Tissue.WHITE] + fractions[Tissue.CEREBELLUM_WHITE] + 0.8 * fractions[Tissue.BRAINSTEM]
    grey = fractions[Tissue.CORTEX] + fractions[Tissue.CEREBELLUM_GREY]
    deep = fractions[Tissue.DEEP_GREY] + fractions[Tissue.PALLIDUM]
    core_ml = min(rng.log_uniform(*CORE_ML[kind]), LARGEST_ML)
    oedema_ml = min(core_ml * rng.log_uniform(*OEDEMA_SHARE[kind]), max(LARGEST_ML - core_ml, 1.0))
    # A prior that never draws these must not draw a random number: streams stay as they are, bit for bit.
    if prior.small and rng.chance(prior.small):
        shrink = rng.log_uniform(*prior.small_ml) / (core_ml + oedema_ml)
        core_ml, oedema_ml = shrink * core_ml, shrink * oedema_ml

    seed = _seed(white, grey, deep, rng)
    radius = (3 * (core_ml + oedema_ml) * 1000 / (4 * pi)) ** (1 / 3)
    scattered = rng.chance(prior.scattered)
    distant = bool(prior.distant) and rng.chance(prior.distant)
    box = _box(seed, shape, max(shape) if distant else int((1.9 * radius + 24 + 30 * scattered) / spacing))
    white, grey, deep = white[box], grey[box], deep[box]
    tissue, local = white + grey + deep, white.shape
    start = _foci(seed, box, tissue, core_ml, rng, spacing, scattered=scattered, distant=distant)

    roughness = torch.exp(rng.uniform(0.3, 0.9) * rng.smooth(local, rng.uniform(6, 20) / spacing)[0])
    # Solid tumour pushes through grey matter and, where it is large, into sulci and ventricles; oedema does not.
    permissive = (tissue > rng.uniform(0.05, 0.35)).float()
    diffusion = (white + rng.uniform(0.35, 0.9) * (grey + deep) + 0.15) * roughness * permissive
    proliferation = 0.35 * torch.exp(0.4 * rng.smooth(local, 8 / spacing)[0]).clamp(0.3, 3)
    core_time = arrival_time(start, diffusion.clamp(0, 1), proliferation, core_ml / voxel_ml)
    core, lateness = first_to_arrive(core_time, core_ml / voxel_ml)

    inside = (tissue > 0.4).float()
    roughness = torch.exp(rng.uniform(0.2, 0.8) * rng.smooth(local, rng.uniform(6, 16) / spacing)[0])
    leak = rng.log_uniform(0.004, 0.12)
    diffusion = ((white**2 + leak * grey + 1.5 * leak * deep) * roughness * inside).clamp(0, 1)
    diffusion = torch.maximum(diffusion, core.float() * 0.5)
    oedema_time = arrival_time(core.float(), diffusion, 0.3 * inside, (core_ml + oedema_ml) / voxel_ml)
    _, fade = first_to_arrive(oedema_time, float(core.sum()) + oedema_ml / voxel_ml)

    core_full, oedema_full = never.clone(), never
    core_full[box], oedema_full[box] = lateness.clamp(max=NEVER), fade.clamp(max=NEVER)
    return Fronts(kind, core_full, oedema_full, core_ml)


def cut(fronts: Fronts, fractions: Tensor, spacing: float, prior: AppearancePrior, rng: Rng) -> Tumour:
    """Cut a grown tumour into labels on the grid of its phantom.

    Parameters
    ----------
    fronts : Fronts
        Of :func:`grow`, on any grid with the same extent.
    fractions : Tensor, shape (10, x, y, z)
        Tissue fractions of the phantom, after mass effect.
    spacing : float
        Voxel size of ``fractions`` in millimetres.
    prior : AppearancePrior
        Ranges to draw from.
    rng : Rng
        Source of randomness.
    """
    shape = fractions.shape[1:]
    full = torch.zeros(shape, dtype=torch.uint8, device=fractions.device), torch.zeros(shape, device=fractions.device)
    labels, depth, lateness = *full, torch.full_like(full[1], NEVER)
    if fronts.kind is Kind.NONE:
        return Tumour(fronts.kind, labels, lateness, depth)
    times = torch.stack([fronts.core, fronts.oedema])
    if times.shape[1:] != shape:
        times = F.interpolate(times[None], size=tuple(shape), mode="trilinear")[0]
    box = _bounds(times.amin(0) <= 1.2)
    core_time, oedema_time = times[0][box], times[1][box]
    tissue = 1 - fractions[: Tissue.CORTEX].sum(0)[box]
    core = core_time <= 1
    cavity = None
    if rng.chance(prior.cavity):
        # What a surgeon took: a part of the core, open or not; it is fluid, and no tumour.
        taken = rng.uniform(0.3, 0.9) + 0.15 * rng.smooth(core.shape, 10 / spacing)[0]
        hole = core & (core_time < taken)
        cavity = torch.zeros(shape, device=fractions.device)
        cavity[box] = hole.float()
        core = core & ~hole
    whole = ((oedema_time <= 1) & (tissue > 0.3) | core) & (cavity[box] < 0.5 if cavity is not None else True)
    cut_labels = torch.zeros(core.shape, dtype=torch.uint8, device=fractions.device)
    cut_labels[whole] = 2
    if not (fronts.kind is Kind.OEDEMATOUS and prior.coreless and rng.chance(prior.coreless)):
        cut_labels[core] = 1
        cut_labels[core & _enhancing(fronts, core_time, spacing, rng)] = 3
    labels[box], lateness[box] = cut_labels, core_time
    depth[box] = torch.where(core, 1.0, (1 - oedema_time).clamp(0, 1)) * whole
    return Tumour(fronts.kind, labels, lateness, depth, cavity)


def displacement(fronts: Fronts, spacing: float, rng: Rng) -> Tensor:
    """Mass effect: how far tissue is pushed away from the core.

    Returns
    -------
    Tensor of float32, shape (3, x, y, z)
        Millimetres along each axis, outwards, up to 10 mm for a large core; 0 without one.

    Notes
    -----
    A quasi-static stand-in for the linear elastic response (Hogea et al., *Journal of Mathematical Biology* 2008): the
    push follows the gradient of the blurred core.
    """
    core = (fronts.core <= 1).float()
    largest = rng.uniform(0, 1) * min(10.0, 2.8 * fronts.core_ml ** (1 / 3))
    smooth = blur(core[None], 7.0 / spacing)[0]
    gradient = torch.stack(torch.gradient(smooth))
    strength = float(gradient.square().sum(0).amax().sqrt())
    return -gradient * (largest / strength if strength > 1e-6 else 0.0)


def _enhancing(fronts: Fronts, lateness: Tensor, spacing: float, rng: Rng) -> Tensor:
    """Where the core takes up contrast; ``lateness`` is 0 at the seed and 1 at the core's edge."""
    shape, kind = lateness.shape, fronts.kind
    noise = rng.smooth(shape, rng.uniform(6, 16) / spacing)[0]
    fine = rng.smooth(shape, rng.uniform(3, 6) / spacing)[0]
    # The front moves at a constant speed, so lateness is about distance over radius.
    radius_mm = (3 * fronts.core_ml * 1000 / (4 * pi)) ** (1 / 3)
    match kind:
        case Kind.RIM | Kind.CYSTIC:
            if kind is Kind.CYSTIC and rng.chance(0.45):
                return torch.zeros_like(lateness, dtype=torch.bool)
            thick = rng.log_uniform(1.5, 4) if kind is Kind.CYSTIC else rng.log_uniform(2.5, 12)
            thickness = (thick / radius_mm) * torch.exp(0.5 * noise)
            gaps = noise > rng.uniform(-2.2, 0.3 if kind is Kind.CYSTIC else -0.5)
            ragged = lateness + 0.06 * fine
            rim: Tensor = (ragged > 1 - thickness) & gaps
            return rim
        case Kind.SOLID:
            # Mixed: patches of enhancement of any share, now and then the whole core.
            return (0.7 * noise + 0.5 * fine + rng.uniform(-0.5, 1.5) * (lateness - 0.5)) > rng.uniform(-2.0, 0.6)
        case Kind.OEDEMATOUS:
            return fine > rng.uniform(-2.5, 1.0)
        case _:
            return (noise + 0.5 * fine) > rng.uniform(1.9, 4.5)


def _bounds(mask: Tensor) -> tuple[slice, slice, slice]:
    """Smallest box that holds a mask; one voxel where there is none."""
    places = mask.nonzero()
    if not len(places):
        return slice(0, 1), slice(0, 1), slice(0, 1)
    low, high = places.min(0).values.tolist(), places.max(0).values.tolist()
    x, y, z = (slice(a, b + 1) for a, b in zip(low, high, strict=True))
    return x, y, z


def _seed(white: Tensor, grey: Tensor, deep: Tensor, rng: Rng) -> tuple[int, int, int]:
    likelihood = (white + 0.5 * grey + 0.3 * deep).clamp(0, 1)
    likelihood = torch.where(likelihood > 0.5, likelihood, torch.zeros_like(likelihood))
    # Infratentorial tumours are rare in adults: the lowest third keeps a quarter of its weight.
    height = torch.linspace(0, 1, likelihood.shape[2], device=likelihood.device)
    return _draw_place(likelihood * (0.25 + 0.75 * (height > 0.33)), rng)


def _draw_place(weights: Tensor, rng: Rng) -> tuple[int, int, int]:
    """A voxel drawn by weight."""
    cumulative = weights.flatten().double().cumsum(0)
    flat = int(torch.searchsorted(cumulative, rng.uniform(0, 1) * float(cumulative[-1])).clamp(max=weights.numel() - 1))
    x, rest = divmod(flat, weights.shape[1] * weights.shape[2])
    y, z = divmod(rest, weights.shape[2])
    return x, y, z


def _box(seed: tuple[int, int, int], shape: torch.Size, radius: int) -> tuple[slice, slice, slice]:
    x, y, z = (slice(max(0, c - radius), min(n, c + radius + 1)) for c, n in zip(seed, shape, strict=True))
    return x, y, z


def _foci(
    seed: tuple[int, int, int],
    box: tuple[slice, slice, slice],
    tissue: Tensor,
    core_ml: float,
    rng: Rng,
    spacing: float,
    *,
    scattered: bool,
    distant: bool,
) -> Tensor:
    """Where growth starts: one focus, or with it satellites around it and foci far away."""
    axes = [torch.arange(n, device=rng.device, dtype=torch.float32) for n in tissue.shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    start = torch.zeros(tissue.shape, device=rng.device)
    places = [tuple(float(c - part.start) for c, part in zip(seed, box, strict=True))]
    if scattered or distant:
        distance = sum((axis - c) ** 2 for axis, c in zip((x, y, z), places[0], strict=True))
    if scattered:
        reach = rng.uniform(12, 35) / spacing
        near = (tissue > 0.6) * torch.exp(-torch.as_tensor(distance) / (2 * reach**2))
        places += [tuple(map(float, _draw_place(near + 1e-9, rng))) for _ in range(1 + rng.index(3))]
    if distant:
        far = (tissue > 0.6) * (torch.as_tensor(distance) > (FAR_MM / spacing) ** 2)
        places += [tuple(map(float, _draw_place(far + 1e-9, rng))) for _ in range(1 + rng.index(2))]
    # The first focus is a fraction of the core, however small that is to become.
    first = min(5.0, 0.5 * (3 * core_ml * 1000 / (4 * pi)) ** (1 / 3))
    for number, place in enumerate(places):
        stretch = [rng.uniform(0.6, 1.6) for _ in range(3)]
        distance = sum(((a - c) / s) ** 2 for a, c, s in zip((x, y, z), place, stretch, strict=True))
        # Smaller foci start later, so that satellites are smaller than the tumour they belong to.
        size = first * (1.0 if number == 0 else rng.uniform(0.5, 1.0)) / spacing
        start = torch.maximum(start, torch.exp(-torch.as_tensor(distance) / (2 * size**2)))
    return start
