"""Where a head lies: anatomies turned, resized, mirrored and bent onto the grid of a phantom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.phantom.anatomy import Anatomy, Tissue
from uncseg_training.phantom.fields import Rng, blur


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


def draw_pose(rng: Rng) -> Pose:
    """A head turned, resized, mirrored and moved a little."""
    matrix = rotation([rng.uniform(-0.25, 0.25), rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15)])
    size = rng.uniform(0.88, 1.07)
    scales = torch.tensor([1 / (size * rng.uniform(0.95, 1.05)) for _ in range(3)])
    side = torch.tensor([-1.0 if rng.chance(0.5) else 1.0, 1.0, 1.0])
    offset = torch.tensor([rng.normal(3.0) for _ in range(3)])
    return Pose((side[:, None] * matrix * scales).to(rng.device), offset.to(rng.device))


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
            found = nearest(self.tissues, voxels)
            # A voxel's edge takes part in its neighbour.
            tissues = blur(torch.stack([found == tissue for tissue in wanted]).float(), 0.5)
        else:
            tissues = warp(self.tissues[[tissue - 1 for tissue in wanted]].float().div_(255), voxels)
        outside = (1 - tissues.sum(0, keepdim=True)).clamp(0, 1)
        return torch.cat([outside, tissues])


def _middle(brain: Tensor) -> Tensor:
    """Middle of a mask's bounding box."""
    middle = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        filled = brain.any(others[1]).any(others[0]).nonzero().flatten()
        middle.append((int(filled[0]) + int(filled[-1])) / 2)
    return torch.tensor(middle)


def nearest(labels: Tensor, positions: Tensor) -> Tensor:
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


def rotation(angles: Sequence[float]) -> Tensor:
    """Turns about x, y and z, in this order, by angles in radians; shape (3, 3)."""
    matrix = torch.eye(3)
    for axis, angle in enumerate(angles):
        turn = torch.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = cos(angle)
        turn[i, j], turn[j, i] = -sin(angle), sin(angle)
        matrix = matrix @ turn
    return matrix
