"""Longest axial diameters against shapes that are known, and against every pair of points."""

import nibabel as nib
import numpy as np
import pytest

from napari_uncseg.metrics.diameters import axial_diameters

IDENTITY = np.eye(4)


def ellipse(half, angle, shape=(90, 90), centre=(44, 45)):
    rows, columns = (axis - middle for axis, middle in zip(np.indices(shape), centre, strict=True))
    along, across = rows * np.cos(angle) + columns * np.sin(angle), columns * np.cos(angle) - rows * np.sin(angle)
    return (along / half[0]) ** 2 + (across / half[1]) ** 2 <= 1


def slab(plane, at=4, count=9):
    mask = np.zeros((*plane.shape, count), dtype=bool)
    mask[..., at] = plane
    return mask


@pytest.mark.parametrize("angle", [0, 0.4, 1.1, 2.5])
@pytest.mark.parametrize("half", [(30, 12), (25, 20)])
def test_an_ellipse_measures_its_axes(half, angle):
    found = axial_diameters(slab(ellipse(half, angle)), IDENTITY)
    assert found.longest_mm == pytest.approx(2 * half[0], abs=1.5)
    assert found.perpendicular_mm == pytest.approx(2 * half[1], abs=1.5)
    assert found.slice == 5


@pytest.mark.parametrize("seed", range(6))
def test_against_every_pair_of_contour_points(seed):
    """By hand: the farthest pair, and of all pairs across it that lie on one line of sight the farthest."""
    from skimage.measure import find_contours

    generator, sizes = np.random.default_rng(seed), np.array([1.0, 1.5])
    plane = ellipse(generator.uniform(5, 12, 2), generator.uniform(0, 3), (40, 40), (20, 20))
    plane |= ellipse(generator.uniform(3, 9, 2), generator.uniform(0, 3), (40, 40), (17, 23))
    found = axial_diameters(slab(plane), np.diag([*sizes, 3.0, 1.0]))
    (contour,) = find_contours(np.pad(plane, 1).astype(float), 0.5)
    points = contour * sizes
    ways = points[:, None] - points[None]
    lengths = np.linalg.norm(ways, axis=-1)
    assert found.longest_mm == pytest.approx(lengths.max())
    along = ways[np.unravel_index(lengths.argmax(), lengths.shape)] / lengths.max()
    with np.errstate(invalid="ignore"):
        slant = np.abs(ways @ along) / lengths
    across = lengths[slant < 0.05].max()
    assert across - 0.3 <= found.perpendicular_mm <= across * 1.15 + 1  # the hull spans indentations


def test_rows_of_voxels_measure_their_length():
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3, 2:9, 5] = True
    found = axial_diameters(mask, np.diag([1.0, 2.0, 4.0, 1.0]))
    assert found.longest_mm == pytest.approx(14)
    assert found.perpendicular_mm == pytest.approx(1)
    single = axial_diameters(mask & (np.arange(12) == 4)[:, None], np.eye(4))
    assert single.longest_mm == pytest.approx(1)


def test_lesions_are_measured_apart_and_the_longest_counts():
    mask = slab(ellipse((8, 4), 0, centre=(20, 20)) | ellipse((10, 6), 0.3, centre=(65, 65)))
    mask[..., 7] = ellipse((9, 9), 0)
    found = axial_diameters(mask, IDENTITY)
    assert found.longest_mm == pytest.approx(20, abs=1.5)
    assert found.perpendicular_mm == pytest.approx(12, abs=1.5)
    assert found.slice == 5
    assert str(found).count("×") == 1


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRA", "AIL", "RPI"])
def test_axial_slices_are_found_in_any_order_of_axes(axes):
    image = nib.Nifti1Image(slab(ellipse((30, 12), 0.4), at=6).astype(np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]))
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
        )
    )
    found = axial_diameters(np.asarray(turned.dataobj) > 0, turned.affine)
    plain = axial_diameters(np.asarray(image.dataobj) > 0, image.affine)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((plain.longest_mm, plain.perpendicular_mm))
    assert found.slice == plain.slice == 7


def test_nothing_has_no_diameter():
    assert axial_diameters(np.zeros((5, 5, 5), dtype=bool), IDENTITY) is None
