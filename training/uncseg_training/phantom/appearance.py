"""What a phantom looks like in T1c, T1n, T2f and T2w: contrasts and texture of its tissues, and what stripping left.

Contrast is randomised around clinical values and now and then far beyond them, after SynthSeg (Billot et al., *Medical
Image Analysis* 2023): a network that has seen every contrast relies on shape and on relations between modalities.
Intensities are in units in which normal white and grey matter differ by about one and the brain has a standard
deviation of about one, i.e. near the z-scores a network is fed with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uncseg_training.phantom.appearance_priors import AppearancePrior
from uncseg_training.phantom.distractors import distract
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.growth import Tumour
from uncseg_training.phantom.lesion import add_tumour
from uncseg_training.phantom.scanner import OFFSET, scan

# Rows: t1c, t1n, t2f, t2w. Columns: outside, then Tissue 1..9.
BASE_CONTRAST = torch.tensor(
    [
        [-3.5, -2.0, -2.4, -0.5, 0.45, -0.1, 0.25, 0.2, -0.2, 0.35],
        [-3.5, -2.7, -3.0, -0.55, 0.75, -0.05, 0.5, 0.4, -0.45, 0.6],
        [-3.5, -1.9, -2.6, 0.4, -0.2, 0.2, -0.3, 0.05, 0.25, -0.1],
        [-3.5, 2.6, 3.8, -0.15, -0.55, -0.3, -0.85, -0.4, -0.15, -0.45],
    ]
)
JITTER = torch.tensor([0.0, 0.7, 0.6, 0.2, 0.2, 0.25, 0.3, 0.25, 0.25, 0.2])


def render(
    fractions: Tensor,
    tumour: Tumour,
    brain: Tensor,
    age: float,
    spacing: float,
    prior: AppearancePrior,
    rng: Rng,
    *,
    wide: float = 0.2,
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
    age : float
        0 young .. 1 old.
    spacing : float
        Voxel size in millimetres.
    prior : AppearancePrior
        Ranges to draw from.
    rng : Rng
        Source of randomness.
    wide : float
        Probability that a modality has a contrast far from clinical ones.

    Returns
    -------
    Tensor of float32, shape (4, x, y, z)
        t1c, t1n, t2f, t2w; positive in the brain, 0 outside.
    """
    shape = fractions.shape[1:]
    means = _tissue_means(rng, wide).to(fractions.device)
    images = torch.einsum("mt,txyz->mxyz", means, fractions)
    images = distract(images, fractions, age, prior.plaques, spacing, rng)
    images += rng.smooth(shape, 3.0, 4) * rng.uniform(0.02, 0.12)
    images += rng.smooth(shape, 10 / spacing, 4) * rng.uniform(0.02, 0.12)
    images = add_tumour(images, means, tumour, spacing, prior, rng)
    if rng.chance(0.12):
        # Dura or scalp that stripping forgot, as bright as it likes.
        remnant = brain & (fractions[0] > 0.5)
        for image in images:
            image[remnant] = rng.uniform(-3, 4)
    images = torch.stack([scan(image, spacing, rng) for image in images])
    return images * brain


def brain_mask(fractions: Tensor, spacing: float, rng: Rng) -> Tensor:
    """What a skull-stripping leaves: tissue and some of the CSF around it; bites and remnants now and then."""
    tissue = fractions[2:].sum(0)
    near = blur(tissue[None], max(rng.uniform(0.8, 3.2) / spacing, 0.3))[0]
    edge = rng.smooth(tissue.shape, 16 / spacing)[0]
    kept = ((1 - fractions[0]) > 0.5) & (near > (0.12 + rng.uniform(0, 0.08) * edge).clamp(0.02, 0.6))
    if rng.chance(0.12):
        kept |= (blur(kept[None].float(), 3 / spacing)[0] > 0.15) & (edge > rng.uniform(0.8, 2.0))
    if rng.chance(0.12):
        kept &= ~((blur(kept[None].float(), 4 / spacing)[0] < 0.85) & (edge < -rng.uniform(0.8, 2.0)))
    return kept


def _tissue_means(rng: Rng, wide: float) -> Tensor:
    """Signal of each tissue in each modality, shape ``(4, 10)``."""
    means = BASE_CONTRAST.clone()
    for row in means:
        scale = rng.uniform(0.6, 1.4)
        jitter = torch.tensor([rng.normal() for _ in range(row.numel())]) * JITTER * 1.2
        if rng.chance(wide):
            # White, grey, CSF and the rest drawn afresh around their usual order, or now and then against it.
            jitter = jitter * 2.5
            scale = rng.uniform(0.15, 1.8)
        row[1:] = row[1:] * scale + jitter[1:]
    # Magnitudes are positive: what would fall below is as dark as the outside.
    return means.clamp(min=0.3 - OFFSET)
