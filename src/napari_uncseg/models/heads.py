"""What the output channels of a network mean: ways to hold the regions, and what it says of its own errors."""

from __future__ import annotations

from enum import StrEnum
from typing import cast

import torch
from torch import Tensor, nn


class Head(StrEnum):
    """Meaning of the output channels.

    ``regions`` holds three sigmoid logits (WT, TC, ET), as nnU-Net's region-based training; ``regions_gaussian`` the
    means of three logits and then the logarithms of their variances; ``regions_auxiliary`` three sigmoid logits and
    then, of a branch of its own, three more: the error of each region; ``labels4`` a softmax over background, NCR, ED
    and ET; ``labels3_implicit_bg`` a softmax over NCR, ED and ET with the background logit fixed at 0.
    """

    REGIONS = "regions"
    REGIONS_GAUSSIAN = "regions_gaussian"
    REGIONS_AUXILIARY = "regions_auxiliary"
    LABELS4 = "labels4"
    LABELS3_IMPLICIT_BG = "labels3_implicit_bg"

    @property
    def channels(self) -> int:
        """Number of segmentation channels."""
        return {Head.LABELS4: 4, Head.REGIONS_GAUSSIAN: 6}.get(self, 3)

    @property
    def uncertainties(self) -> tuple[int, ...]:
        """How many uncertainty channels there may be: none, one for WT, or one for each region."""
        return (3,) if self is Head.REGIONS_AUXILIARY else (0, 1)


def split(output: Tensor, head: Head | str) -> tuple[Tensor, Tensor | None]:
    """Segmentation logits and the uncertainty logits of a network's output.

    Parameters
    ----------
    output : Tensor, shape (batch, channels, x, y, z)
        Raw output.
    head : Head
        How many of the channels are segmentation.

    Returns
    -------
    segmentation : Tensor, shape (batch, head.channels, x, y, z)
        Of ``regions_gaussian`` the means and the log-variances.
    uncertainty : Tensor, shape (batch, 1 or 3, x, y, z), or None
        Of WT, or of WT, TC and ET; None where the network has no such channel.

    Raises
    ------
    ValueError
        When the channels are not ``head.channels`` and as many more as the head may have.
    """
    head = Head(head)
    extra = output.shape[1] - head.channels
    if extra not in head.uncertainties:
        more = "or one more" if head.uncertainties == (0, 1) else f"and {head.uncertainties[0]} more"
        raise ValueError(f"{output.shape[1]} output channels do not fit head {head}: expected {head.channels} {more}")
    return output[:, : head.channels], output[:, head.channels :] if extra else None


def region_probabilities(segmentation: Tensor, head: Head | str) -> Tensor:
    """Probabilities of the nested regions.

    Parameters
    ----------
    segmentation : Tensor, shape (batch, head.channels, x, y, z)
        Segmentation logits; of ``regions_gaussian`` the means alone count.
    head : Head
        Their meaning.

    Returns
    -------
    Tensor of float32, shape (batch, 3, x, y, z)
        WT, TC, ET in 0..1.
    """
    head = Head(head)
    logits = segmentation.float()
    if head in (Head.REGIONS, Head.REGIONS_AUXILIARY, Head.REGIONS_GAUSSIAN):
        return torch.sigmoid(logits[:, :3])
    if head is Head.LABELS3_IMPLICIT_BG:
        logits = torch.cat((torch.zeros_like(logits[:, :1]), logits), 1)
    _, ncr, ed, et = torch.softmax(logits, 1).unbind(1)
    return torch.stack((ncr + ed + et, ncr + et, et), 1).clamp_(0, 1)


class ErrorBranch(nn.Module):
    """Logits of the error of each region, from the features that the segmentation is made of.

    Parameters
    ----------
    features : int
        Channels of the decoder's finest stage.
    errors : int
        Channels of the answer.

    Notes
    -----
    Its gradient ends at the features: the segmentation learns nothing from the branch, which looks at it from outside,
    as an auxiliary network does.

    References
    ----------
    Jungo, Balsiger and Reyes, "Analyzing the quality and challenges of uncertainty estimations for brain tumor
    segmentation", Frontiers in Neuroscience 14 (2020): auxiliary networks that learn segmentation errors.
    """

    def __init__(self, features: int, errors: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(features, features, 1),
            nn.LeakyReLU(inplace=True),
            nn.Conv3d(features, features, 1),
            nn.LeakyReLU(inplace=True),
        )
        self.output = nn.Conv3d(features, errors, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(batch, features, x, y, z)`` to logits ``(batch, errors, x, y, z)``."""
        return cast(Tensor, self.output(self.layers(x.detach())))
