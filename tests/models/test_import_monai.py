"""MONAI's bundles and weights become models that say the same, and nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from napari_uncseg.cli.app import app
from napari_uncseg.errors import ModelError
from napari_uncseg.inference import forward_pass as runner_module
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import study_from_arrays
from napari_uncseg.labels import MODALITIES
from napari_uncseg.models.heads import Head
from napari_uncseg.models.importers.monai import import_monai
from napari_uncseg.models.importers.monai_bundle import meaning_of_name
from napari_uncseg.models.model import load_model
from napari_uncseg.models.monai import KNOWN
from tests.models.conftest import Bomb

SHAPE = (24, 32, 16)
PUBLIC = "brats_mri_segmentation"


def monai_nets() -> Any:
    return pytest.importorskip("monai.networks.nets")


def configuration(**network: Any) -> dict[str, Any]:
    """As bundles have it: values, references and expressions side by side."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "filters": 8,
        "network_def": {
            "_target_": "SegResNet",
            "blocks_down": [1, 1, 1],
            "blocks_up": [1, 1],
            "init_filters": "@filters",
            "in_channels": 4,
            "out_channels": 3,
            "dropout_prob": 0.2,
            **network,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": list(SHAPE), "sw_batch_size": 1, "overlap": 0.5},
    }


METADATA = {
    "name": "BraTS MRI segmentation",
    "version": "0.5.3",
    "network_data_format": {
        "inputs": {"image": {"channel_def": {"0": "T1c", "1": "T1", "2": "T2", "3": "FLAIR"}}},
        "outputs": {"pred": {"channel_def": {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}}},
    },
}


def write_bundle(
    folder: Path, config: dict[str, Any] | None = None, metadata: dict[str, Any] | None = METADATA, **kwargs: Any
) -> nn.Module:
    """A bundle with random weights; returns its network."""
    torch.manual_seed(4)
    network = (
        monai_nets()
        .SegResNet(
            **{"init_filters": 8, "in_channels": 4, "out_channels": 3, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)}
            | {"dropout_prob": 0.2}
            | kwargs
        )
        .eval()
    )
    with torch.no_grad():
        network.conv_final[2].conv.weight *= 20
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config or configuration()))
    if metadata is not None:
        (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return network


def test_the_predictor_says_what_monai_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = write_bundle(tmp_path / PUBLIC)
    result = CliRunner().invoke(
        app, ["model", "import", str(tmp_path / PUBLIC), "--monai", "-o", str(tmp_path / "model")]
    )
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "model")
    assert (model.patch_size, model.spacing, model.orientation) == (SHAPE, (1.0, 1.0, 1.0), "LPS")
    assert model.provenance["imported_from"] == f"{PUBLIC}/models/model.pt"
    assert model.provenance["bundle_version"] == "0.5.3"
    assert str(tmp_path) not in json.dumps(model.provenance)
    # A brain that reaches the faces of its volume, so that nothing is cut off or filled up.
    grid = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    brain = ((grid / (np.array(SHAPE)[:, None, None, None] / 2)) ** 2).sum(0) <= 1
    noise = np.random.default_rng(0).random((4, *SHAPE)) * np.array([100, 200, 300, 50])[:, None, None, None]
    images = ((noise + 20) * brain).astype(np.float32)
    study = study_from_arrays(images, np.diag([-1.0, -1.0, 1.0, 1.0]), id="noise")
    monkeypatch.setattr(runner_module, "precision_of", lambda device: torch.float32)
    ours = Predictor(model, device="cpu").predict(study).probabilities
    # t1c, t1n, t2w, t2f as the bundle takes them, and its own normalisation.
    transforms = pytest.importorskip("monai.transforms")
    seen = transforms.NormalizeIntensity(nonzero=True, channel_wise=True)(images[[0, 1, 3, 2]])
    with torch.inference_mode():
        tc, wt, et = torch.sigmoid(theirs(torch.as_tensor(seen)[None]))[0].numpy()
    assert np.abs(ours - np.stack([wt, tc, et]))[:, brain].max() < 1e-4
    assert np.abs(ours[0] - ours[1])[brain].max() > 0.1
    assert np.ptp(ours[:, brain]) > 0.5


