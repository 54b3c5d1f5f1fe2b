"""The brain, on backgrounds of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from napari_uncseg.io.brain import brain_mask, has_skull
from napari_uncseg.io.loading import load_study


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("background", [0.0, -1000.0, 37.5])
def test_constant_background_gives_the_exact_brain(tiny_study, background):
    images = np.where(tiny_study.brain, tiny_study.images, np.float32(background))
    assert np.array_equal(brain_mask(images), tiny_study.brain)


def test_z_scored_brain_on_zero(tiny_study):
    """Half of the intensities lie below the background."""
    images = tiny_study.images.copy()
    for image in images:
        inside = image[tiny_study.brain]
        image[tiny_study.brain] = (inside - inside.mean()) / inside.std()
    assert np.array_equal(brain_mask(images), tiny_study.brain)


def test_noisy_background(tiny_study):
    noise = np.random.default_rng(3).normal(0, 15, (2, *tiny_study.images.shape))
    images = np.hypot(tiny_study.images + noise[0], noise[1]).astype(np.float32)
    assert dice(brain_mask(images), tiny_study.brain) > 0.94


def test_negative_noisy_background(tiny_study):
    noise = np.random.default_rng(3).normal(-200, 10, tiny_study.images.shape)
    images = (tiny_study.images + noise).astype(np.float32)
    assert dice(brain_mask(images), tiny_study.brain) > 0.94


def test_holes_are_filled_and_specks_dropped(tiny_study):
    images = tiny_study.images.copy()
    images[:, 18:21, 20:23, 16:19] = 0
    images[:, 1, 1, 1] = 500
    assert np.array_equal(brain_mask(images), tiny_study.brain)


def test_one_modality_with_a_smaller_field_of_view(tiny_study):
    images = tiny_study.images.copy()
    images[2, :, :, :12] = 0
    assert np.array_equal(brain_mask(images), tiny_study.brain)


def test_skull_is_recognised(tiny_study):
    sizes = tiny_study.spacing
    assert not has_skull(tiny_study.images, tiny_study.brain, sizes)
    assert has_skull(tiny_study.images, np.ones(tiny_study.shape, dtype=bool), (4.0, 4.0, 4.0))


def test_skull_of_a_small_head_is_recognised_by_its_bone(tiny_study):
    images = tiny_study.images.copy()
    x, y, z = np.indices(tiny_study.shape)
    centre = (np.array(tiny_study.shape) - 1) / 2
    depth = np.sqrt(((x - centre[0]) * 2) ** 2 + ((y - centre[1]) * 2) ** 2 + ((z - centre[2]) * 2.5) ** 2)
    bone = (depth > 26) & (depth < 31)
    images[:, bone] = np.random.default_rng(0).uniform(1, 15, (4, np.count_nonzero(bone)))
    brain = brain_mask(images)
    assert has_skull(images, brain, tiny_study.spacing)


@pytest.mark.slow
def test_real_brains_are_what_is_not_zero(real_data):
    for folder in sorted((real_data / "brats2021").iterdir())[:2]:
        study = load_study(folder)
        assert dice(study.brain, (study.images != 0).any(axis=0)) > 0.999
        assert study.warnings == ()
