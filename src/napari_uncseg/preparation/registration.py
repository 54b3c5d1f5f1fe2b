"""Rigid registration of one image of a head to another, and how to tell that it worked.

Both are put on cubes in scanner coordinates, coarse ones first, so that any grid (oblique, thick, sheared) is as good
as another; what comes out is a matrix between millimetres of the scanner, and the original is resampled once.

References
----------
Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI 2003
(doi 10.1109/TMI.2003.809072): the mutual information that is maximised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_uncseg.arrays import Array, Floats32, Floats64, Mask
from napari_uncseg.errors import Cancelled
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import Affine, corners, three

Matrix = Floats64
"""Millimetres (RAS+) of the fixed image to millimetres of the moving one, shape (4, 4)."""

LEVELS_MM = (6.0, 3.0, 1.5)
"""Sides of the cubes, from the coarse search to the end."""

FITS_MM = 0.7
"""Images that registration would move by less are left as they lie: half a voxel, and its own error."""

RETURNS_MM = 1.0
"""How far from its end a registration that starts elsewhere may end."""

OVERLAP = 0.75
"""Share of the fixed head, as far as the moving image reaches, that lies on the moving head at the least."""

_SURFACE_MM = 80.0
"""Distance of the brain's surface from its middle: where displacements are measured."""

_RADIUS_MM = 60.0
"""A step of the search turns the head by as much as it shifts it, at this distance from its middle."""

_TURNS = ((0, 0, 0), *(tuple(np.eye(3, dtype=int)[axis] * angle) for axis in range(3) for angle in (-28, -14, 14, 28)))
"""Degrees about x, y and z from which the search starts, about the middle of the head."""

_NUDGE = np.array([3.0, -2.5, 3.5]), np.array([3.0, 2.5, -3.0])
"""Millimetres and degrees by which the end is displaced to see whether the registration comes back."""


@dataclass(frozen=True, eq=False)
class Registration:
    """How an image lies to another one.

    Parameters
    ----------
    matrix : ndarray of float, shape (4, 4)
        Fixed to moving millimetres; the identity when the images fit already.
    moved_mm : float
        Largest displacement at the brain's surface.
    returned_mm : float
        How far apart two ends of the search from different starts are, at the brain's surface.
    overlap : float
        Share of the fixed head that lies on the moving one.
    starts : int
        Searches that were made.
    """

    matrix: Matrix
    moved_mm: float
    returned_mm: float
    overlap: float
    starts: int

    @property
    def works(self) -> bool:
        """Whether its checks passed."""
        return self.returned_mm <= RETURNS_MM and self.overlap >= OVERLAP

    @property
    def fits_already(self) -> bool:
        """Whether nothing had to be moved."""
        return bool(np.array_equal(self.matrix, np.eye(4)))


def register(
    fixed: Floats32,
    fixed_affine: Matrix,
    moving: Floats32,
    moving_affine: Matrix,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Registration:
    """Register an image of a head to another one of the same head, rigidly.

    Parameters
    ----------
    fixed, moving : ndarray of float32, shape (x, y, z)
        Of any contrasts.
    fixed_affine, moving_affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    cancelled : callable
        Asked between the steps.

    Returns
    -------
    Registration
        The best end that was found; :attr:`Registration.works` tells whether to believe it.

    Raises
    ------
    Cancelled
        When ``cancelled()`` became true.
    """
    pyramid = [(_cubes(fixed, fixed_affine, side), _cubes(moving, moving_affine, side)) for side in LEVELS_MM]
    coarse = _Level(*pyramid[0])
    middle = coarse.fixed.middle
    away = coarse.moving.middle - middle
    turned = [_matrix(np.array(turn), shift, middle) for turn in _TURNS for shift in (np.zeros(3), away)]
    ranked = sorted(turned, key=coarse.distance)
    first: Registration | None = None
    for starts in ([np.eye(4), *ranked[:2]], ranked[2:8]):
        _stop(cancelled)
        ends = [coarse.search(start, middle, step=4.0) for start in starts] + ([first.matrix] if first else [])
        found = _finish(pyramid, min(ends, key=coarse.distance), middle, cancelled, len(starts))
        if first is None or found.works or found.overlap > first.overlap:
            first = found
        if first.works:
            break
    assert first is not None
    return first


def displacement_mm(one: Matrix, other: Matrix, middle: Floats64) -> float:
    """Largest distance between where two matrices put points of the brain's surface, a ball round its middle."""
    directions = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z])
    points = middle + _SURFACE_MM * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    difference = (one - other)[:3]
    return float(np.linalg.norm(points @ difference[:, :3].T + difference[:, 3], axis=1).max())


