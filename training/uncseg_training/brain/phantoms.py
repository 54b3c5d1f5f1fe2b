"""Phantoms with a skull: four images of a head with a tumour, and as a scanner gives them, on grids of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.arrays import AnyFloats, Floats32, Floats64, Labels, Mask
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import three
from napari_uncseg.labels import MODALITIES
from napari_uncseg.preparation.scans import RawStudy, Scan
from uncseg_training.brain.heads import SPACING, Head
from uncseg_training.brain.images import FIRST_EXTRA, OUTSIDE, distance_at
from uncseg_training.phantom import growth
from uncseg_training.phantom.anatomy import Tissue
from uncseg_training.phantom.appearance import render
from uncseg_training.phantom.appearance_priors import appearance_prior
from uncseg_training.phantom.fields import Rng, blur
from uncseg_training.phantom.placement import Grid, nearest, rotation

GROWTH_MM = 3.0
SHAPE_MM = (190.0, 230.0, 220.0)
"""Field of view; what lies below is cut off, as scanners do."""

Grids = Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]]

GRIDS: Grids = {
    "t1n": ((1.2, 1.0, 1.0), (0.0, 0.0, 0.0)),
    "t2f": ((0.9, 0.9, 5.0), (8.0, 0.0, 3.0)),
    "t2w": ((0.7, 0.7, 4.0), (-5.0, 4.0, 0.0)),
}
"""Voxels in mm, and degrees by which a grid is turned; T1c keeps the phantom's own."""


@dataclass(frozen=True, eq=False)
class HeadPhantom:
    """Four images of one head on one grid.

    Parameters
    ----------
    images : ndarray of float32, shape (4, x, y, z)
        T1c, T1n, T2f and T2w, with skull and skin.
    labels : ndarray of uint8, shape (x, y, z)
        The tumour, in the coding of BraTS 2023.
    brain : ndarray of bool, shape (x, y, z)
        The true mask, in which the whole tumour lies.
    affine : ndarray, shape (4, 4)
    """

    images: Floats32
    labels: Labels
    brain: Mask
    affine: Floats64

    def raw(self, moves: Mapping[str, Floats64] | None = None) -> RawStudy:
        """The study as a scanner gives it: every image on a grid of its own, three of them of a head that has moved.

        Parameters
        ----------
        moves : mapping of str to ndarray, optional
            Modality -> millimetres of T1c's head to where that point lies in the other image.
        """
        moves = moves or {}
        scans = {"t1c": Scan(self.images[0], self.affine, "phantom-t1c", 1)}
        for place, role in enumerate(MODALITIES[1:], start=1):
            spacing, degrees = GRIDS[role]
            scans[role] = self.scan(place, moves.get(role, np.eye(4)), spacing, degrees)
        return RawStudy("phantom", scans)

    def scan(
        self, place: int, move: Floats64, spacing: tuple[float, float, float], degrees: tuple[float, float, float]
    ) -> Scan:
        """One image of the moved head, on a grid of such voxels that is turned by degrees; slices are as thick."""
        own = geometry.spacing(self.affine)
        sigma = [0.4 * side / size if side > 1.5 * size else 0.0 for side, size in zip(spacing, own, strict=True)]
        image = ndimage.gaussian_filter(self.images[place], sigma)
        shape = three(round(side / size) for side, size in zip(SHAPE_MM, spacing, strict=True))
        affine = centred(spacing, shape, degrees)
        values = geometry.resample(image, move @ self.affine, shape, affine, order="linear")
        return Scan(np.asarray(values, np.float32), affine, f"phantom-{MODALITIES[place]}", place + 1)


def centred(spacing: tuple[float, float, float], shape: tuple[int, int, int], degrees: tuple[float, ...]) -> Floats64:
    """Affine of a grid whose middle lies at 0."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def rigid(degrees: AnyFloats, mm: AnyFloats) -> Floats64:
    """A turn by Euler's angles about the middle of the grid, and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = mm
    return matrix


def make_phantom(head: Head, seed: int, spacing: float = 1.25) -> HeadPhantom:
    """A head with a tumour, in the four contrasts.

    Parameters
    ----------
    head : Head
    seed : int
        The same seed gives the same phantom.
    spacing : float
        Voxel size in mm.
    """
    rng, prior = Rng(seed), appearance_prior("matched")
    shape = three(2 * round(side / spacing / 2) for side in SHAPE_MM)
    turn = rotation([rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)])
    middle = torch.tensor(head.middle) - torch.tensor([0.0, 0.0, 18.0])
    places = torch.addmm(middle[:, None], turn, Grid(shape, spacing).positions("cpu").view(3, -1)).view(3, *shape)
    # What lies beyond the label map counts as air.
    labels = nearest(torch.from_numpy(head.labels) - FIRST_EXTRA, places) + FIRST_EXTRA
    tissues = blur(torch.stack([labels == tissue for tissue in Tissue]).float(), 0.5)
    fractions = torch.cat([(1 - tissues.sum(0, keepdim=True)).clamp(0, 1), tissues])
    brain = distance_at(head, (places - 0.5) / SPACING) < 0
    coarse = F.interpolate(fractions[None], size=[round(side * spacing / GROWTH_MM) for side in shape], mode="area")[0]
    tumour = growth.cut(growth.grow(coarse, GROWTH_MM, prior, rng), fractions, spacing, prior, rng)
    everywhere = torch.ones(shape, dtype=torch.bool)
    images = render(fractions, tumour, everywhere, rng.uniform(0, 1), spacing, prior, rng, wide=0.0)
    outside = blur((labels >= FIRST_EXTRA).float()[None], 0.4)[0]
    images = torch.stack([_covered(image, labels, outside, row, rng) for row, image in enumerate(images)])
    found = tumour.labels.numpy()
    return HeadPhantom(images.numpy(), found, (brain.numpy() | (found > 0)), centred((spacing,) * 3, shape, (0, 0, 0)))


def _covered(image: Tensor, labels: Tensor, outside: Tensor, row: int, rng: Rng) -> Tensor:
    """An image of a brain with everything round it."""
    means = OUTSIDE[row] * torch.tensor([rng.uniform(0.8, 1.2) for _ in OUTSIDE[row]])
    level = rng.uniform(9.0, 12.0)
    cover = level * blur(means[(labels.int() - FIRST_EXTRA).clamp(min=0)][None], 0.4)[0]
    texture = 1 + 0.15 * rng.smooth(image.shape, 3.0)[0]
    noise = torch.hypot(cover * texture + 0.1 * rng.noise(image.shape)[0], 0.1 * rng.noise(image.shape)[0])
    return torch.lerp(image, noise, outside)
