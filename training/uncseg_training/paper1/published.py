"""What public code of the paper's function names does, to see which numbers come of it.

Everything in this file is what :mod:`uncseg_training.paper1.error_map` is written to avoid: a map belongs to a place of
the batch, whoever passes through it, and lies on no grid; an error counts inside of the reference alone; and maps are
squeezed about one half before they are compared. Whether the paper's own runs did this is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.paper1.paper_losses import Mask, PaperLoss, l_unc, loss_mask, rmsd, weighted_pearson

SLOWEST, LEAST = 1 / 30, 1e-3
"""Weight of a visit in the moving average, at the most; and the least value of a map before it is squeezed."""

NAMES = ("unc_output", "variance_stable", "var1shot")
"""What is compared with the error map."""


class SlotMaps(NamedTuple):
    """Squeezed maps of one place of a batch ``(1, 1, x, y, z)``, after a visit."""

    error: Tensor
    variance_stable: Tensor
    var1shot: Tensor
    mask: Tensor

    @torch.no_grad()
    def numbers(self, uncertainty: Tensor) -> dict[str, float]:
        """Correlation and RMSD with the error map of the channel's logits ``(1, 1, x, y, z)`` and of both variances."""
        found = {}
        shown = (torch.sigmoid(uncertainty), self.variance_stable, self.var1shot)
        for name, values, ranked in zip(NAMES, shown, (uncertainty, *shown[1:]), strict=True):
            found[f"rmsd {name}"] = float(rmsd(values, self.error, self.mask))
            # Squeezed maps hardly vary: the usual least variance would leave every correlation out.
            r, valid = weighted_pearson(ranked, self.error, self.mask, least_variance=1e-12, epsilon=1e-12)
            found[f"correlation {name}"] = float(r) if bool(valid) else float("nan")
        return found


def visit(state: MutableMapping[str, Tensor], slot: str, logits: Tensor, regions: Tensor, mask: Mask | str) -> SlotMaps:
    """One visit of a place of the batch.

    Parameters
    ----------
    state : mapping of str to Tensor
        Moving averages and visits of every place; changed.
    slot : str
        Which place.
    logits, regions : Tensor, shape (1, 3, x, y, z)
        What the network says, and the reference.
    mask : Mask
        Where maps are compared.

    Notes
    -----
    A failure is pooled over 3×3×3 voxels and blended with weight ``min(1/n, 1/30)``; the first visit counts fully, so
    that it keeps 0.37 of the map after thirty. The variance is that across the channels' probabilities.
    """
    with torch.no_grad():
        probabilities = torch.sigmoid(logits.detach().float())
        reference = regions[:, :1] > 0.5
        failure = ((probabilities[:, :1] > 0.5) != reference) & reference
        now = torch.cat([failure.float(), probabilities.var(1, keepdim=True)], 1)
        now = F.avg_pool3d(now, 3, stride=1, padding=1)
        before, visits = state.get(slot), int(state.get(f"{slot} visits", torch.zeros(()))) + 1
        mean = now.clone()
        if before is not None and before.shape == now.shape:
            weight = min(1 / visits, SLOWEST)
            mean = (1 - weight) * before.to(now.device) + weight * now
        state[slot], state[f"{slot} visits"] = mean, torch.tensor(visits)
        weights = loss_mask(mask, logits, regions, "regions")
        error, stable, one_shot = (_squeeze(each, weights) for each in (mean[:, :1], mean[:, 1:], now[:, 1:]))
        return SlotMaps(error, stable, one_shot, weights)


def published_loss(uncertainty: Tensor, maps: SlotMaps, weights: PaperLoss) -> tuple[Tensor, Mapping[str, float]]:
    """The three terms of the channel of one sample, the correlation of raw logits; and the paper's six numbers."""
    u = torch.sigmoid(uncertainty.float())
    distance = l_unc(u, maps.error, maps.mask, "all")
    deviation = rmsd(u, maps.error, maps.mask).mean()
    r, valid = weighted_pearson(uncertainty, maps.error, maps.mask, weights.least_weight, 1e-12, 1e-12)
    missing = torch.where(valid, 1 - r, 0.0).mean()
    total = weights.unc * distance + weights.rmsd * deviation + weights.correlation * missing
    return total, maps.numbers(uncertainty.detach().float())


def _squeeze(values: Tensor, weights: Tensor) -> Tensor:
    floored = values.clamp(min=LEAST)
    mean = (weights * floored).sum() / weights.sum().clamp(min=1)
    return torch.sigmoid(floored - mean)
