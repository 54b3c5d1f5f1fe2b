"""The light trainer: losses by hand, exact resume, a model folder at the end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_uncseg.network.model import load_model
from uncseg_training.cli import app
from uncseg_training.config import Config, read_config
from uncseg_training.losses import failure_loss, region_loss
from uncseg_training.phantom.anatomy import Anatomy, Tissue, save_anatomies
from uncseg_training.trainer import Patches, Training, fit, learning_rate


def head(radius: int = 60) -> Anatomy:
    """Concentric balls of ventricle, white matter, cortex and CSF."""
    axis = np.arange(-radius, radius + 1)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    tissues = np.zeros(distance.shape, np.uint8)
    for limit, tissue in ((60, Tissue.CSF), (56, Tissue.CORTEX), (50, Tissue.WHITE), (12, Tissue.VENTRICLE)):
        tissues[distance <= limit] = tissue
    return Anatomy("balls", tissues)


@pytest.fixture(scope="module")
def anatomies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anatomies") / "balls.npz"
    save_anatomies([head()], path)
    return path


def test_region_loss_by_hand() -> None:
    regions = torch.zeros(1, 3, 2, 1, 1)
    regions[0, :, 0] = 1
    logits = torch.zeros(1, 3, 2, 1, 1)
    # p = 1/2 everywhere: cross-entropy ln 2; Dice (2 * 0.5 + 1) / (1 + 1 + 1) = 2/3.
    assert float(region_loss(logits, regions)) == pytest.approx(math.log(2) + 1 / 3, abs=1e-6)


def test_region_loss_is_finite_and_falls_for_empty_regions() -> None:
    regions = torch.zeros(1, 3, 8, 8, 8)
    logits = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
    loss = region_loss(logits, regions)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(torch.isfinite(gradient).all())
    assert float(region_loss(torch.full_like(logits, -10).detach(), regions)) < 0.05 * float(loss.detach())


def test_failure_loss_targets_the_xor_and_leaves_the_segmentation_alone() -> None:
    regions = torch.zeros(1, 3, 9, 9, 9)
    regions[0, 0, 4, 4, 4] = 1
    logits = torch.full((1, 3, 9, 9, 9), -1.0, requires_grad=True)
    with torch.no_grad():
        logits[0, 0, 4, 4, 5] = 1
    failure = torch.zeros(1, 1, 9, 9, 9)
    failure[0, 0, 4, 4, 4] = failure[0, 0, 4, 4, 5] = 1
    right = failure_loss((failure - 0.5) * 40, logits, regions)
    wrong = failure_loss((0.5 - failure) * 40, logits, regions)
    assert float(right) < 1e-6
    assert float(wrong) == pytest.approx(20, abs=1e-4)
    doubt = torch.zeros(1, 1, 9, 9, 9, requires_grad=True)
    assert torch.autograd.grad(failure_loss(doubt, logits, regions), logits, allow_unused=True) == (None,)


def test_failure_loss_weighs_the_neighbourhood() -> None:
    regions = torch.zeros(1, 3, 21, 1, 1)
    regions[0, 0, 10] = 1
    logits = torch.full((1, 3, 21, 1, 1), -1.0)
    doubt = torch.full((1, 1, 21, 1, 1), -30.0)
    doubt[0, 0, 0] = 2.0
    # A false alarm of softplus(2) at weight 0.05, a miss of 30 at weight 1, over 7 near and 14 far voxels.
    expected = (0.05 * math.log1p(math.exp(2)) + 30) / (7 + 14 * 0.05)
    assert float(failure_loss(doubt, logits, regions, dilation=3)) == pytest.approx(expected, rel=1e-5)


def test_learning_rate_warms_up_stays_and_decays() -> None:
    config = Config(steps=100, warmup=10, decay=0.5, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 30) == 1.0
    assert learning_rate(config, 75) == pytest.approx(0.5)
    assert learning_rate(config, 99) == pytest.approx(0.02)


def test_interrupted_training_ends_with_the_same_bits(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke")
    whole = fit(anatomies, tmp_path / "whole", config)
    # A budget of nothing stops after the first step, again and again.
    for _ in range(config.steps):
        cut = fit(anatomies, tmp_path / "cut", config, budget=0.0)
    assert cut.step == whole.step == config.steps
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, cut.network.state_dict()[name]), name
    for name, tensor in whole.averaged.state_dict().items():
        assert torch.equal(tensor, cut.averaged.state_dict()[name]), name
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert any("validation" in line for line in lines)


def test_patches_depend_on_the_step_alone(anatomies: Path) -> None:
    config = read_config("smoke")
    first, second = Patches(anatomies, config, 5), Patches(anatomies, config, 5)
    first[0]
    assert torch.equal(first[3].images, second[3].images)
    assert first[3].images.shape == (4, *config.patch)
    assert first[5].images.shape == (4, *config.volume)
    assert not torch.equal(first[3].images, Patches(anatomies, config, 6)[3].images)


def test_another_configuration_is_refused(anatomies: Path, tmp_path: Path) -> None:
    config = read_config("smoke", steps=1, validation=0)
    fit(anatomies, tmp_path, config)
    with pytest.raises(ValueError, match="learning_rate"):
        Training.resume(tmp_path, replace(config, learning_rate=0.5))
    assert fit(anatomies, tmp_path, replace(config, steps=2)).step == 2


def test_unknown_configurations_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="smoke"):
        read_config("absent")
    (tmp_path / "bad.yaml").write_text("stepz: 3\n")
    with pytest.raises(ValueError, match="stepz"):
        read_config(tmp_path / "bad.yaml")


def test_command_line_trains_and_exports(anatomies: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["fit", "--config", "smoke", "--anatomies", str(anatomies), "-o", str(tmp_path / "run"), "--steps", "2"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "finished at step 2" in result.output
    result = runner.invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "model")
    assert model.name == "smoke"
    assert model.spacing == (4.0, 4.0, 4.0)
    assert model.provenance["step"] == 2


def test_command_line_explains_what_is_missing(tmp_path: Path) -> None:
    runner = CliRunner()
    for arguments, words in (
        (["fit", "--config", "smoke", "--anatomies", str(tmp_path / "no.npz")], "uncseg-train anatomies"),
        (["fit", "--config", "absent"], "no configuration absent"),
        (["export", str(tmp_path), str(tmp_path / "model")], "no checkpoint"),
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 1
        assert words in result.output