def on_grid_of(
    moving: Floats32, moving_affine: Matrix, matrix: Matrix, shape: tuple[int, int, int], affine: Matrix, outside: float
) -> Floats32:
    """A moving image on the grid of the fixed one, in one resampling of the original."""
    there = np.linalg.inv(matrix) @ moving_affine
    moved = geometry.resample(moving, there, shape, affine, order="linear", outside=outside)
    return np.asarray(moved, dtype=np.float32)


def covered_by(
    moving_shape: Sequence[int], moving_affine: Matrix, matrix: Matrix, shape: tuple[int, int, int], affine: Matrix
) -> Mask:
    """Voxels of the fixed grid that the moving image reaches."""
    ones = np.ones(tuple(moving_shape), dtype=np.uint8)
    there = np.linalg.inv(matrix) @ moving_affine
    return np.asarray(geometry.resample(ones, there, shape, affine, order="nearest"), dtype=bool)


@dataclass(frozen=True, eq=False)
class _Cubes:
    """An image on cubes in scanner coordinates: SimpleITK's image, that of where it reaches, and of its head."""

    image: Any
    reach: Any
    head: Mask
    affine: Matrix

    @property
    def middle(self) -> Floats64:
        """Centre of the head, mm."""
        index = np.argwhere(self.head).mean(axis=0)
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3])


def on_cubes(image: Floats32, affine: Affine, side: float) -> tuple[Floats32, Matrix]:
    """An image on cubes along the scanner's axes, smoothed to their size.

    Parameters
    ----------
    image : ndarray of float32, shape (x, y, z)
    affine : ndarray, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    side : float
        Of the cubes, mm.

    Returns
    -------
    tuple of ndarray
        The values, and the affine of the cubes.
    """
    ends = corners(image.shape, affine)
    low, high = ends.min(axis=0), ends.max(axis=0)
    shape = three(int(count) for count in np.ceil((high - low) / side) + 1)
    to = np.diag([side, side, side, 1.0])
    to[:3, 3] = low
    sigma = [0.5 * side / size if size < side else 0.0 for size in geometry.spacing(affine)]
    smooth = ndimage.gaussian_filter(image, sigma) if any(sigma) else image
    outside = float(np.percentile(smooth[::2, ::2, ::2], 1))
    values = geometry.resample(smooth, affine, shape, to, order="linear", outside=outside)
    return np.asarray(values, dtype=np.float32), to


def _cubes(image: Floats32, affine: Matrix, side: float) -> _Cubes:
    import SimpleITK as sitk
    from skimage.filters import threshold_otsu

    values, to = on_cubes(image, affine, side)
    shape = three(values.shape)
    reach = np.asarray(geometry.resample(np.ones(image.shape, np.uint8), affine, shape, to, order="nearest"))
    bound = float(np.percentile(values[reach > 0], 99))
    values = np.clip(values, None, bound)  # vessels and fat would take all bins of the histogram
    head = values > 0.6 * float(threshold_otsu(values))
    pictures = []
    for array in (values, reach):
        picture = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        picture.SetSpacing((side, side, side))
        picture.SetOrigin(to[:3, 3].tolist())
        pictures.append(picture)
    return _Cubes(pictures[0], pictures[1], head & (reach > 0), to)


