"""The bundled network that finds the brain in one image of any contrast: it says how far the brain's surface is.

Trained as SynthStrip was (Hoopes et al., *NeuroImage* 2022, doi 10.1016/j.neuroimage.2022.119474) by
``uncseg-train brain``; see ``models/bundled_brain/README.md``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from napari_uncseg.errors import ModelError, NoBrainMask
from napari_uncseg.io import geometry
from napari_uncseg.io.brain import one_piece
from napari_uncseg.io.files import read_bytes
from napari_uncseg.io.geometry import Affine, corners, three
from napari_uncseg.models.model import put_weights
from napari_uncseg.models.unet import PlainConvUNet
from napari_uncseg.preparation.brain import BUNDLED

HEADER = "brain"
"""Key of a weights file's header that tells how the network is built and came to be."""

FIELD_MM = (192.0, 224.0, 192.0)
"""What a network sees of a head in training: a larger image is looked at again in such a field round the brain."""

BORDER_MM = 1.5
"""How far from the surface that the network tells the mask ends: a mask should rather be too large."""

Floats = npt.NDArray[np.float32]


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

    def find(self, image: Floats, affine: Affine) -> npt.NDArray[np.bool_]:
        """The brain in one image of a head with its skull on.

        Parameters
        ----------
        image : ndarray of float32, shape (x, y, z)
            Any contrast, spacing and orientation.
        affine : ndarray, shape (4, 4)
            Voxel indices to RAS+ millimetres.

        Raises
        ------
        NoBrainMask
            When no brain is found.
        """
        values, origin = _on_cubes(image, affine, self.spacing)
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
            origin = origin + self.spacing * np.array(start)
        blocks = np.diag([2 * self.spacing] * 3 + [1.0])
        blocks[:3, 3] = origin + self.spacing / 2
        far = float(distance.max(initial=0.0)) + 1.0
        there = geometry.resample(distance, blocks, three(image.shape), affine, order="linear", outside=far)
        mask = one_piece(np.asarray(there) < BORDER_MM)
        if not mask.any() or values.min() == values.max():
            raise NoBrainMask("No brain was found in T1c; give a mask of it with --brain-mask FILE.")
        return mask

    def _distance(self, image: Floats) -> Floats:
        """Distances in millimetres in blocks of two voxels a side; a last voxel without a partner is left out."""
        sides = [-(-side // self.multiple) * self.multiple for side in image.shape]
        missing = [total - side for total, side in zip(sides, image.shape, strict=True)]
        padding = [part for extra in reversed(missing) for part in (0, extra)]
        with torch.inference_mode():
            found = self.network(F.pad(torch.from_numpy(image)[None, None], padding))[0, 0]
        x, y, z = ((side + 1) // 2 for side in image.shape)
        return np.asarray(found[:x, :y, :z].numpy() * self.unit, dtype=np.float32)


def scaled(image: Floats) -> Floats:
    """An image from 0 to 1 between its darkest and brightest hundredths."""
    low, high = np.quantile(image.ravel()[::7], (0.01, 0.995))
    between = (image - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.asarray(np.clip(between, 0, 1), dtype=np.float32)


def _on_cubes(image: Floats, affine: Affine, side: float) -> tuple[Floats, npt.NDArray[np.float64]]:
    """An image on cubes along the scanner's axes, and where the first one lies, mm."""
    ends = corners(image.shape, affine)
    low, high = ends.min(axis=0), ends.max(axis=0)
    shape = three(int(count) for count in np.ceil((high - low) / side) + 1)
    to = np.diag([side, side, side, 1.0])
    to[:3, 3] = low
    sigma = [0.4 * side / size if size < side else 0.0 for size in geometry.spacing(affine)]
    smooth = ndimage.gaussian_filter(image, sigma, truncate=3) if any(sigma) else image
    outside = float(np.quantile(smooth[::3, ::3, ::3], 0.01))
    values = geometry.resample(smooth, affine, shape, to, order="linear", outside=outside)
    return np.asarray(values, dtype=np.float32), low


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