FILES = [
    pytest.param("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, id="segresnet"),
    pytest.param("UNet", {"channels": [4, 8], "strides": [2], "num_res_units": 2, "dropout": 0.1}, id="unet_res"),
    pytest.param("UNet", {"channels": [4, 8], "strides": [2]}, id="unet"),
    pytest.param(
        "UNet", {"channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": ["batch", {}]}, id="unet_affine"
    ),
    pytest.param("SwinUNETR", {"feature_size": 12}, id="swin_unetr", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "kwargs"), FILES)
@pytest.mark.parametrize("outputs", [("ET", "WT", "TC"), ("ED", "background", "ET", "NCR")])
def test_weights_are_put_in_our_order(tmp_path: Path, kind: str, kwargs: dict[str, Any], outputs: tuple) -> None:
    inputs = ("t2f", "t1c", "t2w", "t1n")
    torch.manual_seed(5)
    theirs = getattr(monai_nets(), kind)(spatial_dims=3, in_channels=4, out_channels=len(outputs), **kwargs).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms and activations begin alike in all channels
            parameter += 0.05 * torch.randn_like(parameter)
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    definition = json.dumps({"_target_": f"monai.networks.nets.{kind}", "in_channels": 4, **kwargs})
    model = import_monai(tmp_path / "w.pth", arch=definition, inputs=inputs, outputs=outputs, tile=(30, 40, 50))
    images = torch.randn(1, 4, 64, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = ("background", "NCR", "ED", "ET") if len(outputs) == 4 else ("WT", "TC", "ET")
    with torch.inference_mode():
        expected = theirs(images[:, [MODALITIES.index(name) for name in inputs]])
        found = model.network(images)
    assert torch.allclose(found, expected[:, [outputs.index(name) for name in ours]], atol=1e-4)
    assert model.head is (Head.LABELS4 if len(outputs) == 4 else Head.REGIONS)
    assert model.patch_size == ((32, 64, 64) if kind == "SwinUNETR" else (30, 40, 50))
    assert model.name == "w"


def test_the_public_bundle_is_known_by_name(tmp_path: Path) -> None:
    network = KNOWN["bundles"][PUBLIC]["network"]
    kwargs = {key: value for key, value in network.items() if key != "_target_"}
    torch.save(monai_nets().SegResNet(**kwargs).state_dict(), tmp_path / "model.pt")
    model = import_monai(tmp_path / "model.pt", arch=PUBLIC)
    assert sum(parameter.numel() for parameter in model.network.parameters()) == 4_702_227
    assert model.patch_size == (240, 240, 160)
    assert model.provenance["input_channels"] == ["t1c", "t1n", "t2w", "t2f"]
    assert model.provenance["output_channels"] == ["TC", "WT", "ET"]


def test_a_bundle_may_be_yaml_and_lack_its_metadata(tmp_path: Path) -> None:
    write_bundle(tmp_path / PUBLIC, metadata=None)
    config = configuration()
    config["preprocessing"]["transforms"] += [
        {"_target_": "Spacingd", "pixdim": [1.5, 1.5, 2.0]},
        {"_target_": "Orientationd", "axcodes": "RAS"},
    ]
    (tmp_path / PUBLIC / "configs" / "inference.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / PUBLIC / "configs" / "inference.json").unlink()
    model = import_monai(tmp_path / PUBLIC)
    assert (model.spacing, model.orientation) == ((1.5, 1.5, 2.0), "RAS")
    assert model.provenance["output_channels"] == ["TC", "WT", "ET"]
    (tmp_path / PUBLIC).rename(tmp_path / "mine")
    with pytest.raises(ModelError, match="--inputs"):
        import_monai(tmp_path / "mine")
    words = ["model", "import", str(tmp_path / "mine"), "--monai", "--inputs", "T1ce, T1, T2, FLAIR", "--outputs"]
    result = CliRunner().invoke(app, [*words, "tc,wt,et", "--tile", "20,20,9", "-o", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "model").patch_size == (20, 20, 12)


def test_nothing_is_executed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a")
    torch.save({"model": Bomb(tmp_path / "exploded")}, tmp_path / "a" / "models" / "model.pt")
    with pytest.raises(ModelError, match=r"model\.pt"):
        import_monai(tmp_path / "a")
    write_bundle(tmp_path / "b", configuration(init_filters=f"$open({str(tmp_path / 'exploded')!r}, 'w') and 8"))
    with pytest.raises(ModelError):
        import_monai(tmp_path / "b")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"preprocessing": {"transforms": [{"_target_": "ScaleIntensityd"}]}}, "ScaleIntensityd"),
        ({"preprocessing": {"transforms": []}}, "NormalizeIntensityd"),
        ({"inferer": {"roi_size": [96, 96]}}, "roi_size"),
        ({"network_def": {"_target_": "VNet"}}, "VNet"),
        ({"network_def": {"_target_": "SegResNet", "spatial_dims": 2}}, "bundle"),
        ({"network_def": {"_target_": "SegResNet", "in_channels": 1}}, "in_channels"),
        ({"network_def": {"_target_": "SegResNet", "init_filters": "@absent"}}, "@absent"),
        ({"network_def": {"_target_": "SegResNet", "init_filters": 16}}, "SegResNet"),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    write_bundle(tmp_path / "bundle", {**configuration(), **change})
    with pytest.raises(ModelError, match=named) as refused:
        import_monai(tmp_path / "bundle")
    assert "\n" not in str(refused.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        import_monai(tmp_path / "absent.pt")
    with pytest.raises(ModelError, match=r"configs/inference\.json"):
        import_monai(tmp_path)
    write_bundle(tmp_path / "bundle", metadata={**METADATA, "network_data_format": {}, "name": "mine"})
    weights = tmp_path / "bundle" / "models" / "model.pt"
    with pytest.raises(ModelError, match="--arch"):
        import_monai(weights)
    with pytest.raises(ModelError):
        import_monai(weights, arch="segresnet")
    with pytest.raises(ModelError, match="--arch"):
        import_monai(tmp_path / "bundle", arch=PUBLIC)
    with pytest.raises(ModelError):
        import_monai(tmp_path / "bundle", inputs=("t1c", "t1c", "t2f", "t2w"), outputs=("WT", "TC", "ET"))
    weights.unlink()
    with pytest.raises(ModelError, match=r"models/model\.pt"):
        import_monai(tmp_path / "bundle")
    for words, option, code in (
        ([], "--monai", 1),
        (["--arch", "x"], "--arch", 2),
        (["--monai", "--fold", "0"], "--fold", 2),
        (["--monai", "--outputs", "liver"], "--outputs", 2),
        (["--monai", "--tile", "1,2"], "--tile", 2),
    ):
        result = CliRunner().invoke(app, ["model", "import", str(tmp_path / "bundle"), *words])
        assert result.exit_code == code
        assert option in result.output


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Tumor core", "TC"),
        ("whole tumour", "WT"),
        ("GD-enhancing tumor", "ET"),
        ("Background", "background"),
        ("peritumoral edema", "ED"),
        ("necrotic and non-enhancing tumor core", "NCR"),
        ("liver", None),
    ],
)
def test_channels_are_understood_by_their_names(name: str, meaning: str | None) -> None:
    assert meaning_of_name(name) == meaning
