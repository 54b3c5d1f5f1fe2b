"""The error branch looks at the segmentation from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_uncseg.models.heads import Head, split
from napari_uncseg.models.model import Model, load_model, output_channels, save_model
from napari_uncseg.models.unet import build_network, output_layer
from tests.plans import make_plans


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_the_segmentation_is_that_of_the_network_without_the_branch(tmp_path: Path, name: str) -> None:
    described = make_plans(name, head="regions_auxiliary", uncertainty=3)
    torch.manual_seed(2)
    network = build_network(described, 4, output_channels(described)).eval()
    plain = build_network(make_plans(name), 4, 3).eval()
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
