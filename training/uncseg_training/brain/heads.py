"""Heads with skull and skin: label maps of 1 mm, the distance to the brain's surface, and tumours grown into them.

The brain ends at the pia, as in the studies of BraTS: tissue and ventricles, and the fluid within its folds.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from napari_uncseg.arrays import Floats32, Labels, Mask
from napari_uncseg.io.brain import one_piece
from napari_uncseg.io.files import write_files
from napari_uncseg.preparation.brain_network import signed_distance
from uncseg_training.phantom import growth
from uncseg_training.phantom.anatomy import Anatomy, Tissue, read_codes, tissues_of
from uncseg_training.phantom.appearance_priors import appearance_prior
from uncseg_training.phantom.fields import Rng

SPACING = 2.0
"""Millimetres of a voxel of distances and tumours."""

STEP_MM, FARTHEST_MM = 0.25, 30.0
"""Distances are kept in such steps, and end there."""

FOLDS_MM = 8.0
"""Half of the width of a fold of the surface that belongs to the brain."""

EXTRA = (0, 502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 530)
"""Codes outside of the brain: air, arteries, eyes, soft tissue, lenses, mucosa, skin, cord, veins, bone, marrow, optic
nerve."""


@dataclass(frozen=True, eq=False)
class Head:
    """A healthy head, and tumours that may grow in it.

    Parameters
    ----------
    name : str
        Where it came from.
    labels : ndarray of uint8, shape (x, y, z)
        RAS order, 1 mm: 1 to 9 as in :class:`~uncseg_training.phantom.anatomy.Tissue`, from 10 up the codes of
        :data:`EXTRA`.
    distance : ndarray of int8, shape (x / 2, y / 2, z / 2)
        Distance to the brain's surface in :data:`STEP_MM`, negative within.
    tumours : ndarray of uint8, shape (n, x / 2, y / 2, z / 2)
        0 none, 1 necrosis, 2 oedema, 3 enhancing tumour, 4 a cavity that surgery left.
    """

    name: str
    labels: Labels
    distance: npt.NDArray[np.int8]
    tumours: Labels

    @cached_property
    def middle(self) -> tuple[float, float, float]:
        """Voxel of 1 mm in the middle of the brain."""
        places = np.argwhere(self.distance < 0)
        x, y, z = ((float(low) + float(high)) / 2 for low, high in zip(places.min(0), places.max(0), strict=True))
        return SPACING * x + 0.5, SPACING * y + 0.5, SPACING * z + 0.5


def read_head(path: Path, tumours: int, seed: int) -> Head:
    """A head of a label map, with tumours.

    Parameters
    ----------
    path : Path
        NIfTI of about 1 mm with FreeSurfer's codes, and from 500 up those of :data:`EXTRA`.
    tumours : int
        How many to grow.
    seed : int
        Of the tumours.

    Raises
    ------
    ValueError
        When the file is no such map.
    """
    codes, _ = read_codes(path)
    labels = tissues_of(codes)
    skull = np.isin(codes, EXTRA[1:])
    if np.count_nonzero(labels == Tissue.WHITE) < 100_000 or np.count_nonzero(skull) < 100_000:
        raise ValueError(f"{path} holds no head with brain, skull and skin; give label maps with codes from 500 up.")
    for number, code in enumerate(EXTRA):
        labels[(codes == code) & (labels == 0)] = len(Tissue) + 1 + number
    labels[labels == 0] = len(Tissue) + 1 + EXTRA.index(507)
    steps = distance_of(labels)
    tissues = np.where(labels <= len(Tissue), labels, 0).astype(np.uint8)
    grown = [_tumour(tissues, Rng(seed * 1000 + number)) for number in range(tumours)]
    even = labels[tuple(slice(0, 2 * side) for side in steps.shape)]
    name = path.name.removesuffix(".nii.gz").removesuffix(".nii")
    return Head(name, even, steps, np.stack(grown) if grown else np.zeros((0, *steps.shape), np.uint8))


def distance_of(labels: Labels) -> npt.NDArray[np.int8]:
    """Distance to the brain's surface as :class:`Head` has it, of a map of labels of 1 mm."""
    coarse = _halved(np.clip(_to_surface(brain_of(labels)), -FARTHEST_MM, FARTHEST_MM))
    return np.asarray(np.round(coarse / STEP_MM), dtype=np.int8)


