"""The learning rate and the running average of the weights, step by step."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from uncseg_training.train.config import Config


def cycles(config: Config) -> list[int]:
    """Steps at whose end the learning rate is 0 and a snapshot is kept; the last is the last of all."""
    return [config.steps - config.cycle_steps * later for later in reversed(range(config.snapshots))]


def learning_rate(config: Config, step: int) -> float:
    """Warm-up, plateau, linear decay to 0, then the cycles of the snapshots."""
    ends = cycles(config)
    if step < ends[0]:
        return up_and_down(config.learning_rate, step, config.warmup, ends[0], config.decay * config.steps)
    before, end = next(((a, b) for a, b in pairwise(ends) if step < b), (ends[-1] - 1, ends[-1]))
    return config.learning_rate * config.restart * (end - step) / (end - before)


def up_and_down(rate: float, step: int, warmup: int, end: int, decay: float) -> float:
    """A learning rate after a warm-up, and falling to 0 over the last ``decay`` steps before an end."""
    return rate * min(1.0, (step + 1) / max(1, warmup)) * min(1.0, (end - step) / max(1.0, decay))


def update_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Take the weights of a step into their running average, which forgets faster in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
