"""The loss of the regions, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uncseg_training.train.losses import region_loss


def row(*probabilities: float) -> Tensor:
    """Logits of the three regions, each the same row of voxels."""
    logits = torch.tensor([math.log(value / (1 - value)) for value in probabilities])
    return logits.reshape(1, 1, 1, 1, -1).repeat(1, 3, 1, 1, 1)


def truth(*voxels: float) -> Tensor:
    return torch.tensor(voxels).reshape(1, 1, 1, 1, -1).repeat(1, 3, 1, 1, 1)


def crossentropy(*right: float) -> float:
    """Of the probabilities given to what is true."""
    return -sum(map(math.log, right)) / len(right)


def test_dice_loss_by_hand() -> None:
    # overlap 0.9 + 0.5, found 0.9 + 0.2 + 0.5, true 1 + 1 voxels
    loss = region_loss(row(0.9, 0.2, 0.5), truth(1, 0, 1))
    dice = (2 * (0.9 + 0.5) + 1) / (0.9 + 0.2 + 0.5 + 2 + 1)
    assert float(loss) == pytest.approx(crossentropy(0.9, 0.8, 0.5) + 1 - dice, abs=1e-6)


def test_tversky_loss_by_hand() -> None:
    loss = region_loss(row(0.9, 0.2, 0.5), truth(1, 0, 1), false_negative_weight=0.7)
    overlap, false, missed = 1.4, 0.2, 0.1 + 0.5
    tversky = (overlap + 0.5) / (overlap + 0.3 * false + 0.7 * missed + 0.5)
    assert float(loss) == pytest.approx(crossentropy(0.9, 0.8, 0.5) + 1 - tversky, abs=1e-6)


def test_the_more_misses_weigh_the_stronger_a_missed_voxel_pulls() -> None:
    def pull(misses: float) -> Tensor:
        logits = row(0.9, 0.3, 0.3).requires_grad_()
        (gradient,) = torch.autograd.grad(region_loss(logits, truth(1, 1, 0), misses), logits)
        return gradient[0, 0, 0, 0]

    even, weighted = pull(0.5), pull(0.8)
    assert weighted[1] < even[1] < 0  # the missed voxel is drawn up
    assert 0 < weighted[2] < even[2]  # the false one is pushed down less


def test_an_empty_region_asks_for_an_empty_answer() -> None:
    for misses in (0.5, 0.7):
        silent, loud = (region_loss(row(p, p, p), truth(0, 0, 0), misses) for p in (0.01, 0.5))
        assert float(silent) < 0.05
        assert float(loud) > 1