def brain_of(labels: Labels) -> Mask:
    """The brain in a map of labels of 1 mm: tissue, ventricles, and fluid and veins in its folds."""
    tissue = (labels >= Tissue.VENTRICLE) & (labels <= len(Tissue))
    closed = _to_surface(_to_surface(tissue) <= FOLDS_MM) < -FOLDS_MM
    vein = len(Tissue) + 1 + EXTRA.index(514)
    brain = tissue | (closed & ((labels == Tissue.CSF) | (labels == vein)))
    return one_piece(brain)


def _to_surface(mask: Mask) -> Floats32:
    """Distance in voxels to the surface of a mask, negative within."""
    # Voxels of the mask that touch the outside count as 0, and the surface lies between them and the next.
    return signed_distance(mask, (1.0, 1.0, 1.0)) - np.float32(0.5)


def _halved(volume: Floats32) -> Floats32:
    """Means of cubes of eight voxels."""
    x, y, z = (side // 2 for side in volume.shape)
    cubes = volume[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2)
    return np.asarray(cubes.mean((1, 3, 5)), dtype=np.float32)


def _tumour(tissues: Labels, rng: Rng) -> Labels:
    """A tumour of the phantoms on the grid of 2 mm, with its cavity as 4."""
    box = ndimage.find_objects((tissues > 0).astype(np.uint8))[0]
    even = tuple(slice(2 * (part.start // 2), 2 * ((part.stop + 1) // 2)) for part in box)
    fractions = Anatomy("", np.ascontiguousarray(tissues[even])).fractions(SPACING)
    prior = appearance_prior("matched")
    tumour = growth.cut(growth.grow(fractions, SPACING, prior, rng), fractions, SPACING, prior, rng)
    labels = tumour.labels.clone()
    if tumour.cavity is not None:
        labels[tumour.cavity > 0.5] = 4
    whole = torch.zeros([side // 2 for side in tissues.shape], dtype=torch.uint8)
    x, y, z = (part.start // 2 for part in even)
    there = whole[x : x + labels.shape[0], y : y + labels.shape[1], z : z + labels.shape[2]]
    there.copy_(labels[: there.shape[0], : there.shape[1], : there.shape[2]])
    return whole.numpy()


def prepare_heads(
    folder: Path, file: Path, tumours: int, seed: int, report: Callable[[str], None] = lambda _: None
) -> list[Head]:
    """Heads of a folder of label maps; read from a file where they were written before.

    Raises
    ------
    ValueError
        When the folder holds no label maps of heads, or the file is damaged.
    SaveError
        When the file cannot be written.
    """
    if file.is_file():
        return load_heads(file)
    maps = sorted(path for end in ("*.nii", "*.nii.gz") for path in folder.glob(end))
    if not maps:
        raise ValueError(f"{folder} holds no label maps (*.nii.gz); name a folder of FreeSurfer-coded maps of heads.")
    heads = []
    for number, path in enumerate(maps):
        heads.append(read_head(path, tumours, seed * 1000 + number))
        report(f"{heads[-1].name}: {np.count_nonzero(heads[-1].distance < 0) * SPACING**3 / 1000:.0f} mL of brain")
    arrays = {f"{head.name}/{part}": getattr(head, part) for head in heads for part in _PARTS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_files({file: buffer.getvalue()})
    return heads


_PARTS = ("labels", "distance", "tumours")


def load_heads(file: Path) -> list[Head]:
    """Heads of a file that :func:`prepare_heads` wrote.

    Raises
    ------
    ValueError
        When it is something else.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            names = sorted({name.rpartition("/")[0] for name in arrays.files})
            return [Head(name, *(arrays[f"{name}/{part}"] for part in _PARTS)) for name in names]
    except (AttributeError, KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
        raise ValueError(f"{file} is damaged or no file of heads; take it away, and it is written anew.") from None
