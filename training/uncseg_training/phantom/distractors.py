"""What is bright in a head without being tumour: vessels, dura, plexus, ageing white matter, artefacts of FLAIR."""

from __future__ import annotations

from torch import Tensor

from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.lesion import T1C, T1N, T2F, T2W


def distract(images: Tensor, fractions: Tensor, age: float, plaques: float, spacing: float, rng: Rng) -> Tensor:
    """Draw distractors into healthy images.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        t1c, t1n, t2f, t2w in units of contrast; changed in place.
    fractions : Tensor, shape (10, x, y, z)
        Tissue fractions.
    age : float
        0 young .. 1 old: white-matter lesions and caps of the ventricles come with it.
    plaques : float
        Probability of plaques as in multiple sclerosis.
    spacing : float
        Voxel size in millimetres.
    rng : Rng
        Source of randomness.
    """
    _enhance(images[T1C], images[T2F], fractions, spacing, rng)
    _age(images, fractions, age, spacing, rng)
    _flair(images[T2F], fractions, spacing, rng)
    if plaques and rng.chance(plaques):
        _plaques(images, fractions, spacing, rng)
    return images


def _enhance(t1c: Tensor, flair: Tensor, fractions: Tensor, spacing: float, rng: Rng) -> None:
    """Vessels and dura, venous sinuses and choroid plexus take up contrast."""
    shape = t1c.shape
    csf, ventricle = fractions[Tissue.CSF], fractions[Tissue.VENTRICLE]
    fields = rng.smooth(shape, 7 / spacing, 3)
    # Thin sheets in the outer CSF, and threads where two sheets cross.
    t1c += rng.uniform(0.1, 4.5) * csf * (fields[0].abs() < 0.25)
    threads = (fields[1].abs() < 0.14) & (fields[2].abs() < 0.22)
    t1c += rng.uniform(0, 3) * threads * (1 - fractions[0])
    t1c += rng.uniform(0.5, 6) * (rng.smooth(shape, 10 / spacing)[0] > rng.uniform(0.9, 2.2)) * (csf > 0.3)
    plexus = (rng.smooth(shape, 5 / spacing)[0] > rng.uniform(0.8, 2)) * (ventricle > 0.3)
    t1c += rng.uniform(1, 5) * plexus
    flair += rng.uniform(0, 2.5) * plexus


def _age(images: Tensor, fractions: Tensor, age: float, spacing: float, rng: Rng) -> None:
    """Caps and bands along the ventricles, and scattered lesions of the white matter."""
    white = fractions[Tissue.WHITE]
    near = blur(fractions[Tissue.VENTRICLE][None], rng.uniform(2, 5) / spacing)[0]
    caps = white * (near * 4).clamp(0, 1) * rng.uniform(0, 0.6 + 1.1 * age)
    images[T2F] += caps
    images[T2W] += 0.5 * caps
    if not rng.chance(0.2 + 0.5 * age):
        return
    noise = rng.smooth(white.shape, rng.uniform(3, 7) / spacing)[0] + 1.2 * (near * 3).clamp(0, 1)
    lesions = white * ((noise - rng.uniform(3.2 - 1.1 * age, 3.4)) * 3).clamp(0, 1)
    images[T2F] += rng.uniform(0.8, 2.8) * lesions
    images[T2W] += rng.uniform(0.4, 2.0) * lesions
    images[T1N] -= rng.uniform(0.1, 1.0) * lesions
    images[T1C] -= rng.uniform(0.1, 0.8) * lesions
    if rng.chance(0.1):
        # Active plaques enhance, and are no tumour either.
        images[T1C] += rng.uniform(0.5, 2.0) * lesions


def _plaques(images: Tensor, fractions: Tensor, spacing: float, rng: Rng) -> None:
    """Round lesions of the white matter, most along the ventricles, some run together; the older ones dark in T1."""
    white = fractions[Tissue.WHITE]
    near = blur(fractions[Tissue.VENTRICLE][None], rng.uniform(4, 9) / spacing)[0]
    noise = rng.smooth(white.shape, rng.uniform(3, 8) / spacing)[0] + rng.uniform(0.5, 2.0) * (near * 4).clamp(0, 1)
    plaques = (white * 1.4).clamp(0, 1) * ((noise - rng.uniform(1.4, 2.8)) * rng.uniform(3, 8)).clamp(0, 1)
    images[T2F] += rng.uniform(1.2, 4.5) * plaques
    images[T2W] += rng.uniform(0.8, 3.5) * plaques
    images[T1N] -= rng.uniform(0.2, 1.8) * plaques
    images[T1C] -= rng.uniform(0.1, 1.5) * plaques
    if rng.chance(0.15):
        # The active ones enhance, some as a whole.
        active = rng.smooth(white.shape, 12 / spacing)[0] > rng.uniform(0.5, 1.5)
        images[T1C] += rng.uniform(0.5, 3.5) * plaques * active


def _flair(flair: Tensor, fractions: Tensor, spacing: float, rng: Rng) -> None:
    """Fluid that flow kept from being suppressed; cortex that shines where the coil is near."""
    if rng.chance(0.35):
        flow = (rng.smooth(flair.shape, 12 / spacing)[0] - 0.6).clamp(0, 1)
        flair += rng.uniform(0.5, 3.5) * flow * (fractions[Tissue.CSF] + fractions[Tissue.VENTRICLE])
    if rng.chance(0.3):
        patch = (rng.smooth(flair.shape, 20 / spacing)[0] - 0.4).clamp(0, 1)
        flair += rng.uniform(0.2, 0.9) * patch * (fractions[Tissue.CORTEX] + fractions[Tissue.DEEP_GREY])
