"""MONAI's networks are trained, exported and run like the light trainer's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import study_from_arrays
from napari_uncseg.models.model import load_model, load_snapshot
from uncseg_training.cli import app
from uncseg_training.train.architectures import ARCHES, divisor, fitting
from uncseg_training.train.config import Config, read_config
from uncseg_training.train.trainer import fit

MONAI = [
    pytest.param("segresnet", (1,), id="segresnet"),
    pytest.param("unet_res", (9,), id="unet_res"),
    pytest.param("swin_unetr", (17,), id="swin_unetr", marks=pytest.mark.slow),
]


def test_the_grid_is_made_to_fit() -> None:
    assert [divisor(arch, 4) for arch in ARCHES] == [8, 8, 8, 32]
    assert fitting((80, 96, 81), 16) == (80, 96, 96)
    config = Config()
    assert config.with_arch("unet") is config
    swin = config.with_arch("swin_unetr")
    assert (swin.volume, swin.patch, swin.dropout) == ((96, 96, 96), (64, 96, 64), 0.2)
    assert (swin.name, swin.start) == ("phantom-swin_unetr", "")
    assert Config(start="runs/other", dropout=0.3).with_arch("segresnet").dropout == 0.3
    # One cell of the coarsest grid is too little to normalise.
    assert read_config("smoke").with_arch("swin_unetr").patch == (32, 64, 32)
    with pytest.raises(ValueError, match="multiples of 32"):
        Config(arch="swin_unetr")
    with pytest.raises(ValueError, match="no network vnet"):
        config.with_arch("vnet")
    with pytest.raises(ValueError, match="arch is vnet"):
        Config(arch="vnet")


@pytest.mark.parametrize(("arch", "dropped"), MONAI)
def test_command_line_trains_exports_and_predicts(anatomies, tmp_path, arch, dropped):
    pytest.importorskip("monai")
    runner, run = CliRunner(), tmp_path / "run"
    words = ["fit", "--config", "smoke", "--arch", arch, "--anatomies", str(anatomies), "-o", str(run), "--steps", "3"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "finished at step 3" in result.output
    result = runner.invoke(app, ["export", str(run), str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "model")
    assert model.name == f"smoke-{arch}"
    assert model.has_uncertainty
    assert model.snapshots == 2
    earlier, now = (dict(m.network.named_parameters()) for m in (load_snapshot(model, 1), model))
    assert any(not torch.equal(earlier[name], now[name]) for name in now)
    random = np.random.default_rng(0)
    study = study_from_arrays(random.random((4, 30, 36, 30), np.float32) + 1, np.diag([4.0, 4, 4, 1]), id="noise")
    prediction = Predictor(model, device="cpu").predict(study, ensemble="mc_dropout:4,p=0.5")
    assert prediction.provenance["members"]["dropped_layers"] in dropped
    assert float(prediction.maps["variance"].max()) > 0
    assert "unc_output" in prediction.maps


def test_an_interrupted_training_ends_with_the_same_bits(anatomies: Path, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    config = read_config("smoke", steps=2, validation=0, snapshots=1).with_arch("segresnet")
    whole = fit(anatomies, tmp_path / "whole", config)
    for _ in range(config.steps):
        cut = fit(anatomies, tmp_path / "cut", config, budget=0.0)
    for name, tensor in whole.averaged.state_dict().items():
        assert torch.equal(tensor, cut.averaged.state_dict()[name]), name


def test_command_line_says_what_is_missing(anatomies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    words = ["fit", "--config", "smoke", "--anatomies", str(anatomies), "-o", str(tmp_path / "run"), "--arch"]
    result = CliRunner().invoke(app, [*words, "vnet"])
    assert result.exit_code == 1
    assert "no network vnet; take one of unet, segresnet" in result.output
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    result = CliRunner().invoke(app, [*words, "segresnet"])
    assert result.exit_code == 1
    assert 'pip install ".[monai]" in the folder of the clone' in result.output
