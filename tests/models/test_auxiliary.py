"""The error branch looks at the segmentation from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from napari_uncseg.models.heads import Head, split
from napari_uncseg.models.model import Model, load_model, output_channels, save_model
from napari_uncseg.models.unet import build_network, output_layer

KWARGS: dict[str, Any] = {
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 2,
    "strides": [[1, 1, 1], [2, 2, 2]],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
    "n_conv_per_stage": [1, 1],
    "n_blocks_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
}


def plans(name: str, head: str, uncertainty: int) -> dict[str, Any]:
    return {
        "configurations": {"3d_fullres": {"architecture": {"network_class_name": name, "arch_kwargs": KWARGS}}},
        "uncseg": {"head": head, "uncertainty_channels": uncertainty},
    }


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_the_segmentation_is_that_of_the_network_without_the_branch(tmp_path: Path, name: str) -> None:
    described = plans(name, "regions_auxiliary", 3)
    torch.manual_seed(2)
    network = build_network(described, 4, output_channels(described)).eval()
    plain = build_network(plans(name, "regions", 0), 4, 3).eval()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if "auxiliary" not in key})
    images = torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    segmentation, errors = split(network(images), Head.REGIONS_AUXILIARY)
    assert torch.equal(segmentation, plain(images))
    assert errors is not None
    assert errors.shape == (1, 3, 8, 8, 8)
    errors.square().sum().backward()
    taught = [key for key, value in network.named_parameters() if value.grad is not None and value.grad.any()]
    assert taught
    assert all(key.startswith("decoder.auxiliary.") for key in taught)
    assert output_layer(network).out_channels == 3
    saved = save_model(Model(network, described), tmp_path)
    loaded = load_model(saved.folder)
    assert loaded.has_uncertainty
    with torch.inference_mode():
        assert torch.equal(loaded.network(images), network(images))
