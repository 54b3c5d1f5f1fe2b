"""Healthy anatomies: tissue maps of FreeSurfer-coded label maps or of the ICBM152 template, in one small file.

Label maps of the SynthSeg training set (Billot et al., *Medical Image Analysis* 2023) and the ICBM152 2009 template
(Fonov et al., *NeuroImage* 2011; as nilearn ships it) are both brought to RAS order, 1 mm and nine tissues.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.arrays import Ints32, Labels


class Tissue(IntEnum):
    """Tissues with an intensity of their own; 0 is outside of the head's brain and CSF."""

    CSF = 1
    VENTRICLE = 2
    CORTEX = 3
    WHITE = 4
    DEEP_GREY = 5
    PALLIDUM = 6
    BRAINSTEM = 7
    CEREBELLUM_GREY = 8
    CEREBELLUM_WHITE = 9


_FREESURFER: dict[Tissue, tuple[int, ...]] = {
    Tissue.CSF: (24,),
    Tissue.VENTRICLE: (4, 5, 14, 15, 43, 44, 72, 31, 63),
    Tissue.CORTEX: (3, 42, 136, 137, 163, 164, 19, 20, 55, 56),
    Tissue.WHITE: (2, 41, 25, 57, 77, 78, 79, 251, 252, 253, 254, 255, 30, 62, 85),
    Tissue.DEEP_GREY: (10, 11, 12, 17, 18, 26, 49, 50, 51, 53, 54, 58),
    Tissue.PALLIDUM: (13, 52),
    Tissue.BRAINSTEM: (16, 28, 60),
    Tissue.CEREBELLUM_GREY: (8, 47),
    Tissue.CEREBELLUM_WHITE: (7, 46),
}


VOXEL_MM = (0.8, 1.25)
"""Sides of a voxel that count as 1 mm."""

WHITE_ML = (200.0, 900.0)
"""Cerebral white matter of a head, child or adult; the heads this was made for have 310 to 590 mL."""