class _Level:
    """Two images on cubes of one size, and the search for how they lie to one another."""

    def __init__(self, fixed: _Cubes, moving: _Cubes, seed: int = 1) -> None:
        import SimpleITK as sitk

        self.fixed, self.moving = fixed, moving
        near = ndimage.binary_dilation(fixed.head, iterations=2)
        self._mask = sitk.GetImageFromArray(np.ascontiguousarray(near.T.astype(np.uint8)))
        self._mask.CopyInformation(fixed.image)
        wanted = 60_000 / max(int(near.sum()), 1)
        self._method = method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricFixedMask(self._mask)
        method.SetMetricMovingMask(moving.reach)
        method.SetInterpolator(sitk.sitkLinear)
        if wanted < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(wanted, seed)

    def distance(self, matrix: Matrix) -> float:
        """Negative mutual information; 0 where the images do not meet."""
        self._method.SetInitialTransform(_transform(matrix, self.fixed.middle))
        try:
            return float(self._method.MetricEvaluate(self.fixed.image, self.moving.image))
        except RuntimeError:  # all samples lie outside of the moving image
            return 0.0

    def search(self, start: Matrix, middle: Floats64, *, step: float) -> Matrix:
        """The nearest maximum of mutual information from a start."""
        method, transform = self._method, _transform(start, middle)
        method.SetInitialTransform(transform, True)
        method.SetOptimizerAsRegularStepGradientDescent(step, 0.01, 100, 0.6, 1e-8)
        method.SetOptimizerScales([_RADIUS_MM**2] * 3 + [1.0] * 3)
        try:
            method.Execute(self.fixed.image, self.moving.image)
        except RuntimeError:
            return start
        return _matrix_of(transform)


def _finish(
    pyramid: Sequence[tuple[_Cubes, _Cubes]],
    start: Matrix,
    middle: Floats64,
    cancelled: Callable[[], bool],
    starts: int,
) -> Registration:
    """Search on from a coarse end on the finer levels, and check it."""
    between = _Level(*pyramid[1])
    matrix = between.search(start, middle, step=2.0)
    _stop(cancelled)
    nudged = _matrix(_NUDGE[1], _NUDGE[0], middle) @ matrix
    other = _Level(*pyramid[1], seed=2).search(nudged, middle, step=2.0)
    _stop(cancelled)
    returned = displacement_mm(matrix, other, middle)
    matrix = _Level(*pyramid[2]).search(matrix, middle, step=0.5)
    moved = displacement_mm(matrix, np.eye(4), middle)
    if moved <= FITS_MM:
        matrix = np.eye(4)
    return Registration(matrix, moved, returned, _overlap(*pyramid[1], matrix), starts)


def _overlap(fixed: _Cubes, moving: _Cubes, matrix: Matrix) -> float:
    """Share of the fixed head, where the moving image reaches, that lies on the moving head."""
    points = np.argwhere(fixed.head)
    mapped = np.linalg.inv(moving.affine) @ matrix @ fixed.affine
    voxels = np.rint(points @ mapped[:3, :3].T + mapped[:3, 3]).astype(int)
    inside = ((voxels >= 0) & (voxels < moving.head.shape)).all(axis=1)
    if inside.mean() < 0.3:
        return 0.0
    return float(moving.head[tuple(voxels[inside].T)].mean())


def _stop(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("Stopped while the images were registered; nothing was written.")


def _matrix(degrees: Array, shift: Array, middle: Floats64) -> Matrix:
    """A turn about a point, then a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = middle + shift - matrix[:3, :3] @ middle
    return matrix


def _transform(matrix: Matrix, middle: Floats64) -> Any:
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetCenter(middle.tolist())
    turn = matrix[:3, :3]
    transform.SetMatrix(turn.ravel().tolist(), 1e-6)
    transform.SetTranslation((matrix[:3, 3] + turn @ middle - middle).tolist())
    return transform


def _matrix_of(transform: Any) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    middle = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + middle - matrix[:3, :3] @ middle
    return matrix
