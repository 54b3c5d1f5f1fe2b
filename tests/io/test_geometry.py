"""Grids: equal but for round-off, described, resampled."""

from __future__ import annotations

import numpy as np
import pytest

from napari_uncseg.io.geometry import describe_grid, resample, same_grid

EYE = np.eye(4)


def moved(x: float) -> np.ndarray:
    affine = np.eye(4)
    affine[0, 3] = x
    return affine


def test_round_off_is_the_same_grid():
    shape = (240, 240, 155)
    noise = np.zeros((4, 4))
    noise[:3, :3] = 1e-5
    noise[:3, 3] = 1e-3
    assert same_grid(shape, EYE, shape, EYE + noise)
    assert not same_grid(shape, EYE, shape, moved(0.5))
    assert not same_grid(shape, EYE, (240, 240, 154), EYE)
    assert not same_grid(shape, EYE, shape, np.diag([1, 1, 1.01, 1]))


def test_grid_is_described_with_shape_and_affine():
    assert describe_grid((4, 5, 6), moved(2.5)) == "shape 4×5×6, affine [1 0 0 2.5; 0 1 0 0; 0 0 1 0]"


@pytest.mark.parametrize("order", ["linear", "nearest"])
def test_resampling_undoes_flips_and_permutations(order):
    array = np.random.default_rng(0).integers(0, 200, (6, 7, 8)).astype(np.float32)
    other = np.flip(array.transpose(2, 0, 1), axis=0)
    # other[k, i, j] == array[i, j, 7 - k]
    affine = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 7], [0, 0, 0, 1]])
    assert np.allclose(resample(other, affine, array.shape, EYE, order=order), array)


def test_resampling_interpolates_and_fills():
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], (10, 4, 4))
    half = resample(ramp, EYE, (10, 4, 4), moved(0.5), order="linear", outside=-7)
    assert np.allclose(half[:9, 1, 1], np.arange(9) + 0.5)
    far = resample(ramp, EYE, (10, 4, 4), moved(50), order="linear", outside=-7)
    assert (far == -7).all()
    labels = (ramp > 4).astype(np.uint8)
    assert resample(labels, EYE, (10, 4, 4), moved(0.2), order="nearest").dtype == np.uint8
