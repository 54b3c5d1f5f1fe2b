"""The bundled network that finds the brain in images of any contrast: it says how far the brain's surface is.

Trained as SynthStrip was (Hoopes et al., *NeuroImage* 2022, doi 10.1016/j.neuroimage.2022.119474) by
``uncseg-train brain``; see ``models/bundled_brain/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.errors import ModelError, NoBrainMask
from napari_uncseg.io import geometry
from napari_uncseg.io.brain import one_piece
from napari_uncseg.io.files import read_bytes
from napari_uncseg.io.geometry import Affine, three
from napari_uncseg.models.model import put_weights
from napari_uncseg.models.unet import PlainConvUNet
from napari_uncseg.preparation.brain import BUNDLED
from napari_uncseg.preparation.registration import on_cubes

HEADER = "brain"
"""Key of a weights file's header that tells how the network is built and came to be."""

FIELD_MM = (192.0, 224.0, 192.0)
"""What a network sees of a head in training: a larger image is looked at again in such a field round the brain."""

CORE_MM, BORDER_MM = 1.0, 2.5
"""The mask grows from what lies this deep within the brain to this far beyond the surface that the network tells: it
should rather be too large, but not run along where the network hardly knows."""

FARTHEST_MM = 15.0
"""The network was taught distances up to here."""


@dataclass(frozen=True, eq=False)
class BrainNetwork:
    """A network and the grid it works on.

    Parameters
    ----------
    network : nn.Module
        Maps an image (1, 1, x, y, z) from 0 to 1 to distances in blocks of two voxels along each axis.
    spacing : float
        Side of its voxels, mm.
    unit : float
        Millimetres per unit of distance.
    multiple : int
        What the sides of an image must be multiples of.
    trained_on : tuple of str
        Names of the label maps it was trained on.
    """

    network: nn.Module
    spacing: float
    unit: float
    multiple: int
    trained_on: tuple[str, ...] = ()

    def find(self, images: Floats32, affine: Affine, covered: Sequence[Mask] | None = None) -> Mask:
        """The brain in images of one head with its skull on: the mean of what the network tells of each.

        Parameters
        ----------
        images : ndarray of float32, shape (n, x, y, z)
            Any contrasts, spacing and orientation, registered to one another; T1c comes first.
        affine : ndarray, shape (4, 4)
            Voxel indices to RAS+ millimetres.
        covered : sequence of ndarray of bool, shape (x, y, z), optional
            What each image reaches; everything when left out.

        Raises
        ------
        NoBrainMask
            When no brain is found.
        """
        total = np.zeros(images.shape[1:], dtype=np.float32)
        count = np.zeros(images.shape[1:], dtype=np.uint8)
        for place, image in enumerate(images):
            if image.min() == image.max():
                continue
            reached = True if covered is None else covered[place]
            total += np.where(reached, self.distance(image, affine), 0)
            count += reached
        core = one_piece((total < -CORE_MM * count) & (count > 0))
        if not core.any():
            raise NoBrainMask("No brain was found in T1c; give a mask of it with --brain-mask FILE.")
        return one_piece(signed_distance(core, geometry.spacing(affine)) <= CORE_MM + BORDER_MM)

    def distance(self, image: Floats32, affine: Affine) -> Floats32:
        """Millimetres to the brain's surface at each voxel of an image, from -15 within to 15 far outside."""
        values, cubes = on_cubes(image, affine, self.spacing)
        distance = self._distance(scaled(values))
        field = [int(side / self.spacing) for side in FIELD_MM]
        if any(have > seen for have, seen in zip(values.shape, field, strict=True)) and (distance < 0).any():
            inside = np.argwhere(one_piece(distance < 0))
            middle = inside.min(axis=0) + inside.max(axis=0) + 1  # of the image: a block has two of its voxels a side
            start = [
                int(np.clip(at - side // 2, 0, max(have - side, 0)))
                for at, side, have in zip(middle, field, values.shape, strict=True)
            ]
            window = tuple(slice(at, at + side) for at, side in zip(start, field, strict=True))
            distance = self._distance(scaled(values[window]))
            cubes[:3, 3] += self.spacing * np.array(start)
        blocks = np.diag([2 * self.spacing] * 3 + [1.0])
        blocks[:3, 3] = cubes[:3, 3] + self.spacing / 2
        near = np.clip(distance, -FARTHEST_MM, FARTHEST_MM)
        there = geometry.resample(near, blocks, three(image.shape), affine, order="linear", outside=FARTHEST_MM)
        return np.asarray(there, dtype=np.float32)

    def _distance(self, image: Floats32) -> Floats32:
        """Distances in millimetres in blocks of two voxels a side; a last voxel without a partner is left out."""
        sides = [-(-side // self.multiple) * self.multiple for side in image.shape]
        missing = [total - side for total, side in zip(sides, image.shape, strict=True)]
        padding = [part for extra in reversed(missing) for part in (0, extra)]
        with torch.inference_mode():
            found = self.network(F.pad(torch.from_numpy(image)[None, None], padding))[0, 0]
        x, y, z = ((side + 1) // 2 for side in image.shape)
        return np.asarray(found[:x, :y, :z].numpy() * self.unit, dtype=np.float32)


def scaled(image: Floats32) -> Floats32:
    """An image from 0 to 1 between its darkest and brightest hundredths."""
    low, high = np.quantile(image.ravel()[::7], (0.01, 0.995))
    between = (image - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.asarray(np.clip(between, 0, 1), dtype=np.float32)


def signed_distance(mask: Mask, spacing: tuple[float, float, float]) -> Floats32:
    """Millimetres from each voxel to the nearest voxel at the surface of a mask, negative within.

    Maurer et al., IEEE TPAMI 2003, doi 10.1109/TPAMI.2003.1177156.
    """
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(np.ascontiguousarray(mask.T.astype(np.uint8)))
    picture.SetSpacing(spacing)
    found = sitk.SignedMaurerDistanceMap(picture, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(found).T, dtype=np.float32)


@cache
def load_brain_network(path: Path = BUNDLED) -> BrainNetwork:
    """The network of a file that ``uncseg-train brain`` wrote; the bundled one when left out.

    Raises
    ------
    ModelError
        When the file is absent, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    data = read_bytes(path, ModelError)
    try:
        with safe_open(path, "pt") as opened:
            told = json.loads(opened.metadata()[HEADER])
        network = PlainConvUNet(told["architecture"], 1, 1)
        multiple = 2 ** len(told["architecture"]["strides"])
        spacing, unit, seen = float(told["spacing_mm"]), float(told["unit_mm"]), tuple(told["trained_on"])
        weights = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} holds no network that finds the brain; copy or install it again.") from error
    put_weights(network, weights, path, "what its header tells")
    return BrainNetwork(network.eval(), spacing, unit, multiple, seen)
