"""Phantoms one by one: a seed goes in, a study comes out, on any grid, in memory or as files named like BraTS 2023."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_uncseg.labels import MODALITIES, REGIONS, region_masks
from uncseg_training.phantom import appearance, growth
from uncseg_training.phantom.anatomy import Anatomy, Tissue
from uncseg_training.phantom.appearance_priors import appearance_prior
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.kinds import Kind
from uncseg_training.phantom.placement import Grid, Source, draw_pose

APPEARANCE_SEEDS = 1_000_000_007
"""Added to the seed of a phantom's geometry to give that of its appearance."""

GROWTH_SPACING = 3.0
"""Voxel size in millimetres at which deformations are drawn and tumours grow."""

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
    kind: Kind
    anatomy: str
    seed: int

    def normalised(self) -> Tensor:
        """Images as a network is fed with them: z-scores within the brain, 0 outside."""
        inside = self.images[:, self.brain]
        mean, deviation = inside.mean(1), inside.std(1).clamp(min=1e-3)
        z = (self.images - mean[:, None, None, None]) / deviation[:, None, None, None]
        return z * self.brain


@dataclass(frozen=True)
class Geometry:
    """A head with its tumour, before it has an appearance.

    Parameters
    ----------
    fractions : Tensor of float32, shape (10, x, y, z)
        Tissue fractions, channel 0 the outside.
    tumour : Tumour
        On the same grid.
    age : float
        0 young .. 1 old.
    anatomy : str
        Name of the anatomy.
    """

    fractions: Tensor
    tumour: growth.Tumour
    age: float
    anatomy: str


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
    reuse : int
        How many phantoms in a row share head and tumour, which take most of the time, and differ in appearance alone.
    prior : str
        Which ranges tumours are drawn from, see :data:`~uncseg_training.phantom.appearance_priors.APPEARANCE_PRIORS`.

    Raises
    ------
    ValueError
        Without any anatomy, or for a prior that is not known.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        shape: tuple[int, int, int] = (80, 96, 80),
        spacing: float = 2.0,
        seed: int = 0,
        wide: float = 0.2,
        device: torch.device | str = "cpu",
        reuse: int = 1,
        prior: str = "clinical",
    ) -> None:
        if not anatomies:
            raise ValueError("phantoms need at least one anatomy")
        self.prior = appearance_prior(prior)
        self.anatomies = tuple(anatomies)
        self._sources: dict[tuple[int, float], Source] = {}
        self.grid, self.seed, self.wide, self.reuse = Grid(shape, spacing), seed, wide, reuse
        self.device = torch.device(device)
        self._last: tuple[int, Geometry] | None = None

    @property
    def spacing(self) -> float:
        """Voxel size in millimetres."""
        return self.grid.spacing

    def __getitem__(self, index: int) -> Phantom:
        """Phantom number ``index``."""
        geometry = self.geometry(index // self.reuse)
        seed = self.seed * 1_000_003 + index
        rng = Rng(2 * seed + APPEARANCE_SEEDS, self.device)
        fractions, tumour = geometry.fractions, geometry.tumour
        brain = appearance.brain_mask(fractions, self.spacing, rng) | (tumour.labels > 0)
        if tumour.cavity is not None:
            brain |= tumour.cavity > 0.5
        images = appearance.render(
            fractions, tumour, brain, geometry.age, self.spacing, self.prior, rng, wide=self.wide
        )
        return Phantom(images, tumour.labels, brain, tumour.kind, geometry.anatomy, seed)

    def geometry(self, number: int) -> Geometry:
        """Head and tumour number ``number``, without an appearance; the last one is remembered."""
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        rng = Rng(2 * (self.seed * 1_000_003 + number), self.device)
        choice, age = rng.index(len(self.anatomies)), rng.uniform(0, 1)
        pose = draw_pose(rng)
        # Slow and smooth things (deformation, growth) happen on a coarse grid of the same extent.
        coarse, fine = self.grid.coarser(GROWTH_SPACING), self.grid
        bend = rng.uniform(0, 2.5) * rng.smooth(coarse.shape, 32 / coarse.spacing, 3)
        source = self._source(choice, coarse.spacing)
        ventricle = source.place(coarse, pose, bend, only=Tissue.VENTRICLE)[1]
        bend = bend + _widen(ventricle, age, coarse.spacing, rng)
        fronts = growth.grow(source.place(coarse, pose, bend), coarse.spacing, self.prior, rng)
        if rng.chance(0.6):
            bend = bend - growth.displacement(fronts, coarse.spacing, rng)
        fractions = self._source(choice, fine.spacing).place(fine, pose, bend)
        _age_sulci(fractions, age, self.prior.sulci, rng)
        tumour = growth.cut(fronts, fractions, fine.spacing, self.prior, rng)
        geometry = Geometry(fractions, tumour, age, self.anatomies[choice].name)
        self._last = (number, geometry)
        return geometry

    def _source(self, choice: int, spacing: float) -> Source:
        if (choice, spacing) not in self._sources:
            self._sources[choice, spacing] = Source.of(self.anatomies[choice], spacing, self.device)
        return self._sources[choice, spacing]


def _widen(ventricle: Tensor, age: float, spacing: float, rng: Rng) -> Tensor:
    """Displacement, in millimetres, that widens the ventricles of the old and narrows those of the young."""
    gradient = torch.stack(torch.gradient(blur(ventricle[None], 4.5 / spacing)[0]))
    strength = float(gradient.square().sum(0).amax().sqrt())
    amount = 5.0 * age - 1.5 + rng.normal(0.8)
    return gradient * (amount / strength if strength > 1e-6 else 0.0)


def _age_sulci(fractions: Tensor, age: float, wider: float, rng: Rng) -> None:
    """Widen the sulci of the old and narrow those of the young, where cortex and CSF share a voxel."""
    share = (1.2 * age - 0.6 + wider + rng.normal(0.15)) * fractions[Tissue.CSF] * fractions[Tissue.CORTEX]
    change = torch.minimum(torch.maximum(share, -fractions[Tissue.CSF]), fractions[Tissue.CORTEX])
    fractions[Tissue.CSF] += change
    fractions[Tissue.CORTEX] -= change


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
    import nibabel as nib

    image = nib.Nifti1Image(np.ascontiguousarray(data), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
