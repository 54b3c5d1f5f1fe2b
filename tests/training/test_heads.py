"""Losses of Gaussian logits and of the error branch, by hand; trainings with them."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from napari_uncseg.models.heads import Head, split
from napari_uncseg.models.model import load_model, save_model
from tests.training.conftest import assert_same_bits, fit_in_pieces
from uncseg_training.train.config import config_from, read_config
from uncseg_training.train.head_losses import auxiliary_loss, gaussian_region_loss
from uncseg_training.train.losses import region_loss
from uncseg_training.train.state import Training, save_state
from uncseg_training.train.trainer import _train_step, fit


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def noise_of(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    drawn = iter(values)
    monkeypatch.setattr(torch, "randn_like", lambda tensor: torch.full_like(tensor, next(drawn)))


def test_sampled_likelihood_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    noise_of(monkeypatch, 1.0, -1.0)
    one = torch.ones(1, 1, 1, 1, 1)
    # Logits 1 + 2 and 1 - 2 of a voxel that is tumour: sigma is 2 for a log-variance of ln 4.
    loss = gaussian_region_loss(one, math.log(4) * one, one, samples=2)
    p = (sigmoid(3) + sigmoid(-1)) / 2
    assert float(loss) == pytest.approx(-math.log(p) + 1 - (2 * p + 1) / (p + 2), abs=1e-6)


def test_likelihood_of_what_is_not_tumour(monkeypatch: pytest.MonkeyPatch) -> None:
    noise_of(monkeypatch, 0.5, 0.0, -2.0)
    one = torch.ones(1, 1, 1, 1, 1)
    loss = gaussian_region_loss(0 * one, 0 * one, 0 * one, samples=3)
    p = (sigmoid(0.5) + 0.5 + sigmoid(-2)) / 3
    assert float(loss) == pytest.approx(-math.log(1 - p) + 1 - 1 / (p + 1), abs=1e-6)


def test_without_noise_it_is_the_loss_of_the_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    noise_of(monkeypatch, 0.0, 0.0, 0.0)
    random = torch.Generator().manual_seed(0)
    mean, regions = torch.randn(2, 3, 4, 4, 4, generator=random), torch.zeros(2, 3, 4, 4, 4)
    regions[:, :, 1:3] = 1
    assert float(gaussian_region_loss(mean, mean, regions, 3)) == pytest.approx(
        float(region_loss(mean, regions)), abs=1e-5
    )
    with pytest.raises(ValueError, match="at least 1"):
        gaussian_region_loss(mean, mean, regions, 0)


def test_variance_grows_where_the_mean_is_wrong_and_shrinks_where_it_is_right() -> None:
    torch.manual_seed(0)
    mean = torch.full((1, 3, 4, 4, 4), 4.0)
    regions = torch.zeros_like(mean)
    regions[:, :, :2] = 1
    log_variance = torch.zeros_like(mean, requires_grad=True)
    (gradient,) = torch.autograd.grad(gaussian_region_loss(mean, log_variance, regions, 50), log_variance)
    assert bool((gradient[:, :, :2] > 0).all())
    assert bool((gradient[:, :, 2:] < 0).all())


@pytest.mark.parametrize("value", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_losses_are_finite_under_autocast(value: float) -> None:
    torch.manual_seed(0)
    regions = torch.zeros(1, 3, 4, 4, 4)
    regions[:, 0, 1:] = 1
    output = torch.full((1, 6, 4, 4, 4), value, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [
            gaussian_region_loss(output[:, :3], output[:, 3:], regions),
            gaussian_region_loss(-output[:, :3], output[:, 3:], regions),
            auxiliary_loss(output[:, 3:], output[:, :3], regions),
        ]
    for loss in losses:
        assert loss.dtype == torch.float32
        (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
        assert bool(torch.isfinite(loss))
        assert bool(torch.isfinite(gradient).all())


def test_each_region_has_its_own_error() -> None:
    regions = torch.zeros(1, 3, 5, 5, 5)
    regions[:, 0, 2, 2, 2] = 1  # WT is missed, TC and ET are found where there is none
    logits = torch.full((1, 3, 5, 5, 5), -1.0, requires_grad=True)
    with torch.no_grad():
        logits[:, 1, 2, 2, 3] = logits[:, 2, 2, 3, 2] = 1
    failure = torch.zeros(1, 3, 5, 5, 5)
    failure[:, 0, 2, 2, 2] = failure[:, 1, 2, 2, 3] = failure[:, 2, 2, 3, 2] = 1
    assert float(auxiliary_loss((failure - 0.5) * 40, logits, regions)) < 1e-6
    # One region that is wrong everywhere costs a third of all three.
    one_wrong = (failure - 0.5) * 40 * torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1, 1)
    assert float(auxiliary_loss(one_wrong, logits, regions)) == pytest.approx(20 / 3, abs=1e-4)
    errors = torch.zeros(1, 3, 5, 5, 5, requires_grad=True)
    assert torch.autograd.grad(auxiliary_loss(errors, logits, regions), logits, allow_unused=True) == (None,)
    assert float(auxiliary_loss(errors.detach(), logits, regions)) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("head", [Head.REGIONS_GAUSSIAN, Head.REGIONS_AUXILIARY])
def test_a_training_that_was_cut_ends_with_the_same_bits(anatomies: Path, tmp_path: Path, head: Head) -> None:
    config = read_config("smoke", head=str(head), steps=3, validate_every=3, validation=1, samples=3, snapshots=1)
    whole = fit(anatomies, tmp_path / "whole", config)
    assert_same_bits(
        whole.averaged.state_dict(), fit_in_pieces(anatomies, tmp_path / "cut", config).averaged.state_dict()
    )
    model = load_model(save_model(whole.model(), tmp_path / "model", half=True).folder)
    assert model.head is head
    assert model.has_uncertainty
    with torch.inference_mode():
        segmentation, uncertainty = split(model.network(torch.zeros(1, 4, *config.patch)), head)
    assert segmentation.shape[1] == head.channels
    assert uncertainty is not None
    assert uncertainty.shape[1] == (3 if head is Head.REGIONS_AUXILIARY else 1)


def test_the_error_branch_learns_and_leaves_the_segmentation_alone(anatomies: Path) -> None:
    from uncseg_training.data.patches import Patches, stack

    plain = read_config("smoke", uncertainty="none", dropout=0.0, clip=1e9)
    config = replace(plain, head="regions_auxiliary", uncertainty="failure", late_from=0.0, uncertainty_late=100.0)
    trainings = [Training.fresh(each) for each in (plain, config)]
    shared = trainings[0].network.state_dict()
    trainings[1].network.load_state_dict(shared, strict=False)
    sample = stack([Patches(anatomies, plain, 1)[0]])
    losses = [_train_step(training, training.network, sample, torch.device("cpu")) for training in trainings]
    assert losses[0]["segmentation"] == losses[1]["segmentation"]
    for name, tensor in trainings[0].network.state_dict().items():
        assert torch.equal(tensor, trainings[1].network.state_dict()[name]), name
    fresh = Training.fresh(config).network.get_parameter("decoder.auxiliary.output.weight")
    assert not torch.equal(trainings[1].network.get_parameter("decoder.auxiliary.output.weight"), fresh)


def test_checkpoints_from_before_these_keys_are_gone_on_with(tmp_path: Path) -> None:
    config = read_config("smoke")
    training = Training.fresh(config)
    training.save(tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    since = ("arch", "head", "samples", "false_negative_weight")
    state["config"] = {key: value for key, value in asdict(config).items() if key not in since}
    save_state(state, tmp_path / "checkpoint.pt")
    assert config_from(state["config"]) == config
    assert Training.resume(tmp_path, config).config == config
    assert Training.of_run(tmp_path).config == config
    for changes in ({"head": "regions_gaussian"}, {"arch": "segresnet"}, {"false_negative_weight": 0.7}):
        key, value = next(iter(changes.items()))
        with pytest.raises(ValueError, match=f"trained with {key} = .*, not {value}"):
            Training.resume(tmp_path, replace(config, **changes))
