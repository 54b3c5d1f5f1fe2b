"""Trains the network that finds the brain: random images of heads in, the distance to the brain's surface out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.models.unet import PlainConvUNet
from uncseg_training.brain.heads import Head
from uncseg_training.brain.images import Sample, draw
from uncseg_training.train.architectures import architecture
from uncseg_training.train.config_files import CONFIGS, config_of, find_yaml, read_yaml
from uncseg_training.train.config_limits import check_type
from uncseg_training.train.precision import autocast, training_precisions
from uncseg_training.train.schedule import up_and_down, update_average
from uncseg_training.train.state import CHECKPOINT, LOG, check_same, load_state, put_state, save_state

CPU = torch.device("cpu")

UNIT_MM = 10.0
"""Millimetres per unit of the network's output."""

FARTHEST_MM = 15.0
"""Distances beyond are as good as this."""

NEAR_MM = 6.0
"""Distances within count five times."""

_FREE = {"steps", "decay", "validate_every"}
"""What may change when a training is gone on with."""


@dataclass(frozen=True)
class Config:
    """All that decides a training.

    Parameters
    ----------
    name : str
        What the network will be called.
    seed : int
        Of weights and images.
    steps : int
        Images to learn from.
    learning_rate, weight_decay, clip : float
        Of AdamW, and the largest gradient norm.
    warmup : int
        Steps to reach the learning rate.
    decay : float
        Share of the steps, at the end, in which it falls to 0.
    average : float
        Decay per step of the running average of the weights.
    volume, wide_volume, wide : tuple of int, tuple of int, float
        Voxels of 2 mm of most images, and of a share of them that shows more.
    features, encoder, decoder : tuple of int
        Channels and convolutions of each stage; the first stage is at 4 mm.
    tumours : int
        Tumours to grow in each head.
    held_out : int
        Heads, the last ones, that are never trained on.
    validate_every : int
        In steps.
    """

    name: str = "uncseg-brain"
    seed: int = 1
    steps: int = 6000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip: float = 2.0
    warmup: int = 50
    decay: float = 0.6
    average: float = 0.99
    volume: tuple[int, int, int] = (80, 96, 80)
    wide_volume: tuple[int, int, int] = (96, 112, 112)
    wide: float = 0.25
    features: tuple[int, ...] = (16, 32, 64, 96)
    encoder: tuple[int, ...] = (2, 2, 2, 2)
    decoder: tuple[int, ...] = (1, 2, 2)
    tumours: int = 4
    held_out: int = 3
    validate_every: int = 250

    def __post_init__(self) -> None:
        for field in fields(self):
            check_type(field.name, str(field.type), getattr(self, field.name))
        if not len(self.features) == len(self.encoder) == len(self.decoder) + 1:
            raise ValueError(
                "features and encoder have one number per stage, decoder one less; mend the configuration."
            )
        if any(side % 2 ** len(self.features) for side in (*self.volume, *self.wide_volume)):
            raise ValueError(f"A volume has sides that are no multiples of {2 ** len(self.features)}; change it.")
        if min(self.steps, self.validate_every) < 1 or self.held_out < 0 or self.learning_rate <= 0:
            raise ValueError("steps, validate_every and learning_rate must be above 0, held_out 0 or more.")


