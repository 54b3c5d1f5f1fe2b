"""MONAI's networks come out of plans, run as model folders, and are only asked for when they are needed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.dropout import dropout_layers
from napari_uncseg.inference.ensemble_spec import parse_ensemble
from napari_uncseg.models.model import Model, load_model, output_channels, save_model
from napari_uncseg.models.unet import build_network, output_layer, tile_divisors
from tests.plans import make_plans

SEGRESNET = {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1], "dropout_prob": 0.2}
UNET = {"channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 2, "dropout": 0.2}
SWIN = {"feature_size": 12, "drop_rate": 0.1}

CASES = [
    pytest.param("SegResNet", SEGRESNET, (4, 4, 4), 1, nn.Dropout3d, id="segresnet"),
    pytest.param("UNet", UNET, (4, 4, 4), 9, nn.Dropout, id="unet_res"),
    pytest.param("SwinUNETR", SWIN, (32, 32, 32), 17, nn.Dropout, id="swin_unetr", marks=pytest.mark.slow),
]


def plans(name: str, kwargs: dict[str, Any], head: str = "regions", uncertainty: int = 1) -> dict[str, Any]:
    return make_plans(f"monai.networks.nets.{name}", kwargs, patch=(64, 32, 32), head=head, uncertainty=uncertainty)


@pytest.mark.parametrize(("name", "kwargs", "divisors", "dropouts", "kind"), CASES)
def test_a_model_folder_gives_the_same_network_back(tmp_path, name, kwargs, divisors, dropouts, kind):
    pytest.importorskip("monai")
    described = plans(name, kwargs)
    torch.manual_seed(1)
    network = build_network(described, 4, output_channels(described)).eval()
    save_model(Model(network, described), tmp_path / "full")
    save_model(Model(network, described), tmp_path / "half", half=True)
    full, half = load_model(tmp_path / "full"), load_model(tmp_path / "half")
    for key, value in network.state_dict().items():
        assert torch.equal(value, full.network.state_dict()[key]), key
        if not value.is_floating_point():
            assert torch.equal(value, half.network.state_dict()[key]), key
    assert tile_divisors(full.configuration) == divisors
    images = torch.randn(1, 4, 2 * divisors[0], divisors[1], divisors[2], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images)
        assert expected.shape == (1, 4, *images.shape[2:])
        assert torch.equal(full.network(images), expected)
    layer = output_layer(full.network)
    assert layer.out_channels == 4
    with torch.no_grad():
        layer.bias += 1  # of the answer itself, so it moves by that much
        assert torch.allclose(full.network(images), expected + 1, atol=1e-5)
    layers = dropout_layers(full.network, parse_ensemble("mc_dropout:2"), "m")
    assert len(layers) == dropouts
    assert all(isinstance(module, kind) and p > 0 for module, p in layers)


def test_gaussian_logits_need_three_channels_more() -> None:
    pytest.importorskip("monai")
    described = plans("SegResNet", SEGRESNET, "regions_gaussian")
    network = build_network(described, 4, output_channels(described))
    assert output_layer(network).out_channels == 7


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("DynUNet", {}, "DynUNet"),
        ("SegResNet", {"init_filters": 8, "spatial_dims": 2}, "spatial_dims"),
        ("SegResNet", {"init_filters": 4}, "SegResNet"),
        ("SwinUNETR", {"feature_size": 13}, "SwinUNETR"),
        ("UNet", {"channels": [4]}, "UNet"),
    ],
)
def test_what_monai_cannot_build_is_one_sentence(name: str, kwargs: dict[str, Any], words: str) -> None:
    pytest.importorskip("monai")
    with pytest.raises(ModelError, match=words):
        build_network(plans(name, kwargs), 4, 4)


def test_an_error_branch_belongs_to_our_own_networks() -> None:
    with pytest.raises(ModelError):
        build_network(plans("SegResNet", SEGRESNET, "regions_auxiliary", 3), 4, 6)
    with pytest.raises(ModelError):
        output_channels(plans("SegResNet", SEGRESNET, "regions_auxiliary", 1))
    with pytest.raises(ModelError):
        output_channels(plans("SegResNet", SEGRESNET, "spheres", 1))


@pytest.mark.parametrize(("missing", "name"), [("monai.networks.nets", "SegResNet"), ("einops", "SwinUNETR")])
def test_without_monai_the_sentence_says_what_to_install(monkeypatch, missing, name):
    pytest.importorskip("monai")
    monkeypatch.setitem(sys.modules, missing, None)
    needed = missing.partition(".")[0]
    advice = r'pip install "\.\[monai\]" in the folder of the clone'
    with pytest.raises(ModelError, match=rf"MONAI's {name}, which needs {needed}; .*{advice}"):
        build_network(plans(name, SEGRESNET if name == "SegResNet" else SWIN), 4, 4)


def test_nothing_imports_monai_before_such_a_network() -> None:
    code = (
        "import sys, napari_uncseg.inference.predictor, napari_uncseg.models.importers.monai\n"
        "from napari_uncseg.models.model import load_model\n"
        "load_model()\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('monai', 'einops')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
