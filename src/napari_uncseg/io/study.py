"""The study: four modalities of one patient on one grid, with the brain and, if there is one, the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from napari_uncseg.arrays import Array, Floats32, Floats64, Labels, Mask
from napari_uncseg.errors import StudyError
from napari_uncseg.io.geometry import OnGrid, three
from napari_uncseg.labels import MODALITIES, Coding


def z_scores(image: Floats32, brain: Mask | None) -> Floats32:
    """Standard deviations from the mean, as nnU-Net's ZScoreNormalization: of the brain alone if given, 0 elsewhere.

    Parameters
    ----------
    image : ndarray of float32, shape (x, y, z)
    brain : ndarray of bool, shape (x, y, z), optional

    Returns
    -------
    ndarray of float32, shape (x, y, z)
    """
    values = image if brain is None else image[brain]
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    scores: Floats32 = (image - np.float32(mean)) / np.float32(max(deviation, 1e-8))
    return scores if brain is None else scores * brain


@dataclass(frozen=True)
class Source:
    """Where one image of a study came from.

    Parameters
    ----------
    role : str
        A modality (``t1c``, ``t1n``, ``t2f``, ``t2w``) or ``reference``.
    path : Path
        The file that was read.
    sha256 : str
        Hash of the file's bytes, in hexadecimal.
    """

    role: str
    path: Path
    sha256: str


@dataclass(frozen=True, eq=False)
class Study(OnGrid):
    """Four MRI volumes on one grid.

    Parameters
    ----------
    id : str
        Name of the study; output files carry it.
    images : ndarray of float32, shape (4, x, y, z)
        Finite intensities in the order t1c, t1n, t2f, t2w, in the voxel order of the file on disk.
    affine : ndarray of float64, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    brain : ndarray of bool, shape (x, y, z)
        Voxels of the brain.
    sources : tuple of Source
        The files the arrays were read from; empty for arrays made in memory.
    reference : ndarray of uint8, shape (x, y, z), optional
        Expert segmentation in values of :class:`napari_uncseg.labels.Label`.
    header : nibabel.Nifti1Header, optional
        Header of the T1c file: saved results take its units and codes.
    warnings : tuple of str
        What the user should know (skull still there, oblique grid, resampled modalities ...), a sentence each.
    has_skull : bool
        Whether skull and scalp were seen when it was loaded.
    resampled : bool
        Whether a modality was put on T1c's grid.
    coding : Coding, optional
        How the reference's file numbered its labels; None without a file.
    preparation : mapping, optional
        How the images were made of raw ones, as the JSON beside them tells it.

    Raises
    ------
    StudyError
        When shapes do not fit together.
    """

    id: str
    images: Floats32
    affine: Floats64
    brain: Mask
    sources: tuple[Source, ...] = ()
    reference: Labels | None = None
    header: nib.Nifti1Header | None = None
    warnings: tuple[str, ...] = ()
    has_skull: bool = False
    resampled: bool = False
    coding: Coding | None = None
    preparation: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[0] != len(MODALITIES):
            raise StudyError(f"Study {self.id} has images of shape {self.images.shape}; expected (4, x, y, z).")
        for name, array in (("brain mask", self.brain), ("reference", self.reference)):
            if array is not None and array.shape != self.shape:
                raise StudyError(f"Study {self.id} has a {name} of shape {array.shape} on images of {self.shape}.")

    @cached_property
    def inputs(self) -> dict[str, dict[str, str | None]]:
        """Name and hash of each file the study was read from, by role; of its arrays when it was made in memory."""
        if self.sources:
            return {source.role: {"file": source.path.name, "sha256": source.sha256} for source in self.sources}
        arrays: dict[str, tuple[Array, ...]] = {
            name: (image, self.affine, self.brain) for name, image in zip(MODALITIES, self.images, strict=True)
        }
        if self.reference is not None:
            arrays["reference"] = (self.reference,)
        return {role: {"file": None, "sha256": _digest(*each)} for role, each in arrays.items()}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        return three(self.images.shape[1:])


def _digest(*arrays: Array) -> str:
    """Hash of arrays, their types and shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
