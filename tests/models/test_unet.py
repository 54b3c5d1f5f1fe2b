"""Networks rebuilt from plans are nnU-Net's own, parameter by parameter and number by number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.models.unet import build_network
from tests.plans import OPERATIONS, make_plans

BASE = {
    **OPERATIONS,
    "n_stages": 4,
    "features_per_stage": [8, 16, 32, 32],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
}
PLAIN = {**BASE, "n_conv_per_stage": [2, 1, 2, 2], "n_conv_per_stage_decoder": [1, 2, 1]}
RESIDUAL = {**BASE, "n_blocks_per_stage": [1, 2, 1, 2], "n_conv_per_stage_decoder": [1, 1, 1]}


def plans(name: str, kwargs: dict) -> dict:
    return make_plans(f"dynamic_network_architectures.architectures.unet.{name}", kwargs)


@pytest.mark.parametrize(("name", "kwargs"), [("PlainConvUNet", PLAIN), ("ResidualEncoderUNet", RESIDUAL)])
@pytest.mark.parametrize("dropout", [False, True])
def test_same_parameters_and_outputs_as_nnunet(name: str, kwargs: dict, dropout: bool) -> None:
    oracle = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    drop = {"dropout_op": "torch.nn.modules.dropout.Dropout3d", "dropout_op_kwargs": {"p": 0.3}} if dropout else {}
    kwargs = {**kwargs, **drop}
    ours = build_network(plans(name, kwargs), 4, 4).eval()
    operations = {
        **kwargs,
        "conv_op": nn.Conv3d,
        "norm_op": nn.InstanceNorm3d,
        "nonlin": nn.LeakyReLU,
        "dropout_op": nn.Dropout3d if dropout else None,
    }
    theirs = getattr(oracle, name)(input_channels=4, num_classes=4, **operations).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(1, 4, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
        channels_last = ours(images.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(channels_last, ours(images), atol=1e-5, rtol=1e-4)


def test_output_has_the_asked_channels() -> None:
    network = build_network(plans("PlainConvUNet", PLAIN), 4, 5)
    assert network(torch.zeros(2, 4, 8, 16, 16)).shape == (2, 5, 8, 16, 16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm_op": "os.system"}, "os.system"),
        ({"conv_op": "torch.nn.modules.conv.Conv2d"}, "Conv2d"),
        ({"features_per_stage": [8, 16]}, "U-Net"),
        ({"strides": "none"}, "U-Net"),
        ({"n_conv_per_stage": [1, float("inf"), 1]}, "U-Net"),
        ({"features_per_stage": 10**6}, "larger"),
        ({"norm_op": ["torch.nn.InstanceNorm3d"]}, "built"),
        ({"norm_op_kwargs": [0]}, "built"),
        ({"nonlin_kwargs": {"INPLACE": True}}, "built"),
    ],
)
def test_foreign_plans_are_refused_by_name(change: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_network(plans("PlainConvUNet", {**PLAIN, **change}), 4, 4)


def test_unknown_network_is_refused() -> None:
    with pytest.raises(ModelError, match="Primus"):
        build_network(plans("Primus", PLAIN), 4, 4)
    with pytest.raises(ModelError):
        build_network({"configurations": {}}, 4, 4)
