"""Small studies, plans and networks for the tests of this room."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from napari_uncseg.io.study import Study
from napari_uncseg.models.model import Model
from napari_uncseg.models.unet import PlainConvUNet

SHAPE = (26, 30, 22)


def make_study(*, spacing=(1.0, 1.0, 1.0), reference=True, seed=0) -> Study:
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


def make_plans(*, patch=(16, 16, 16), spacing=(1.0, 1.0, 1.0), orientation="RAS", head="regions", uncertainty=1):
    return {
        "configurations": {
            "3d_fullres": {
                "patch_size": list(patch),
                "spacing": list(spacing),
                "normalization_schemes": ["ZScoreNormalization"] * 4,
                "use_mask_for_norm": [True] * 4,
                "architecture": {"arch_kwargs": {"strides": [[1, 1, 1], [2, 2, 2]]}},
            }
        },
        "uncseg": {"head": head, "uncertainty_channels": uncertainty, "orientation": orientation},
    }


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


def turn(study: Study, axes, signs) -> Study:
    """The same study with its voxel axes permuted and flipped, the affine along."""
    permuted = np.zeros((4, 4))
    permuted[3, 3] = 1
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        permuted[old, new] = sign
        permuted[old, 3] = study.shape[old] - 1 if sign < 0 else 0
    return dataclasses.replace(
        study,
        images=turn_array(study.images, axes, signs),
        brain=turn_array(study.brain, axes, signs),
        reference=None if study.reference is None else turn_array(study.reference, axes, signs),
        affine=study.affine @ permuted,
    )


def turn_array(array, axes, signs):
    lead = array.ndim - 3
    array = array.transpose(*range(lead), *(lead + axis for axis in axes))
    return np.ascontiguousarray(array[(..., *(slice(None, None, sign) for sign in signs))])


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture
def study_of() -> Callable[..., Study]:
    return make_study


@pytest.fixture
def plans_of() -> Callable[..., dict]:
    return make_plans


@pytest.fixture
def model_of() -> Callable[..., Model]:
    def build(network: nn.Module | None = None, **plans) -> Model:
        return Model(Threshold() if network is None else network, make_plans(**plans), name="toy", sha256="0" * 64)

    return build


@pytest.fixture
def threshold_network() -> type[nn.Module]:
    return Threshold


@pytest.fixture
def neighbourhood_network() -> type[nn.Module]:
    return Neighbourhood


@pytest.fixture
def turn_study() -> Callable[..., Study]:
    return turn


@pytest.fixture
def turn_volumes() -> Callable[..., np.ndarray]:
    return turn_array


UNET = {
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "kernel_sizes": [[3, 3, 3]] * 2,
    "strides": [[1] * 3, [2] * 3],
    "n_conv_per_stage": [1, 2],
    "n_conv_per_stage_decoder": [2],
    "conv_bias": True,
    "norm_op": "torch.nn.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
"""An nnU-Net of two levels, as plans describe it: three convolution blocks down, two up."""


def make_unet(*, dropout: str | None = None, p: float = 0.2, seed: int = 0, outputs: int = 4) -> nn.Module:
    """It, with random weights."""
    kwargs = {**UNET, "dropout_op": dropout, "dropout_op_kwargs": {"p": p} if dropout else None}
    torch.manual_seed(seed)
    return PlainConvUNet(kwargs, 4, outputs).eval()


@pytest.fixture
def unet_arguments() -> dict[str, object]:
    return dict(UNET)


@pytest.fixture
def unet_of() -> Callable[..., nn.Module]:
    return make_unet
