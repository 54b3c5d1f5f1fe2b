"""What a tumour looks like in T1c, T1n, T2f and T2w.

All tissues of a tumour are told by one latent quantity, their water: 0 is white matter, 1 is fluid. More water is
brighter in T2, darker in T1, and brighter in FLAIR until suppression takes over, which is how oedema, non-enhancing
core, necrosis and cysts are related in patients (Just and Thelen, *Radiology* 1988; Hajnal et al., *JCAT* 1992). Blood,
contrast agent and a jitter of each tissue in each modality come on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.appearance_priors import AppearancePrior
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.growth import Tumour
from uncseg_training.phantom.kinds import Kind

T1C, T1N, T2F, T2W = range(4)

CORE_TISSUES: dict[Kind, tuple[float, float, float]] = {
    Kind.RIM: (0.22, 0.66, 0.12),
    Kind.SOLID: (0.60, 0.33, 0.07),
    Kind.NON_ENHANCING: (0.72, 0.16, 0.12),
    Kind.OEDEMATOUS: (0.60, 0.35, 0.05),
    Kind.CYSTIC: (0.10, 0.25, 0.65),
}
"""How likely a part of the core is solid tumour, necrosis or a cyst."""


@dataclass(frozen=True)
class Relaxation:
    """How water becomes signal in one phantom.

    Parameters
    ----------
    white, fluid : Tensor of float32, shape (4,)
        Signal of white matter and of fluid per modality.
    t1 : float
        Share of the way to fluid that T1 goes with water.
    t1_free : float
        Share of what is left of that way that free fluid goes; 1 reaches the fluid of the ventricles.
    t2 : float
        Exponent of water in T2; below 1, little water shines already.
    flair : float
        Signal that FLAIR gains with water.
    suppressed : float
        Share of free fluid's signal that FLAIR suppresses inside the tumour, 0..1; protein hinders it.
    """

    white: Tensor
    fluid: Tensor
    t1: float
    t1_free: float
    t2: float
    flair: float
    suppressed: float

    def signal(self, water: Tensor) -> Tensor:
        """Change of signal from white matter, shape ``(4, x, y, z)``, for water of shape ``(x, y, z)``."""
        span = (self.fluid - self.white).tolist()
        t1 = water.clamp(min=0) ** 1.3 * self.t1
        t1 = t1 + (1 - self.t1) * self.t1_free * ((water - 0.7) / 0.25).clamp(0, 1)
        bright = self.flair * water.clamp(min=0) ** 0.8
        free = ((water - 0.6) / 0.35).clamp(0, 1) * self.suppressed
        return torch.stack(
            [
                span[T1C] * t1,
                span[T1N] * t1,
                bright + free * (span[T2F] - bright),
                span[T2W] * water.clamp(min=0) ** self.t2,
            ]
        )


def draw_relaxation(means: Tensor, prior: AppearancePrior, rng: Rng) -> Relaxation:
    """Draw how water becomes signal, given the tissue means ``(4, 10)`` of the phantom."""
    return Relaxation(
        means[:, Tissue.WHITE],
        means[:, Tissue.VENTRICLE],
        t1=rng.uniform(0.35, 0.95),
        t1_free=rng.uniform(*prior.t1_free) if prior.t1_free[1] else 0.0,
        t2=rng.uniform(*prior.t2),
        flair=rng.uniform(*prior.flair),
        suppressed=rng.uniform(0.0, 0.35) if rng.chance(prior.protein) else rng.uniform(0.35, 1.0),
    )


def add_tumour(
    images: Tensor, means: Tensor, tumour: Tumour, spacing: float, prior: AppearancePrior, rng: Rng
) -> Tensor:
    """Put a tumour into the images of a healthy head.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        t1c, t1n, t2f, t2w in units of contrast; left alone.
    means : Tensor of float32, shape (4, 10)
        Signal of each tissue.
    tumour : Tumour
        On the same grid.
    spacing : float
        Voxel size in millimetres.
    prior : AppearancePrior
        Ranges to draw from.
    rng : Rng
        Source of randomness.
    """
    if tumour.kind is Kind.NONE:
        return images
    box = _box_of(tumour, int(6 / spacing) + 1)
    labels, lateness, depth = tumour.labels[box], tumour.lateness[box], tumour.depth[box]
    shape = labels.shape
    relaxation = draw_relaxation(means, prior, rng)
    masks = [(labels == value).float() for value in (1, 2, 3)]
    if tumour.cavity is not None:
        masks.append(tumour.cavity[box])
    soft = blur(torch.stack(masks), rng.uniform(0.4, 1.3) / spacing)
    if prior.fade:
        soft[1] = _faded(torch.stack(masks[:3]), soft, spacing, prior.fade, prior.margin, rng)

    oedema_level = rng.uniform(*prior.oedema)
    edge, power = rng.uniform(*prior.edge), rng.uniform(0.2, 1.2)
    mottle, grain = (
        rng.uniform(*prior.mottle),
        rng.log_uniform(0.03, prior.grain if tumour.kind is Kind.SOLID else 0.2),
    )
    patches = rng.smooth(shape, rng.uniform(5, 14) / spacing, 3)
    oedema = oedema_level * (edge + (1 - edge) * depth**power) + mottle * patches[0]
    if prior.wet_patches and rng.chance(prior.wet_patches):
        oedema = oedema * (1 + _wet_patches(depth, spacing, rng))
    core = _core_water(tumour.kind, lateness, oedema_level, spacing, prior, rng) + grain * patches[1]
    enhancing = rng.uniform(*prior.enhancing) + 0.5 * grain * patches[2]
    water = soft[0] * core + soft[1] * oedema + soft[2] * enhancing
    total = soft[:3].sum(0)
    if tumour.cavity is not None:
        water, total = water + soft[3], total + soft[3]
    change = relaxation.signal(water / total.clamp(min=1e-3))
    change = change + torch.einsum("mt,txyz->mxyz", _jitter(rng).to(soft.device), soft[:3])
    change[T1C] += _uptake(soft[2], spacing, prior, rng)
    if rng.chance(prior.blood[0] if tumour.kind in (Kind.SOLID, Kind.RIM) else prior.blood[1]):
        change += _blood(soft[0] + soft[2], spacing, rng)

    # Oedema keeps some of the contrast of what it runs through; the core replaces it.
    kept = rng.uniform(0.1, 0.8) * soft[1]
    healthy = images[(slice(None), *box)]
    white = relaxation.white.to(images.device)[:, None, None, None]
    base = healthy + (total - kept).clamp(min=0) * (white - healthy)
    faint = torch.tensor([rng.uniform(0.25, 0.7) if rng.chance(0.08) else 1.0 for _ in range(4)])
    drawn = base + total * change
    strength = faint.to(images.device)[:, None, None, None]
    out = images.clone()
    out[(slice(None), *box)] = healthy + strength * (drawn - healthy)
    return out


def _faded(
    masks: Tensor, soft: Tensor, spacing: float, fade: tuple[float, float], margin: tuple[float, float], rng: Rng
) -> Tensor:
    """Oedema that ends in a slope, some of it beyond its outline and most of it within.

    Parameters
    ----------
    masks : Tensor, shape (3, x, y, z)
        NCR, ED and ET: 1 inside, 0 outside.
    soft : Tensor, shape (3 or more, x, y, z)
        How much of each voxel they fill.
    spacing : float
        Voxel size in millimetres.
    fade, margin : (float, float)
        Of :class:`~uncseg_training.phantom.appearance_priors.AppearancePrior`.
    rng : Rng
        Source of randomness.

    Returns
    -------
    Tensor, shape (x, y, z)
        How much of each voxel oedema fills; where core borders on healthy tissue nothing changes.
    """
    sigma, beyond = rng.uniform(*fade), rng.uniform(*margin)
    near = blur(torch.stack([masks.sum(0), masks[1]]), sigma / spacing)
    # A straight edge, blurred, is a normal distribution of the distance to it, which can be moved by millimetres.
    moved: Tensor = torch.special.ndtr(torch.special.ndtri(near[0].clamp(1e-4, 1 - 1e-4)) - beyond / sigma)
    share = near[1] / near[0].clamp(min=1e-4)
    return (soft[1] + share * (moved - soft[:3].sum(0))).clamp(min=0)


def _box_of(tumour: Tumour, margin: int) -> tuple[slice, slice, slice]:
    """Bounding box of tumour and cavity with a margin."""
    there = tumour.labels > 0
    if tumour.cavity is not None:
        there = there | (tumour.cavity > 0)
    box = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        filled = there.any(others[1]).any(others[0]).nonzero().flatten().tolist() or [0]
        box.append(slice(max(0, filled[0] - margin), filled[-1] + 1 + margin))
    x, y, z = box
    return x, y, z


def _core_water(
    kind: Kind, lateness: Tensor, oedema_level: float, spacing: float, prior: AppearancePrior, rng: Rng
) -> Tensor:
    """Water of the core: up to three parts beside and inside one another, so that kinds of tissue mix."""
    levels = [_part(kind, oedema_level, prior, rng) for _ in range(3)]
    fields = rng.smooth(lateness.shape, rng.uniform(8, 26) / spacing, 2)
    water = torch.full_like(lateness, levels[0])
    for level, field in zip(levels[1:], fields, strict=True):
        # The middle of a tumour dies first: parts follow the distance from the seed as well as chance.
        steep, limit, pull = rng.uniform(3, 10), rng.uniform(-0.8, 2.2), rng.uniform(0, 2)
        share = torch.sigmoid(steep * (field - limit + pull * (0.6 - lateness)))
        water = water + (level - water) * share
    return water


def _part(kind: Kind, oedema_level: float, prior: AppearancePrior, rng: Rng) -> float:
    solid, necrotic, cystic = CORE_TISSUES[kind]
    match rng.index(3, (solid, necrotic, cystic)):
        case 0:
            # Mostly wetter than oedema, now and then a dense, cellular tumour that is drier.
            if rng.chance(prior.dense):
                return rng.uniform(0.05, 0.3)
            return max(oedema_level + rng.uniform(*prior.solid), prior.driest)
        case 1:
            return max(rng.uniform(*prior.necrosis), oedema_level + prior.wetter)
        case _:
            return rng.uniform(0.85, 1.05)


def _jitter(rng: Rng) -> Tensor:
    """Deviations ``(4, 3)`` of NCR, ED and ET from what their water says; now and then large ones."""
    size = rng.uniform(0.5, 1.1) if rng.chance(0.12) else 0.22
    return torch.tensor([[rng.normal(size) for _ in range(3)] for _ in range(4)])


def _wet_patches(depth: Tensor, spacing: float, rng: Rng) -> Tensor:
    """Share of water that parts of oedema hold above the rest, most of them deep: as wet as core, and none."""
    field = rng.smooth(depth.shape, rng.uniform(8, 24) / spacing)[0] + rng.uniform(0, 2) * depth
    return rng.uniform(0.2, 0.8) * torch.sigmoid(rng.uniform(3, 8) * (field - rng.uniform(0, 1.6)))


def _uptake(enhancing: Tensor, spacing: float, prior: AppearancePrior, rng: Rng) -> Tensor:
    """Signal that contrast agent adds to T1c."""
    level = rng.log_uniform(*prior.uptake)
    texture = rng.smooth(enhancing.shape, rng.uniform(3, 14) / spacing)[0]
    return enhancing * level * (1 + rng.uniform(0.05, 0.45) * texture).clamp(min=0.2)


def _blood(core: Tensor, spacing: float, rng: Rng) -> Tensor:
    """Haemorrhage of any age in a part of the core: bright or dark in T1, mostly dark in T2."""
    field = rng.smooth(core.shape, rng.uniform(5, 20) / spacing)[0]
    where = core * torch.sigmoid(6 * (field - rng.uniform(-0.3, 1.8)))
    t1 = rng.uniform(-0.5, 2.5)
    change = torch.tensor([t1 + rng.uniform(-0.3, 0.3), t1, rng.uniform(-3.0, 0.8), rng.uniform(-4.0, 0.4)])
    return where * change.to(core.device)[:, None, None, None]