@dataclass(frozen=True)
class Anatomy:
    """Tissue map of a healthy head.

    Parameters
    ----------
    name : str
        Where it came from.
    tissues : ndarray of uint8, shape (x, y, z)
        Values of :class:`Tissue`, RAS order, 1 mm, cropped to what is not 0.
    """

    name: str
    tissues: Labels

    def fractions(self, spacing: float) -> Tensor:
        """Fraction of each tissue in voxels of a coarser grid.

        Parameters
        ----------
        spacing : float
            Voxel size in millimetres, 1 or more.

        Returns
        -------
        Tensor of float32, shape (10, x, y, z)
            Channel 0 is the outside; the channels sum to 1. The grid keeps the centre of the map.
        """
        labels = torch.from_numpy(self.tissues)
        one_hot = torch.stack([labels == tissue for tissue in range(len(Tissue) + 1)]).float()
        if spacing == 1.0:
            return one_hot
        size = [max(1, round(n / spacing)) for n in one_hot.shape[1:]]
        # Voxels of exactly `spacing` about the centre of the map.
        wanted = [int(np.ceil(n * spacing)) for n in size]
        pad: list[int] = []
        for have, want in zip(reversed(one_hot.shape[1:]), reversed(wanted), strict=True):
            extra = max(0, want - have)
            pad += [extra // 2, extra - extra // 2]
        padded = F.pad(one_hot, pad)
        padded[0] = 1 - padded[1:].sum(0)
        pooled: Tensor = F.interpolate(padded[None], size=size, mode="area")[0]
        return pooled


def read_codes(path: Path) -> tuple[Ints32, float]:
    """Codes of a label map of about 1 mm in RAS order, and the volume of a voxel in cubic millimetres.

    Raises
    ------
    ValueError
        When the file cannot be read, holds no whole numbers, or has voxels of another size.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.as_closest_canonical(nib.load(path))
        values = np.asarray(image.dataobj)
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); take it away or copy it anew.") from None
    codes = values.astype(np.int32)
    if values.ndim != 3 or not np.array_equal(codes, values):
        raise ValueError(f"{path} is no label map (one whole number per voxel); give FreeSurfer-coded maps of heads.")
    sides = [float(side) for side in image.header.get_zooms()[:3]]
    if not all(VOXEL_MM[0] <= side <= VOXEL_MM[1] for side in sides):
        raise ValueError(
            f"{path} has voxels of {' x '.join(f'{side:.2g}' for side in sides)} mm; give label maps of 1 mm."
        )
    return codes, float(np.prod(sides))


def tissues_of(codes: Ints32) -> Labels:
    """Values of :class:`Tissue`, 0 for the codes outside of the brain and unknown ones."""
    tissues = np.zeros(codes.shape, np.uint8)
    for tissue, members in _FREESURFER.items():
        tissues[np.isin(codes, members)] = tissue
    return tissues


def read_freesurfer(path: Path) -> Anatomy:
    """Tissue map of a FreeSurfer-coded label map.

    Parameters
    ----------
    path : Path
        NIfTI file of about 1 mm; codes from 500 up (skull, skin, eyes) and unknown ones count as outside.

    Raises
    ------
    ValueError
        When the file cannot be read, holds no whole numbers, has voxels of another size, or not as much cerebral white
        matter as a head.
    """
    codes, millimetres = read_codes(path)
    tissues = tissues_of(codes)
    millilitres = int((tissues == Tissue.WHITE).sum()) * millimetres / 1000
    if not WHITE_ML[0] <= millilitres <= WHITE_ML[1]:
        raise ValueError(
            f"{path} holds {millilitres:.0f} mL of FreeSurfer white matter (codes 2 and 41), and a head has "
            f"{WHITE_ML[0]:.0f} to {WHITE_ML[1]:.0f} mL; give FreeSurfer-coded label maps of heads."
        )
    return Anatomy(path.name.removesuffix(".nii.gz").removesuffix(".nii"), _crop(tissues))


def read_icbm152() -> Anatomy:
    """Tissue map of the ICBM152 template from the probability maps inside the nilearn package.

    The template has grey, white and the rest of the brain only; ventricles, deep grey matter, brainstem and
    cerebellum are told apart by depth and by their place in MNI space.
    """
    from nilearn import datasets
    from scipy import ndimage

    grey_image = datasets.load_mni152_gm_template(resolution=1)
    grey = np.asarray(grey_image.dataobj, np.float32)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=1).dataobj, np.float32)
    whole = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    x, y, z = (
        axis.astype(np.float32)
        for axis in np.meshgrid(
            *(np.arange(n) * grey_image.affine[i, i] + grey_image.affine[i, 3] for i, n in enumerate(grey.shape)),
            indexing="ij",
        )
    )
    depth = ndimage.distance_transform_edt(whole)
    tissues = np.where(whole, Tissue.CSF, 0).astype(np.uint8)
    tissues[whole & (grey >= 0.4) & (grey >= white)] = Tissue.CORTEX
    tissues[whole & (white >= 0.4) & (white > grey)] = Tissue.WHITE
    central = (np.abs(x) < 40) & (y > -55) & (y < 35) & (z > -20) & (z < 35)
    tissues[(tissues == Tissue.CSF) & central & (depth > 25)] = Tissue.VENTRICLE
    tissues[
        (tissues == Tissue.CORTEX) & (np.abs(x) < 32) & (y > -35) & (y < 22) & (z > -8) & (z < 20) & (depth > 30)
    ] = Tissue.DEEP_GREY
    behind = (z < -12 - 0.35 * (y + 40)) & (y < -36) & (z < -8)
    tissues[behind & (tissues == Tissue.CORTEX)] = Tissue.CEREBELLUM_GREY
    tissues[behind & (tissues == Tissue.WHITE)] = Tissue.CEREBELLUM_WHITE
    stem = (np.abs(x) < 16) & (y > -42) & (y < -8) & (z < -10)
    tissues[stem & np.isin(tissues, (Tissue.WHITE, Tissue.CORTEX))] = Tissue.BRAINSTEM
    return Anatomy("icbm152", _crop(tissues))


def build_anatomies(folder: Path | None = None, *, icbm: bool = True) -> list[Anatomy]:
    """Anatomies of a folder of label maps, of the template, or of both.

    Parameters
    ----------
    folder : Path, optional
        Holds FreeSurfer-coded ``.nii`` or ``.nii.gz`` files.
    icbm : bool
        Add the ICBM152 template (needs nilearn).

    Raises
    ------
    ValueError
        When there is none, the folder is absent or holds no label map, or two of them have the same name.
    """
    if folder is None and not icbm:
        raise ValueError("There is nothing to make anatomies of: name a folder (--folder), or leave out --no-icbm.")
    maps: list[Path] = []
    if folder is not None:
        maps = sorted(path for end in ("*.nii", "*.nii.gz") for path in folder.glob(end) if path.is_file())
        if not maps:
            what = "holds no label maps (*.nii.gz)" if folder.is_dir() else "is not a folder"
            raise ValueError(f"{folder} {what}; name a folder of FreeSurfer-coded label maps of heads.")
    anatomies = [read_freesurfer(path) for path in maps]
    anatomies = ([read_icbm152()] if icbm else []) + anatomies
    names = [anatomy.name for anatomy in anatomies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{folder} holds two label maps called {twice[0]}; rename or take away one of them.")
    return anatomies


def save_anatomies(anatomies: Sequence[Anatomy], path: Path) -> None:
    """Write anatomies to one compressed array file that :func:`load_anatomies` reads with numpy alone.

    Raises
    ------
    SaveError
        When the file cannot be written; nothing is left behind.
    """
    from napari_uncseg.io.files import write_files

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{anatomy.name: anatomy.tissues for anatomy in anatomies})
    write_files({path: buffer.getvalue()})


def load_anatomies(path: Path) -> list[Anatomy]:
    """Anatomies of a file written by :func:`save_anatomies`.

    Raises
    ------
    ValueError
        When the file is absent or anything else than that; the sentence names the command that writes one.
    """
    if not path.is_file():
        if path.exists():
            raise ValueError(f"{path} is not a file; write one with: uncseg-train anatomies {path / 'anatomies.npz'}")
        raise ValueError(f"{path} is not there; write it with: uncseg-train anatomies {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            anatomies = [Anatomy(name, arrays[name]) for name in arrays.files]
    except (AttributeError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
        # A single array has no `files` and is no context; the others are files of something else, or cut off.
        anatomies = []
    if not anatomies or not all(_is_head(anatomy.tissues) for anatomy in anatomies):
        raise ValueError(
            f"{path} is damaged or no file of anatomies; write one with: uncseg-train anatomies OUT.npz, "
            "and name that instead."
        )
    return anatomies


def _is_head(tissues: Labels) -> bool:
    """Whether an array can be the map of an :class:`Anatomy`."""
    if tissues.dtype != np.uint8 or tissues.ndim != 3 or not tissues.size:
        return False
    return int(tissues.max()) <= max(Tissue) and bool((tissues == Tissue.WHITE).any())


def _crop(tissues: Labels) -> Labels:
    from scipy import ndimage

    return np.ascontiguousarray(tissues[ndimage.find_objects((tissues > 0).astype(np.uint8))[0]])