def read_config(path: Path | None = None, **changes: Any) -> Config:
    """The configuration ``brain.yaml``, or another file, with changes on top.

    Raises
    ------
    ValueError
        When the file is absent or no such configuration.
    """
    path = path or CONFIGS / "brain.yaml"
    content = read_yaml(find_yaml(path, CONFIGS, "configuration"))
    try:
        return config_of(Config, content | changes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def build(config: Config) -> PlainConvUNet:
    """A fresh network: an image of 2 mm in, distances of blocks of 4 mm out."""
    return PlainConvUNet(architecture_of(config), 1, 1)


def architecture_of(config: Config) -> dict[str, Any]:
    """Arguments of the U-Net, whose first stage is at half of the image's resolution."""
    kwargs = architecture("unet", config.features, config.encoder, config.decoder, 0.0)["arch_kwargs"]
    return {**kwargs, "strides": [[2, 2, 2]] * len(config.features)}


@dataclass
class Training:
    """State of a training: what a checkpoint holds."""

    config: Config
    network: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, folder: Path, config: Config) -> Training:
        """Fresh, or as the folder's checkpoint has it.

        Raises
        ------
        ValueError
            When it was trained with another configuration.
        """
        torch.manual_seed(config.seed)
        network, averaged = build(config), build(config)
        averaged.load_state_dict(network.state_dict())
        optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        training = cls(config, network, averaged, optimiser)
        if not (folder / CHECKPOINT).is_file():
            return training
        state = load_state(folder / CHECKPOINT)
        check_same(folder, state["config"], asdict(config), _FREE)
        parts = {"network": network, "averaged": averaged, "optimiser": optimiser}
        put_state(state, parts, folder / CHECKPOINT)
        training.step, training.seconds = int(state["step"]), float(state["seconds"])
        return training

    def save(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {key: getattr(self, key).state_dict() for key in ("network", "averaged", "optimiser")}
        told = {"config": asdict(self.config), "step": self.step, "seconds": self.seconds}
        save_state({**state, **told}, folder / CHECKPOINT)


def fit(
    heads: Sequence[Head],
    folder: Path,
    config: Config,
    *,
    checkpoint_seconds: float = 300.0,
    budget: float | None = None,
    report: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Training:
    """Train, or go on training; step *i* of a seed always sees the same image.

    Parameters
    ----------
    heads : sequence of Head
    folder : Path
        Takes ``checkpoint.pt`` and ``log.jsonl``.
    config : Config
    checkpoint_seconds : float
        Between two checkpoints.
    budget : float, optional
        Seconds after which to stop at a checkpoint.
    report : callable
        Is given each line of the log.

    Raises
    ------
    ValueError
        When there are too few heads, or the folder holds another training.
    """
    if len(heads) <= config.held_out:
        raise ValueError(f"{len(heads)} heads are too few to hold {config.held_out} of them out; give more label maps.")
    folder.mkdir(parents=True, exist_ok=True)
    training = Training.begin(folder, config)
    taught, unseen = heads[: len(heads) - config.held_out], heads[len(heads) - config.held_out :]
    started, saved, before = time.monotonic(), time.monotonic(), training.seconds
    running: float | None = None
    with (folder / LOG).open("a") as log:

        def note(line: Mapping[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()
            report(line)

        while training.step < config.steps:
            seed = config.seed * 1_000_003 + training.step
            head, wide = (_chance(3 * seed + number) for number in (1, 2))
            shape = config.wide_volume if wide < config.wide else config.volume
            loss = _train_step(training, draw(taught[int(head * len(taught))], shape, 2 * seed))
            running = loss if running is None else 0.98 * running + 0.02 * loss
            training.step += 1
            now = time.monotonic()
            training.seconds = before + now - started
            last = training.step == config.steps or (budget is not None and now - started > budget)
            if training.step % 20 == 0 or last:
                told = {"step": training.step, "of": config.steps, "seconds": round(training.seconds, 1)}
                note({**told, "distance": round(running, 4)})
            if unseen and (training.step % config.validate_every == 0 or last):
                note({"step": training.step, "validation": validate(training.averaged, unseen, config)})
            if last or now - saved > checkpoint_seconds:
                training.save(folder)
                saved = time.monotonic()
            if last:
                break
    return training


def _chance(seed: int) -> float:
    """A number from 0 to below 1."""
    return float(torch.rand((), generator=torch.Generator().manual_seed(seed)))


def learning_rate(config: Config, step: int) -> float:
    """Warm-up, plateau, linear decay to 0."""
    return up_and_down(config.learning_rate, step, config.warmup, config.steps, config.decay * config.steps)


def _train_step(training: Training, sample: Sample) -> float:
    config = training.config
    for group in training.optimiser.param_groups:
        group["lr"] = learning_rate(config, training.step)
    for precision in training_precisions(CPU):  # now and then a gradient of bfloat16 is not finite
        with autocast(CPU, precision):
            output = training.network(sample.image[None, None])
        loss = distance_loss(output.float()[0, 0], sample.distance)
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        last = precision == torch.float32
        norm = nn.utils.clip_grad_norm_(training.network.parameters(), config.clip, error_if_nonfinite=last)
        if bool(torch.isfinite(norm)):
            break
    training.optimiser.step()
    update_average(training.averaged, training.network, config.average, training.step)
    return float(loss.detach())


def distance_loss(output: Tensor, distance: Tensor) -> Tensor:
    """Mean absolute error of the distance, near the surface five times."""
    wanted = distance.clamp(-FARTHEST_MM, FARTHEST_MM) / UNIT_MM
    weight = 1 + 4 * (distance.abs() < NEAR_MM)
    # Where both lie beyond the farthest distance there is nothing to learn.
    found = torch.where(distance.abs() >= FARTHEST_MM, output.clamp(-1.5, 1.5), output)
    loss: Tensor = (weight * (found - wanted).abs()).sum() / weight.sum()
    return loss


@torch.no_grad()
def validate(network: nn.Module, heads: Sequence[Head], config: Config, count: int = 6) -> dict[str, float]:
    """Dice, sensitivity and share of tumour found, in fixed images of heads that were not trained on."""
    network.eval()
    scores: dict[str, list[float]] = {"Dice": [], "sensitivity": [], "tumour": []}
    for number in range(count):
        sample = draw(heads[number % len(heads)], config.volume, 7_000_000_007 + number)
        with autocast(CPU):
            output = network(sample.image[None, None]).float()
        fine = [
            F.interpolate(each, scale_factor=2, mode="trilinear")[0, 0] < 0
            for each in (output, sample.distance[None, None])
        ]
        both = float((fine[0] & fine[1]).sum())
        scores["Dice"].append(2 * both / max(1.0, float(fine[0].sum() + fine[1].sum())))
        scores["sensitivity"].append(both / max(1.0, float(fine[1].sum())))
        if bool(sample.tumour.any()):
            scores["tumour"].append(float(fine[0][sample.tumour].float().mean()))
    network.train()
    return {name: round(float(np.mean(values)), 4) for name, values in scores.items() if values}
