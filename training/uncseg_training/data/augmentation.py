"""Augmentation of a case by batchgeneratorsv2, as strong as nnU-Net's, with what else happens to a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import (
    BrightnessAdditiveTransform,
    MultiplicativeBrightnessTransform,
)
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform
from torch import Tensor

ROTATION = 30 / 180 * np.pi
LOST, PARTLY_LOST = 0.06, 0.06
"""Probability that a modality is missing, and that it covers only part of the brain."""


class Augmentation:
    """Turns, bends, mirrors and degrades a case, as a function of a seed alone.

    Rotation by up to 30° about each axis, scale 0.7 to 1.4, elastic deformation, mirroring; noise, blur, brightness,
    contrast, low resolution and gamma with nnU-Net's ranges; thick slices; a modality that is missing or covers only
    part of the brain.

    Parameters
    ----------
    patch : tuple of int
        Voxels of what comes out, the middle of what goes in.
    mirror_axes : sequence of int
        Axes that are flipped half of the time.

    References
    ----------
    Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
    Methods 18 (2021), supplementary note 4.
    """

    def __init__(self, patch: tuple[int, int, int], mirror_axes: Sequence[int] = (0, 1, 2)) -> None:
        self._spatial = ComposeTransforms([_spatial(patch), MirrorTransform(tuple(mirror_axes))])
        self._intensity = ComposeTransforms(_intensity())

    def __call__(self, images: Tensor, targets: Tensor, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augment one case.

        Parameters
        ----------
        images : Tensor of float32, shape (4, x, y, z)
            z-scores, 0 outside of the brain.
        targets : Tensor of float32, shape (channels, x, y, z)
            What lies on the images and moves with them: regions, probabilities of a previous stage. Linear between
            voxels, 0 outside.
        seed : sequence of int
            The same seed gives the same result; the random numbers of numpy and torch are left as they were.

        Returns
        -------
        images : Tensor of float32, shape (4, *patch)
        targets : Tensor of float32, shape (channels, *patch)
        """
        with _seeded(seed), torch.no_grad():
            moved = self._spatial(image=images, regression_target=targets)
            images, targets = moved["image"], moved["regression_target"]
            # What was 0 before stays so: a background that is not 0 would tell where the brain ends.
            brain = (images != 0).any(0)
            images = self._intensity(image=images.clone())["image"] * brain
            _lose(images, brain)
        return images.contiguous(), targets.contiguous()

    def bent(self, targets: Tensor, seed: Sequence[int]) -> Tensor:
        """Maps ``(channels, x, y, z)`` moved as the images of that seed were; nothing else of it happens."""
        with _seeded(seed), torch.no_grad():
            moved: Tensor = self._spatial(image=targets)["image"]
        return moved.contiguous()


def _spatial(patch: tuple[int, int, int]) -> BasicTransform:
    return SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=0.4,
        rotation=(-ROTATION, ROTATION),
        p_scaling=0.4,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=0.7,
        p_elastic_deform=0.15,
        elastic_deform_scale=(0.1, 0.25),
        elastic_deform_magnitude=(2.0, 6.0),
    )


def _intensity() -> list[BasicTransform]:
    each: dict[str, bool] = {"synchronize_channels": False}
    contrast: RandomScalar = BGContrast((0.75, 1.25))
    gamma: RandomScalar = BGContrast((0.7, 1.5))
    thick = [
        SimulateLowResolutionTransform(
            scale=(0.17, 0.5), synchronize_axes=True, ignore_axes=others, p_per_channel=0.4, **each
        )
        for others in ((0, 1), (0, 2), (1, 2))
    ]
    steps = [
        (0.15, GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True)),
        (0.2, GaussianBlurTransform(blur_sigma=(0.5, 1.0), synchronize_axes=False, p_per_channel=0.5, **each)),
        (0.2, MultiplicativeBrightnessTransform(multiplier_range=contrast, p_per_channel=1, **each)),
        (0.3, BrightnessAdditiveTransform(mu=0, sigma=0.15, p_per_channel=0.7, **each)),
        (0.2, ContrastTransform(contrast_range=contrast, preserve_range=True, p_per_channel=1, **each)),
        (
            0.2,
            SimulateLowResolutionTransform(
                scale=(0.5, 1), synchronize_axes=True, ignore_axes=None, p_per_channel=0.5, **each
            ),
        ),
        (0.1, OneOfTransform(thick)),
        (0.1, GammaTransform(gamma=gamma, p_invert_image=1, p_per_channel=1, p_retain_stats=1, **each)),
        (0.3, GammaTransform(gamma=gamma, p_invert_image=0, p_per_channel=1, p_retain_stats=1, **each)),
    ]
    return [RandomTransform(transform, apply_probability=probability) for probability, transform in steps]


def _lose(images: Tensor, brain: Tensor) -> None:
    """Take a modality away now and then, wholly or beyond a plane, in place."""
    chance = float(torch.rand(1))
    if chance >= LOST + PARTLY_LOST or not brain.any():
        return
    modality = int(torch.randint(len(images), (1,)))
    if chance < LOST:
        images[modality] = 0
        return
    axis = int(torch.randint(3, (1,)))
    filled = brain.transpose(0, axis).flatten(1).any(1).nonzero()
    first, last = int(filled[0]), int(filled[-1]) + 1
    share = max(1, round((last - first) * float(torch.empty(1).uniform_(0.1, 0.4))))
    part = slice(first, first + share) if torch.rand(1) < 0.5 else slice(last - share, last)
    images[modality].transpose(0, axis)[part] = 0


@contextmanager
def _seeded(seed: Sequence[int]) -> Iterator[None]:
    """The library draws from the global generators: seed them, and give them back as they were."""
    state = np.random.get_state()  # noqa: NPY002
    first, second = np.random.SeedSequence(list(seed)).generate_state(2)
    with torch.random.fork_rng(devices=[]):
        np.random.seed(int(first))  # noqa: NPY002
        torch.manual_seed(int(second))
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
