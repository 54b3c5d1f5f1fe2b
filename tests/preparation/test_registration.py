"""Registration: known moves are found on any grid, images that fit stay, and failures are recognised."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dicom_writer import grid, head

from napari_uncseg.errors import Cancelled
from napari_uncseg.preparation.registration import _matrix, displacement_mm, register

ORIGIN = np.zeros(3)


def moved(role: str, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A head on the grid of a modality, moved: values and affine."""
    affine, shape = grid(role)
    return head(role, np.linalg.inv(matrix) @ affine, shape).astype(np.float32), affine


def test_known_move_is_found_between_contrasts_and_grids():
    fixed, affine = moved("t1c", np.eye(4))
    matrix = _matrix(np.array([9.0, -6.0, 12.0]), np.array([11.0, -7.0, 5.0]), ORIGIN)
    found = register(fixed, affine, *moved("t2f", matrix))
    assert found.works
    assert displacement_mm(found.matrix, matrix, ORIGIN) < 1.5
    assert found.moved_mm == pytest.approx(displacement_mm(matrix, np.eye(4), ORIGIN), abs=4)


def test_images_that_fit_are_left_as_they_lie_and_noise_does_not_work():
    fixed, affine = moved("t1c", np.eye(4))
    assert register(fixed, affine, *moved("t1n", np.eye(4))).fits_already
    noise = np.random.default_rng(1).normal(100, 30, fixed.shape).astype(np.float32)
    assert not register(fixed, affine, noise, affine).works


def test_registration_can_be_cancelled():
    fixed, affine = moved("t1c", np.eye(4))
    with pytest.raises(Cancelled):
        register(fixed, affine, fixed, affine, cancelled=lambda: True)
