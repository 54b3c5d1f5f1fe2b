"""Small studies, plans and networks for the tests of this room."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from napari_uncseg.io.study import Study
from napari_uncseg.models.model import Model
from napari_uncseg.models.unet import PlainConvUNet
from tests.plans import TWO_LEVELS, make_plans

SHAPE = (26, 30, 22)


def study_of(*, spacing=(1.0, 1.0, 1.0), reference=True, seed=0) -> Study:
    """A ball of brain with a bright ball of tumour off its middle, in RAS order."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")).astype(np.float32)
    brain = (
        ((grid - np.array([12, 15, 11])[:, None, None, None]) / np.array([10, 12, 9])[:, None, None, None]) ** 2
    ).sum(0) < 1
    tumour = np.linalg.norm(grid - np.array([9, 17, 12])[:, None, None, None], axis=0) < 4
    noise = np.random.default_rng(seed).random((4, *SHAPE), dtype=np.float32)
    images = ((100 + 10 * noise) * brain + 300 * tumour).astype(np.float32)
    labels = np.where(tumour, 2, 0).astype(np.uint8)
    return Study(
        "toy",
        images,
        np.diag([*spacing, 1.0]),
        brain,
        reference=labels if reference else None,
        warnings=("Said before.",),
    )


def plans_of(*, spacing=(1.0, 1.0, 1.0), **plans):
    return make_plans(spacing=spacing, **plans)


class Threshold(nn.Module):
    """WT where the first z-score is high, TC and ET never; the uncertainty logit is the z-score."""

    def __init__(self, uncertainty: bool = True, shift: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Conv3d(4, 4 if uncertainty else 3, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[0, 0] = 8
            self.layer.bias[0] = -8 * shift
            self.layer.bias[1:3] = -10
            if uncertainty:
                self.layer.weight[3, 0] = 1
                self.layer.bias[3] = 0

    def forward(self, x):
        return self.layer(x)


class Neighbourhood(nn.Module):
    """Random 3x3x3 convolutions: depends on direction, so that a wrong turn of the axes shows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Conv3d(4, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(8, 4, 3, padding=1))

    def forward(self, x):
        return self.layers(x)


def turn_study(study: Study, axes, signs) -> Study:
    """The same study with its voxel axes permuted and flipped, the affine along."""
    permuted = np.zeros((4, 4))
    permuted[3, 3] = 1
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        permuted[old, new] = sign
        permuted[old, 3] = study.shape[old] - 1 if sign < 0 else 0
    return dataclasses.replace(
        study,
        images=turn_volumes(study.images, axes, signs),
        brain=turn_volumes(study.brain, axes, signs),
        reference=None if study.reference is None else turn_volumes(study.reference, axes, signs),
        affine=study.affine @ permuted,
    )


def turn_volumes(array, axes, signs):
    lead = array.ndim - 3
    array = array.transpose(*range(lead), *(lead + axis for axis in axes))
    return np.ascontiguousarray(array[(..., *(slice(None, None, sign) for sign in signs))])


@pytest.fixture
def study() -> Study:
    return study_of()


def model_of(network: nn.Module | None = None, **plans) -> Model:
    return Model(Threshold() if network is None else network, plans_of(**plans), name="toy", sha256="0" * 64)


UNET = {**TWO_LEVELS, "n_conv_per_stage": [1, 2], "n_conv_per_stage_decoder": [2]}
"""An nnU-Net of two levels, as plans describe it: three convolution blocks down, two up."""


def unet_of(*, dropout: str | None = None, p: float = 0.2, seed: int = 0, outputs: int = 4) -> nn.Module:
    """It, with random weights."""
    kwargs = {**UNET, "dropout_op": dropout, "dropout_op_kwargs": {"p": p} if dropout else None}
    torch.manual_seed(seed)
    return PlainConvUNet(kwargs, 4, outputs).eval()
