"""Grids: whether two images share one, how to say it, and how to bring an image onto another one's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar

import numpy as np

from napari_uncseg.arrays import AnyFloats, Array, Floats64

_TOLERANCE_VOXELS = 0.1
"""Corners of equal grids lie within a tenth of a voxel: far above round-off, far below any registration's accuracy."""


Affine = AnyFloats
"""Voxel indices to RAS+ millimetres, shape (4, 4)."""

T = TypeVar("T")


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """The three of x, y and z; a ValueError when there are more or fewer."""
    x, y, z = values
    return x, y, z


def spacing(affine: AnyFloats) -> tuple[float, float, float]:
    """Voxel size along x, y and z in millimetres."""
    from nibabel.affines import voxel_sizes  # a training on a bare machine loads this module, without nibabel

    return three(float(length) for length in voxel_sizes(affine))


def voxel_ml(affine: AnyFloats) -> float:
    """Volume of a voxel in millilitres, of sheared grids too."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0


class OnGrid:
    """Base of what lies on a grid of voxels: its affine tells their size."""

    affine: Floats64

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z in millimetres."""
        return spacing(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return voxel_ml(self.affine)


def corners(shape: tuple[int, ...], affine: AnyFloats) -> Floats64:
    """Millimetre positions of the eight corner voxels' centres, shape (8, 3)."""
    index = np.array(np.meshgrid(*[(0, length - 1) for length in shape[:3]], indexing="ij")).reshape(3, -1)
    return np.asarray((affine[:3, :3] @ index + affine[:3, 3:]).T, dtype=np.float64)


def same_grid(shape: tuple[int, ...], affine: Affine, other_shape: tuple[int, ...], other_affine: Affine) -> bool:
    """Whether two images have the same shape and, but for round-off, the same affine.

    Parameters
    ----------
    shape, other_shape : tuple of int
        Numbers of voxels.
    affine, other_affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.

    Returns
    -------
    bool
    """
    if tuple(shape[:3]) != tuple(other_shape[:3]):
        return False
    apart = np.linalg.norm(corners(shape, affine) - corners(shape, other_affine), axis=1).max()
    return bool(apart <= _TOLERANCE_VOXELS * min(spacing(affine)))


def describe_grid(shape: tuple[int, ...], affine: AnyFloats) -> str:
    """Shape and affine in one line, for messages."""
    size = "×".join(str(length) for length in shape[:3])
    rows = "; ".join(" ".join(f"{value:.6g}" for value in row) for row in np.asarray(affine)[:3])
    return f"shape {size}, affine [{rows}]"


def resample(
    array: Array,
    affine: AnyFloats,
    to_shape: tuple[int, int, int],
    to_affine: AnyFloats,
    *,
    order: Literal["linear", "nearest"],
    outside: float = 0.0,
) -> Array:
    """Bring an image onto another grid with SimpleITK.

    Both images are given to SimpleITK in voxel units, with the whole way between them in one affine transform, so that
    flipped, permuted, oblique and sheared grids need no case of their own.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
        The image.
    affine, to_affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    to_shape : tuple of int
        Shape of the other grid.
    order : {'linear', 'nearest'}
        Interpolation: linear for intensities, nearest for labels.
    outside : float
        Value beyond the image.

    Returns
    -------
    ndarray, shape ``to_shape``
        In the dtype of ``array``.
    """
    import SimpleITK as sitk

    back = np.linalg.inv(np.asarray(affine, dtype=np.float64)) @ np.asarray(to_affine, dtype=np.float64)
    way = sitk.AffineTransform(3)
    way.SetMatrix(back[:3, :3].ravel().tolist())
    way.SetTranslation(back[:3, 3].tolist())
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    how = sitk.sitkLinear if order == "linear" else sitk.sitkNearestNeighbor
    voxel_units = ((0.0,) * 3, (1.0,) * 3, tuple(np.eye(3).ravel()))
    moved = sitk.Resample(image, [int(length) for length in to_shape], way, how, *voxel_units, outside)
    return np.ascontiguousarray(sitk.GetArrayFromImage(moved).T)
