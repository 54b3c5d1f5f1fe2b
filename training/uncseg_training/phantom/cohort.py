"""Phantoms one by one: a seed goes in, a study comes out, on any grid, in memory or as files named like BraTS 2023."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.labels import MODALITIES, REGIONS, region_masks
from uncseg_training.phantom import appearance, growth
from uncseg_training.phantom.anatomy import Anatomy, Tissue
from uncseg_training.phantom.fields import Dice, blur
from uncseg_training.phantom.kinds import Kind
from uncseg_training.phantom.looks import looks_of

APPEARANCE_SEEDS = 1_000_000_007
"""Added to the seed of a phantom's geometry to give that of its appearance."""

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
    """A head with its tumour, before it looks like anything.

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
    looks : str
        Which ranges tumours are drawn from, see :data:`~uncseg_training.phantom.looks.LOOKS`.

    Raises
    ------
    ValueError
        Without any anatomy, or for looks that are not known.
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
        looks: str = "clinical",
    ) -> None:
        if not anatomies:
            raise ValueError("phantoms need at least one anatomy")
        self.looks = looks_of(looks)
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
        dice = Dice(2 * seed + APPEARANCE_SEEDS, self.device)
        fractions, tumour = geometry.fractions, geometry.tumour
        brain = appearance.brain_mask(fractions, self.spacing, dice) | (tumour.labels > 0)
        if tumour.cavity is not None:
            brain |= tumour.cavity > 0.5
        images = appearance.render(
            fractions, tumour, brain, geometry.age, self.spacing, self.looks, dice, wide=self.wide
        )
        return Phantom(images, tumour.labels, brain, tumour.kind, geometry.anatomy, seed)

    def geometry(self, number: int) -> Geometry:
        """Head and tumour number ``number``, without an appearance; the last one is remembered."""
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        dice = Dice(2 * (self.seed * 1_000_003 + number), self.device)
        choice, age = dice.index(len(self.anatomies)), dice.uniform(0, 1)
        pose = draw_pose(dice)
        # Slow and smooth things (deformation, growth) happen on a coarse grid of the same extent.
        coarse, fine = self.grid.coarser(GROWTH_SPACING), self.grid
        bend = dice.uniform(0, 2.5) * dice.smooth(coarse.shape, 32 / coarse.spacing, 3)
        source = self._source(choice, coarse.spacing)
        ventricle = source.place(coarse, pose, bend, only=Tissue.VENTRICLE)[1]
        bend = bend + _widen(ventricle, age, coarse.spacing, dice)
        fronts = growth.grow(source.place(coarse, pose, bend), coarse.spacing, self.looks, dice)
        if dice.chance(0.6):
            bend = bend - growth.displacement(fronts, coarse.spacing, dice)
        fractions = self._source(choice, fine.spacing).place(fine, pose, bend)
        _age_sulci(fractions, age, self.looks.sulci, dice)
        tumour = growth.cut(fronts, fractions, fine.spacing, self.looks, dice)
        geometry = Geometry(fractions, tumour, age, self.anatomies[choice].name)
        self._last = (number, geometry)
        return geometry

    def _source(self, choice: int, spacing: float) -> Source:
        if (choice, spacing) not in self._sources:
            self._sources[choice, spacing] = Source.of(self.anatomies[choice], spacing, self.device)
        return self._sources[choice, spacing]


@dataclass(frozen=True)
class Grid:
    """Voxels about a middle.

    Parameters
    ----------
    shape : tuple of int
        Number of voxels.
    spacing : float
        Their size in millimetres.
    """

    shape: tuple[int, int, int]
    spacing: float

    def coarser(self, spacing: float) -> Grid:
        """A grid of nearly the same extent with voxels of at least ``spacing``."""
        spacing = max(spacing, self.spacing)
        x, y, z = (max(8, round(n * self.spacing / spacing)) for n in self.shape)
        return Grid((x, y, z), spacing)

    def positions(self, device: torch.device | str) -> Tensor:
        """Millimetres from the middle, shape ``(3, x, y, z)``."""
        middle = torch.tensor([(n - 1) / 2 for n in self.shape], device=device)
        return (identity_grid(self.shape, device) - middle[:, None, None, None]) * self.spacing


@dataclass(frozen=True)
class Pose:
    """Where a head lies in the grid: millimetres of the grid to millimetres of the anatomy.

    Parameters
    ----------
    matrix : Tensor, shape (3, 3)
        Rotation, size and side.
    offset : Tensor, shape (3,)
        Place of the anatomy's middle in the grid.
    """

    matrix: Tensor
    offset: Tensor


def draw_pose(dice: Dice) -> Pose:
    """A head turned, resized, mirrored and moved a little."""
    matrix = _rotation([dice.uniform(-0.25, 0.25), dice.uniform(-0.15, 0.15), dice.uniform(-0.15, 0.15)])
    size = dice.uniform(0.88, 1.07)
    scales = torch.tensor([1 / (size * dice.uniform(0.95, 1.05)) for _ in range(3)])
    side = torch.tensor([-1.0 if dice.chance(0.5) else 1.0, 1.0, 1.0])
    offset = torch.tensor([dice.normal(3.0) for _ in range(3)])
    return Pose((side[:, None] * matrix * scales).to(dice.device), offset.to(dice.device))


@dataclass(frozen=True)
class Source:
    """An anatomy ready to be placed.

    Parameters
    ----------
    tissues : Tensor of uint8
        Fractions of the tissues in 255ths, shape (9, x, y, z), the outside being what is left; or, at the anatomy's own
        resolution, its tissue map, shape (x, y, z): twenty heads of fractions would fill a gigabyte there.
    spacing : float
        Voxel size in millimetres.
    middle : Tensor, shape (3,)
        Voxel that is put at the pose's offset.
    """

    tissues: Tensor
    spacing: float
    middle: Tensor

    @classmethod
    def of(cls, anatomy: Anatomy, spacing: float, device: torch.device) -> Source:
        """Tissues of an anatomy at a resolution."""
        if spacing <= 1.0:
            tissues = torch.from_numpy(anatomy.tissues)
            brain = (tissues >= Tissue.VENTRICLE) & (tissues != Tissue.BRAINSTEM)
        else:
            fractions = anatomy.fractions(spacing)[1:]
            # Without the outside, a tissue's channel is its number less one.
            brain = fractions[Tissue.VENTRICLE - 1 :].sum(0) - fractions[Tissue.BRAINSTEM - 1] > 0.5
            tissues = (fractions * 255).round().to(torch.uint8)
        return cls(tissues.to(device), max(spacing, 1.0), _middle(brain).to(device))

    def place(self, grid: Grid, pose: Pose, bend: Tensor, only: Tissue | None = None) -> Tensor:
        """Tissue fractions ``(10, x, y, z)`` on a grid, or ``(2, x, y, z)`` of one tissue and the rest.

        Parameters
        ----------
        grid : Grid
            Where they are wanted.
        pose : Pose
            Of the head.
        bend : Tensor, shape (3, x', y', z')
            Displacement in millimetres of where tissue is taken from, on any grid of the same extent.
        only : Tissue, optional
            Of this tissue alone.
        """
        if bend.shape[1:] != grid.shape:
            bend = F.interpolate(bend[None], size=grid.shape, mode="trilinear")[0]
        places = grid.positions(bend.device).add_(bend).sub_(pose.offset[:, None, None, None])
        matrix, count = pose.matrix / self.spacing, places[0].numel()
        voxels = torch.addmm(self.middle[:, None], matrix, places.view(3, count)).view_as(places)
        wanted = list(Tissue) if only is None else [only]
        if self.tissues.ndim == 3:
            nearest = _nearest(self.tissues, voxels)
            # A voxel's edge takes part in its neighbour.
            tissues = blur(torch.stack([nearest == tissue for tissue in wanted]).float(), 0.5)
        else:
            tissues = warp(self.tissues[[tissue - 1 for tissue in wanted]].float().div_(255), voxels)
        outside = (1 - tissues.sum(0, keepdim=True)).clamp(0, 1)
        return torch.cat([outside, tissues])


GROWTH_SPACING = 3.0
"""Voxel size in millimetres at which deformations are drawn and tumours grow."""


def _widen(ventricle: Tensor, age: float, spacing: float, dice: Dice) -> Tensor:
    """Displacement, in millimetres, that widens the ventricles of the old and narrows those of the young."""
    gradient = torch.stack(torch.gradient(blur(ventricle[None], 4.5 / spacing)[0]))
    strength = float(gradient.square().sum(0).amax().sqrt())
    amount = 5.0 * age - 1.5 + dice.normal(0.8)
    return gradient * (amount / strength if strength > 1e-6 else 0.0)


def _age_sulci(fractions: Tensor, age: float, wider: float, dice: Dice) -> None:
    """Widen the sulci of the old and narrow those of the young, where cortex and CSF share a voxel."""
    share = (1.2 * age - 0.6 + wider + dice.normal(0.15)) * fractions[Tissue.CSF] * fractions[Tissue.CORTEX]
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


def _middle(brain: Tensor) -> Tensor:
    """Middle of a mask's bounding box."""
    middle = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        filled = brain.any(others[1]).any(others[0]).nonzero().flatten()
        middle.append((int(filled[0]) + int(filled[-1])) / 2)
    return torch.tensor(middle)


def _nearest(labels: Tensor, positions: Tensor) -> Tensor:
    """Look labels up at voxel ``positions`` (3, x, y, z); 0 outside."""
    inside = torch.ones(positions.shape[1:], dtype=torch.bool, device=labels.device)
    flat = torch.zeros(positions.shape[1:], dtype=torch.long, device=labels.device)
    for axis, size in enumerate(labels.shape):
        voxel = positions[axis].round().long()
        inside &= (voxel >= 0) & (voxel < size)
        flat = flat * size + voxel.clamp(0, size - 1)
    return labels.flatten()[flat] * inside


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
