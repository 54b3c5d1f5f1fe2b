"""What a phantom looks like in T1c, T1n, T2f and T2w: contrasts, texture and the faults of real scans.

Contrast is randomised around clinical values and now and then far beyond them, after SynthSeg (Billot et al. 2023): a
network that has seen every contrast relies on shape and on relations between modalities. Intensities are in units in
which normal white and grey matter differ by about one and the brain has a standard deviation of about one, i.e. near
the z-scores a network is fed with.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.fields import Dice, blur
from uncseg_training.phantom.growth import Kind, Tumour

# Rows: t1c, t1n, t2f, t2w. Columns: outside, then Tissue 1..9.
BASE_CONTRAST = torch.tensor(
    [
        [-3.5, -2.0, -2.4, -0.5, 0.45, -0.1, 0.25, 0.2, -0.2, 0.35],
        [-3.5, -2.7, -3.0, -0.55, 0.75, -0.05, 0.5, 0.4, -0.45, 0.6],
        [-3.5, -1.9, -2.6, 0.45, -0.2, 0.25, -0.3, 0.05, 0.3, -0.1],
        [-3.5, 2.8, 3.8, 0.1, -0.6, -0.2, -0.9, -0.4, 0.0, -0.5],
    ]
)
JITTER = torch.tensor([0.0, 0.7, 0.6, 0.2, 0.2, 0.25, 0.3, 0.25, 0.25, 0.2])


def render(
    fractions: Tensor, tumour: Tumour, brain: Tensor, spacing: float, dice: Dice, *, wide: float = 0.2
) -> Tensor:
    """Draw the four modalities.

    Parameters
    ----------
    fractions : Tensor, shape (10, x, y, z)
        Tissue fractions after mass effect, channel 0 the outside.
    tumour : Tumour
        On the same grid.
    brain : Tensor of bool, shape (x, y, z)
        What skull-stripping left.
    spacing : float
        Voxel size in millimetres.
    dice : Dice
        Source of randomness.
    wide : float
        Probability that a modality has a contrast far from clinical ones.

    Returns
    -------
    Tensor of float32, shape (4, x, y, z)
        t1c, t1n, t2f, t2w; positive in the brain, 0 outside.
    """
    shape = fractions.shape[1:]
    means = _tissue_means(dice, wide)
    healthy = torch.einsum("mt,txyz->mxyz", means.to(fractions.device), fractions)
    healthy = _distract(healthy, fractions, spacing, dice)
    images = _add_tumour(healthy, means, tumour, spacing, dice)
    texture = dice.smooth(shape, 3.0, 4) * dice.uniform(0.03, 0.15) + dice.smooth(
        shape, 12 / spacing, 4
    ) * dice.uniform(0.03, 0.15)
    images = images + texture
    images = torch.stack([_scan(images[m : m + 1], spacing, dice)[0] for m in range(4)])
    return torch.where(brain, images, torch.zeros_like(images))


def brain_mask(fractions: Tensor, spacing: float, dice: Dice) -> Tensor:
    """What a skull-stripping leaves: tissue and some of the CSF around it, with small errors at the edge."""
    tissue = fractions[2:].sum(0)
    reach = dice.uniform(0.8, 4.0) / spacing
    near = blur(tissue[None], max(reach, 0.3))[0]
    edge = dice.smooth(tissue.shape, 20 / spacing)[0] * dice.uniform(0, 0.08)
    return ((1 - fractions[0]) > 0.5) & (near > (0.12 + edge).clamp(0.02, 0.6))


def _tissue_means(dice: Dice, wide: float) -> Tensor:
    means = BASE_CONTRAST.clone()
    for modality in range(4):
        row = means[modality]
        scale = dice.uniform(0.6, 1.4)
        jitter = torch.tensor([dice.normal() for _ in range(row.numel())]) * JITTER * 1.3
        if dice.chance(wide):
            # White, grey, CSF and the rest drawn afresh around their usual order, or now and then against it.
            jitter = jitter * 2.5
            scale = dice.uniform(0.15, 1.8)
        means[modality, 1:] = row[1:] * scale + jitter[1:]
    return means


def _distract(images: Tensor, fractions: Tensor, spacing: float, dice: Dice) -> Tensor:
    """Things that are bright and no tumour: vessels, dura, choroid plexus, white-matter lesions, CSF flow in FLAIR."""
    shape = images.shape[1:]
    csf, ventricle, white = fractions[Tissue.CSF], fractions[Tissue.VENTRICLE], fractions[Tissue.WHITE]
    images = images.clone()
    # Vessels and dura in T1c: thin sheets in the outer CSF and threads elsewhere.
    sheets = (dice.smooth(shape, 8 / spacing)[0].abs() < 0.25).float()
    amount = dice.uniform(0.5, 4.5)
    images[0] += amount * csf * sheets * dice.uniform(0.2, 1)
    threads = (
        (dice.smooth(shape, 9 / spacing)[0].abs() < 0.12) & (dice.smooth(shape, 9 / spacing)[0].abs() < 0.2)
    ).float()
    images[0] += dice.uniform(0, 3) * threads * (1 - fractions[0])
    # Venous sinuses: thick bright blobs of the outer CSF.
    sinus = (dice.smooth(shape, 12 / spacing)[0] > dice.uniform(0.9, 2.2)).float() * (csf > 0.3)
    images[0] += dice.uniform(0.5, 6) * sinus
    # Choroid plexus: clumps in the ventricles.
    plexus = (dice.smooth(shape, 6 / spacing)[0] > dice.uniform(0.8, 2)).float() * (ventricle > 0.3)
    images[0] += dice.uniform(1, 5) * plexus
    images[2] += dice.uniform(0, 2.5) * plexus
    # Caps and bands along the ventricles, and scattered white-matter lesions.
    near_ventricle = blur(ventricle[None], dice.uniform(2, 5) / spacing)[0]
    caps = white * (near_ventricle * 4).clamp(0, 1) * dice.uniform(0, 1.3)
    lesions = torch.zeros_like(white)
    if dice.chance(0.45):
        noise = dice.smooth(shape, dice.uniform(4, 9) / spacing)[0] + 1.2 * (near_ventricle * 3).clamp(0, 1)
        lesions = white * ((noise - dice.uniform(2.0, 3.2)) * 3).clamp(0, 1)
    images[2] += caps + dice.uniform(0.8, 2.5) * lesions
    images[3] += 0.5 * caps + dice.uniform(0.4, 1.6) * lesions
    images[1] -= dice.uniform(0.1, 0.9) * lesions
    images[0] -= dice.uniform(0.1, 0.7) * lesions
    # FLAIR: unsuppressed CSF, bright cortex or insula.
    if dice.chance(0.35):
        flow = (dice.smooth(shape, 15 / spacing)[0] - 0.6).clamp(0, 1)
        images[2] += dice.uniform(0.5, 3.5) * flow * (csf + ventricle)
    if dice.chance(0.3):
        patch = (dice.smooth(shape, 25 / spacing)[0] - 0.4).clamp(0, 1)
        images[2] += dice.uniform(0.2, 0.9) * patch * (fractions[Tissue.CORTEX] + fractions[Tissue.DEEP_GREY])
    return images


def _add_tumour(images: Tensor, means: Tensor, tumour: Tumour, spacing: float, dice: Dice) -> Tensor:
    if tumour.kind is Kind.NONE:
        return images
    shape = images.shape[1:]
    white, ventricle = means[:, Tissue.WHITE].tolist(), means[:, Tissue.VENTRICLE].tolist()
    masks = torch.stack([(tumour.labels == value).float() for value in (1, 2, 3)])
    soft = blur(masks, dice.uniform(0.5, 1.6) / spacing)
    oedema_fade = tumour.depth.clamp(0, 1) ** dice.uniform(0.1, 0.9)
    patches = dice.smooth(shape, dice.uniform(8, 20) / spacing, 3)
    oedema = _oedema_values(white, dice)
    # Up to three kinds of core tissue, so that necrosis, cysts, blood and solid tumour may stand side by side.
    parts = [_core_values(white, ventricle, oedema, tumour.kind, dice) for _ in range(3)]
    borders = [torch.sigmoid(4 * (field - dice.uniform(-0.8, 2.2))) for field in _partition(shape, spacing, dice)]
    faint = [dice.uniform(0.2, 0.6) if dice.chance(0.1) else 1.0 for _ in range(4)]
    enhancing = _enhancing_values(white, dice)
    grain = dice.uniform(0.05, 0.9 if tumour.kind is Kind.SOLID else 0.5)
    mottle = dice.uniform(0.05, 0.5)
    out = images.clone()
    for m in range(4):
        core = parts[0][m] + grain * patches[0]
        for values, border in zip(parts[1:], borders, strict=True):
            core = core + (values[m] - core) * border
        rim = enhancing[m] + (dice.uniform(0.1, 1.0) if m == 0 else 0.4) * patches[1]
        swelling = oedema[m] + (mottle if m > 1 else 0.4 * mottle) * patches[2]
        weight_oedema = soft[1] * oedema_fade
        target = out[m]
        target = target + weight_oedema * (swelling - target) * faint[m]
        target = target + soft[0] * (core - target) * faint[m]
        target = target + soft[2] * (rim - target) * (faint[m] if m else 1.0)
        out[m] = target
    return out


def _partition(shape: torch.Size, spacing: float, dice: Dice) -> list[Tensor]:
    return [dice.smooth(shape, dice.uniform(10, 30) / spacing)[0] for _ in range(2)]


def _core_values(
    white: list[float], ventricle: list[float], oedema: list[float], kind: Kind, dice: Dice
) -> list[float]:
    """Blood, solid non-enhancing tumour, a cyst like CSF, or necrosis."""
    if dice.chance(0.2 if kind is Kind.SOLID else 0.08):
        t1 = white[1] + dice.uniform(-0.8, 2)
        return [
            t1 + dice.uniform(-0.5, 0.8),
            t1,
            white[2] + dice.uniform(-1.5, 2.5),
            white[3] + dice.uniform(-1.2, 2.5),
        ]
    solid = {Kind.NON_ENHANCING: 0.65, Kind.SOLID: 0.45, Kind.OEDEMATOUS: 0.5, Kind.CYSTIC: 0.08}.get(kind, 0.15)
    if dice.chance(solid):
        # In patients brighter than oedema in T2, mostly so in FLAIR, and darker in T1.
        return [
            oedema[0] - dice.uniform(-0.3, 1.0),
            oedema[1] - dice.uniform(-0.1, 1.2),
            oedema[2] + dice.uniform(-1.0, 1.4),
            oedema[3] + dice.uniform(0.2, 2.2),
        ]
    if dice.chance(0.5 if kind is Kind.CYSTIC else 0.2):
        share = dice.uniform(0.5, 1.1)
        values = [value + (fluid - value) * share for value, fluid in zip(white, ventricle, strict=True)]
        # Protein keeps some cysts from being suppressed in FLAIR.
        values[2] += dice.uniform(0, 2.5) if dice.chance(0.5) else 0.0
        return values
    t1 = white[1] - dice.uniform(0.4, 3.0)
    return [
        t1 - white[1] + white[0] + dice.uniform(-0.2, 1.2),
        t1,
        white[2] + dice.uniform(-1.5, 3.6),
        white[3] + dice.uniform(1.2, 4.6),
    ]


def _oedema_values(white: list[float], dice: Dice) -> list[float]:
    flair = dice.uniform(0.9, 3.0)
    t2 = flair * dice.uniform(0.45, 1.0) + dice.uniform(-0.1, 0.5)
    t1 = dice.uniform(0.1, 1.1)
    return [white[0] - dice.uniform(-0.1, 1.0), white[1] - t1, white[2] + flair, white[3] + t2]


def _enhancing_values(white: list[float], dice: Dice) -> list[float]:
    return [
        white[0] + dice.uniform(1.0, 4.5),
        white[1] - dice.uniform(-0.4, 1.2),
        white[2] + dice.uniform(0.4, 3.2),
        white[3] + dice.uniform(0.6, 2.9),
    ]


def _scan(image: Tensor, spacing: float, dice: Dice) -> Tensor:
    """The faults of one acquisition: misregistration, slices, bias field, gamma, noise; result is positive."""
    shape = image.shape[1:]
    if dice.chance(0.15):
        image = _shift(image, [dice.normal(0.8 / spacing) for _ in range(3)])
    sigma = [dice.uniform(0.0, 0.9) / spacing if dice.chance(0.6) else 0.0] * 3
    if dice.chance(0.3):
        # Thick slices along one axis, resampled to the grid.
        sigma[dice.index(3)] = dice.uniform(1.0, 2.6) / spacing
    image = blur(image, sigma)
    positive = (image + 6).clamp(min=0.2)
    bias = torch.exp(dice.uniform(0.0, 0.09) * dice.smooth(shape, max(shape) / 2.5))
    positive = positive * bias
    if dice.chance(0.5):
        top = positive.amax()
        positive = top * (positive / top) ** dice.log_uniform(0.7, 1.45)
    level = dice.log_uniform(0.02, 0.35)
    noise = dice.noise(shape, 2) * level
    positive = torch.sqrt((positive + noise[:1]) ** 2 + noise[1:] ** 2)
    if dice.chance(0.2):
        limit = torch.quantile(positive.flatten()[::29], dice.uniform(0.985, 0.999))
        positive = positive.clamp(max=float(limit))
    if dice.chance(0.05):
        axis = dice.index(3)
        ghost = torch.roll(positive, int(dice.uniform(0.1, 0.4) * shape[axis]), axis + 1)
        positive = positive + dice.uniform(0.02, 0.1) * ghost
    return positive


def _shift(image: Tensor, voxels: list[float]) -> Tensor:
    """Translate by a fraction of a voxel, trilinear, edges replicated."""
    theta = torch.eye(3, 4, device=image.device)
    for axis, amount in enumerate(voxels):
        # affine_grid counts axes from the last.
        theta[2 - axis, 3] = 2 * amount / image.shape[1 + axis]
    grid = F.affine_grid(theta[None], [1, 1, *image.shape[1:]], align_corners=False)
    moved: Tensor = F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    return moved
