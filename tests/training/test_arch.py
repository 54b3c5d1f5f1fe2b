"""MONAI's networks are trained, exported and run like the light trainer's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import study_from_arrays
from napari_uncseg.models.model import load_model, load_snapshot
from tests.training.conftest import refused, uncseg_train
from uncseg_training.train.architectures import ARCHES, divisor, fitting
from uncseg_training.train.config import Config, read_config

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
    with pytest.raises(ValueError, match="no network vnet"):
        config.with_arch("vnet")


@pytest.mark.parametrize(("arch", "dropped"), MONAI)
def test_command_line_trains_exports_and_predicts(anatomies, tmp_path, arch, dropped):
    pytest.importorskip("monai")
    run = tmp_path / "run"
    words = ("--arch", arch, "--anatomies", anatomies, "-o", run, "--steps", 3)
    assert "finished at step 3" in uncseg_train("fit", "--config", "smoke", *words)
    uncseg_train("export", run, tmp_path / "model")
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


def test_command_line_says_what_is_missing(anatomies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    words = ("fit", "--config", "smoke", "--anatomies", anatomies, "-o", tmp_path / "run", "--arch")
    assert "no network vnet; take one of unet, segresnet" in refused(*words, "vnet")
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    assert 'pip install ".[monai]" in the folder of the clone' in refused(*words, "segresnet")
