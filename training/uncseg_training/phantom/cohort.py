"""Phantoms one by one: a seed goes in, a study comes out, on any grid, in memory or as files named like BraTS 2023."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.labels import MODALITIES, REGIONS, region_masks
from uncseg_training.phantom import appearance, growth
from uncseg_training.phantom.anatomy import Anatomy, Tissue
from uncseg_training.phantom.fields import Dice

STEPS_PER_UNIT = 25
"""Integer steps of a written image per unit of contrast."""


@dataclass(frozen=True)
class Phantom:
    """A synthetic study.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        t1c, t1n, t2f, t2w; positive in the brain, 0 outside. RAS order.
    labels : Tensor of uint8, shape (x, y, z)
        BraTS 2023 coding.
    brain : Tensor of bool, shape (x, y, z)
        Voxels of the brain.
    kind : Kind
        Type of the tumour.
    anatomy : str
        Name of the anatomy it was grown in.
    seed : int
        Makes it again.
    """

    images: Tensor
    labels: Tensor
    brain: Tensor
    kind: growth.Kind
    anatomy: str
    seed: int

    def normalised(self) -> Tensor:
        """Images as a network is fed with them: z-scores within the brain, 0 outside."""
        inside = self.images[:, self.brain]
        mean, deviation = inside.mean(1), inside.std(1).clamp(min=1e-3)
        z = (self.images - mean[:, None, None, None]) / deviation[:, None, None, None]
        return z * self.brain


class Phantoms:
    """An endless, indexable stream of phantoms.

    Parameters
    ----------
    anatomies : sequence of Anatomy
        Drawn from at random.
    shape : tuple of int
        Grid of every phantom.
    spacing : float
        Voxel size in millimetres.
    seed : int
        Phantom ``i`` of a stream depends on this and on ``i`` alone.
    wide : float
        Probability of an unusual contrast, per modality.
    device : torch.device or str
        Where phantoms are made.

    Raises
    ------
    ValueError
        Without any anatomy.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        shape: tuple[int, int, int] = (80, 96, 80),
        spacing: float = 2.0,
        seed: int = 0,
        wide: float = 0.2,
        device: torch.device | str = "cpu",
    ) -> None:
        if not anatomies:
            raise ValueError("phantoms need at least one anatomy")
        self.anatomies = tuple(anatomies)
        self._fractions: dict[int, Tensor] = {}
        self.shape, self.spacing, self.seed, self.wide = shape, spacing, seed, wide
        self.device = torch.device(device)

    def __getitem__(self, index: int) -> Phantom:
        """Phantom number ``index``."""
        seed = self.seed * 1_000_003 + index
        dice = Dice(seed * 2, self.device)
        choice = dice.index(len(self.anatomies))
        fractions = self._place(self._fractions_of(choice), dice)
        tumour = growth.grow(fractions, self.spacing, dice)
        if dice.chance(0.5):
            push = growth.displacement(tumour, self.spacing, dice) / self.spacing
            fractions = warp(fractions, identity_grid(self.shape, self.device) - push)
        brain = appearance.brain_mask(fractions, self.spacing, dice) | (tumour.labels > 0)
        images = appearance.render(fractions, tumour, brain, self.spacing, dice, wide=self.wide)
        return Phantom(images, tumour.labels, brain, tumour.kind, self.anatomies[choice].name, seed)

    def _fractions_of(self, choice: int) -> Tensor:
        if choice not in self._fractions:
            # uint8 keeps twenty anatomies in a few hundred megabytes.
            pooled = self.anatomies[choice].fractions(self.spacing)
            self._fractions[choice] = (pooled * 255).round().to(torch.uint8).to(self.device)
        return self._fractions[choice].float() / 255

    def _place(self, fractions: Tensor, dice: Dice) -> Tensor:
        """Put an anatomy on the grid with a random pose, size, side and smooth deformation."""
        grid = identity_grid(self.shape, self.device)
        centre = torch.tensor([(n - 1) / 2 for n in self.shape], device=self.device)
        source = _middle(fractions)
        matrix = _rotation([dice.uniform(-0.25, 0.25), dice.uniform(-0.15, 0.15), dice.uniform(-0.15, 0.15)])
        scales = torch.tensor([1 / (dice.uniform(0.88, 1.1) * dice.uniform(0.95, 1.05)) for _ in range(3)])
        matrix = (matrix * scales).to(self.device)
        offset = torch.tensor([dice.normal(3 / self.spacing) for _ in range(3)], device=self.device)
        positions = torch.einsum("ij,jxyz->ixyz", matrix, grid - (centre + offset)[:, None, None, None])
        positions = positions + dice.uniform(0, 2.5) / self.spacing * dice.smooth(self.shape, 32 / self.spacing, 3)
        if dice.chance(0.5):
            positions[0] = -positions[0]
        placed = warp(fractions, positions + source[:, None, None, None])
        placed[0] = (1 - placed[1:].sum(0)).clamp(0, 1)
        return placed


