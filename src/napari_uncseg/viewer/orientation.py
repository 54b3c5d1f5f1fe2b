"""From a study's voxel order to napari's world and back.

napari draws the first displayed axis downwards and the second one to the right. With the axes reordered to I, P, L
(pointing inferior, posterior, left) the default camera shows axial, coronal and sagittal planes as radiologists hang
them: the patient's right on the left of the picture. Arrays are only viewed, never copied, and only a scale and a
translation go to napari, because a rotated image cannot be sliced in 2D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.affines import obliquity
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from napari_uncseg.io.study import Study

AXES: tuple[str, str, str] = ("I", "P", "L")
"""Where each displayed axis points to."""

UNITS: tuple[str, str, str] = ("mm", "mm", "mm")

PLANES: dict[str, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""Order of the viewer's dimensions for each plane; the first one is scrolled through."""

LETTERS: dict[str, str] = {"axial": "APRL", "coronal": "SIRL", "sagittal": "SIAP"}
"""Where the top, the bottom, the left and the right of a picture of each plane lie in the patient."""

OBLIQUE_TOLERANCE = 1e-3
"""Largest sine between a voxel axis and its nearest anatomical axis that still counts as straight."""


@dataclass(frozen=True)
class DisplayGrid:
    """Where a volume lies in napari's world.

    Parameters
    ----------
    scale : tuple of float
        Voxel size along I, P and L in millimetres.
    translate : tuple of float
        Centre of the first voxel along I, P and L in millimetres.
    oblique : bool
        Whether a rotation was dropped for the display.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    oblique: bool

    def as_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of a napari layer."""
        return {"scale": self.scale, "translate": self.translate, "units": UNITS, "axis_labels": AXES}

    def world(self, axis: int, index: float) -> float:
        """Place of a slice along an axis, millimetres."""
        return self.translate[axis] + self.scale[axis] * index

    def index(self, axis: int, world: float) -> int:
        """Slice whose middle is nearest to a place along an axis; it may lie outside of the volume."""
        return round((world - self.translate[axis]) / self.scale[axis])

    def heaviest(self, array: npt.NDArray[Any]) -> tuple[float, ...]:
        """Where the three slices with the largest sums of a displayed array meet, millimetres."""
        sums = (array.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
        return tuple(self.world(axis, int(profile.argmax())) for axis, profile in enumerate(sums))


def plane_of(order: Sequence[int]) -> str:
    """Key of :data:`PLANES` of a viewer's order of dimensions; "" for an order of the user's own."""
    return next((plane for plane, axes in PLANES.items() if axes == tuple(order)), "")


def slice_number(axis: int, index: int, count: int) -> int:
    """Number of a slice for a reader, from 1: axial from below, coronal from the front, sagittal from the right.

    Parameters
    ----------
    axis : int
        Displayed axis that is cut: I, P or L.
    index : int
        Slice along it.
    count : int
        Slices there are.

    Returns
    -------
    int
        As the list of findings counts.
    """
    return count - index if axis == 0 else index + 1


def to_display(array: npt.NDArray[Any], affine: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """View a volume with its axes pointing to I, P and L.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
        Volume in its own voxel order.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.

    Returns
    -------
    ndarray, shape (i, p, l)
        A view of `array`: it shares its memory.
    """
    return np.asarray(apply_orientation(array, _to_ipl(affine)))


def from_display(array: npt.NDArray[Any], affine: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """Undo :func:`to_display`: the volume in the voxel order that belongs to `affine`, as a view."""
    start = axcodes2ornt(AXES)
    return np.asarray(apply_orientation(array, ornt_transform(start, io_orientation(affine))))


def display_box(
    box: Sequence[slice], shape: tuple[int, int, int], affine: npt.NDArray[np.floating]
) -> tuple[slice, ...]:
    """Where a box of a volume lies in the array that :func:`to_display` gives."""
    displayed = [slice(0)] * 3
    for part, count, (axis, direction) in zip(box, shape, _to_ipl(affine), strict=True):
        displayed[int(axis)] = part if direction > 0 else slice(count - part.stop, count - part.start)
    return tuple(displayed)


def display_grid(shape: tuple[int, int, int], affine: npt.NDArray[np.floating]) -> DisplayGrid:
    """Scale and translation of a volume in napari's world.

    The centre of the volume keeps its place when a rotation has to be dropped.

    Parameters
    ----------
    shape : tuple of int
        Voxels along x, y and z in the volume's own order.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.

    Returns
    -------
    DisplayGrid
    """
    transform = _to_ipl(affine)
    ras = np.asarray(affine, dtype=float) @ inv_ornt_aff(transform, shape)
    displayed = np.empty(3, dtype=int)
    displayed[transform[:, 0].astype(int)] = shape
    # World axes: inferior is -S, posterior is -A, left is -R.
    world = -ras[[2, 1, 0]]
    scale = np.linalg.norm(world[:, :3], axis=0)
    off_axis = world[:, :3] / scale - np.eye(3)
    oblique = bool(np.abs(off_axis).max() > OBLIQUE_TOLERANCE)
    if oblique:
        middle = (displayed - 1) / 2
        translate = world[:, :3] @ middle + world[:, 3] - scale * middle
    else:
        translate = world[:, 3]
    return DisplayGrid(tuple(scale.tolist()), tuple(translate.tolist()), oblique)


def world_of(
    voxel: tuple[int, ...], shape: tuple[int, int, int], affine: npt.NDArray[np.floating]
) -> tuple[float, ...]:
    """Place of a voxel in napari's world, as its layer is displayed.

    Parameters
    ----------
    voxel : tuple of int
        Indices in the volume's own order.
    shape : tuple of int
        Voxels of the volume along x, y and z.
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.

    Returns
    -------
    tuple of float
        Millimetres along I, P and L; without the rotation that the display drops.
    """
    grid = display_grid(shape, affine)
    displayed = np.linalg.inv(inv_ornt_aff(_to_ipl(affine), shape)) @ (*voxel, 1)
    return tuple(grid.world(axis, float(index)) for axis, index in enumerate(displayed[:3]))


def display_affine(scale: npt.ArrayLike, translate: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Affine to RAS+ millimetres of an array that lies in napari's world along I, P and L."""
    affine = np.zeros((4, 4))
    for row, axis in zip((2, 1, 0), range(3), strict=True):
        affine[row, axis] = -np.asarray(scale, dtype=float)[axis]
        affine[row, 3] = -np.asarray(translate, dtype=float)[axis]
    affine[3, 3] = 1.0
    return affine


def oblique_warning(affine: npt.NDArray[np.floating]) -> str:
    """What to tell the user about a grid whose rotation the display drops."""
    tilt = obliquity(affine).max()
    return (
        f"The images are tilted by {np.degrees(tilt):.0f}° against the patient's axes; they are shown along their own "
        "rows and columns, and saved with their true orientation."
    )


def study_notes(study: Study) -> tuple[str, ...]:
    """What the user should know about a study and how it is shown, a sentence each."""
    oblique = display_grid(study.shape, study.affine).oblique
    return (*study.warnings, *((oblique_warning(study.affine),) if oblique else ()))


def _to_ipl(affine: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray(ornt_transform(io_orientation(affine), axcodes2ornt(AXES)))