def write_phantom(phantom: Phantom, folder: Path, name: str, spacing: float) -> Path:
    """Write a phantom as a BraTS 2023 study with its truth.

    Parameters
    ----------
    phantom : Phantom
        What to write.
    folder : Path
        The study becomes ``folder/name/name-t1c.nii.gz`` and so on, ``name-seg.nii.gz`` and ``name-truth.json``
        (volumes in mL, type, anatomy, seed).
    name : str
        Id of the study.
    spacing : float
        Voxel size in millimetres.

    Returns
    -------
    Path
        The study's folder.
    """
    study = folder / name
    study.mkdir(parents=True, exist_ok=True)
    # BraTS stores its voxels in LPS order; the origin is such that the grid's middle is at 0.
    size = np.array(phantom.labels.shape) * spacing / 2
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = size[0], size[1], -size[2]
    for modality, image in zip(MODALITIES, phantom.images.cpu().numpy(), strict=True):
        # Twenty-five steps per unit of contrast: about as fine as the weakest noise, and it packs well.
        _write(
            study / f"{name}-{modality}.nii.gz", np.round(image[::-1, ::-1] * STEPS_PER_UNIT).astype(np.int16), affine
        )
    labels = phantom.labels.cpu().numpy()
    _write(study / f"{name}-seg.nii.gz", labels[::-1, ::-1], affine)
    volumes = region_masks(labels).sum((1, 2, 3)) * spacing**3 / 1000
    truth = {
        "kind": str(phantom.kind),
        "anatomy": phantom.anatomy,
        "seed": phantom.seed,
        "volumes_ml": {str(region): round(float(volume), 3) for region, volume in zip(REGIONS, volumes, strict=True)},
    }
    (study / f"{name}-truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    return study


def _write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(np.ascontiguousarray(data), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _middle(fractions: Tensor) -> Tensor:
    """Middle of the brain's bounding box, the part of the brainstem that hangs below it left out."""
    brain = fractions[Tissue.VENTRICLE :].sum(0) - fractions[Tissue.BRAINSTEM] > 0.5
    middle = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        filled = brain.any(others[1]).any(others[0]).nonzero().flatten()
        middle.append((int(filled[0]) + int(filled[-1])) / 2)
    return torch.tensor(middle, device=fractions.device)


def identity_grid(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Voxel indices ``(3, x, y, z)``."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def warp(volume: Tensor, positions: Tensor) -> Tensor:
    """Sample ``volume`` (channels, x, y, z) at voxel ``positions`` (3, x', y', z'), trilinear, 0 outside."""
    sizes = torch.tensor(volume.shape[1:], device=volume.device, dtype=torch.float32)
    normalised = (2 * positions + 1) / sizes[:, None, None, None] - 1
    grid = normalised.flip(0).permute(1, 2, 3, 0)[None]
    sampled: Tensor = F.grid_sample(volume[None], grid, align_corners=False)[0]
    return sampled


def _rotation(angles: Sequence[float]) -> Tensor:
    matrix = torch.eye(3)
    for axis, angle in enumerate(angles):
        turn = torch.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = cos(angle)
        turn[i, j], turn[j, i] = -sin(angle), sin(angle)
        matrix = matrix @ turn
    return matrix
