"""What the output channels of a network mean: three ways to hold the regions, plus the uncertainty channel."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor


class Head(StrEnum):
    """Meaning of the segmentation channels.

    ``regions`` holds three sigmoid logits (WT, TC, ET), as nnU-Net's region-based training; ``labels4`` a softmax
    over background, NCR, ED and ET; ``labels3_implicit_bg`` a softmax over NCR, ED and ET with the background logit
    fixed at 0.
    """

    REGIONS = "regions"
    LABELS4 = "labels4"
    LABELS3_IMPLICIT_BG = "labels3_implicit_bg"

    @property
    def channels(self) -> int:
        """Number of segmentation channels."""
        return 4 if self is Head.LABELS4 else 3


def split(output: Tensor, head: Head | str) -> tuple[Tensor, Tensor | None]:
    """Segmentation logits and the uncertainty logit of a network's output.

    Parameters
    ----------
    output : Tensor, shape (batch, channels, x, y, z)
        Raw output.
    head : Head
        How many of the channels are segmentation.

    Returns
    -------
    segmentation : Tensor, shape (batch, head.channels, x, y, z)
    uncertainty : Tensor, shape (batch, 1, x, y, z), or None
        None where the network has no such channel.

    Raises
    ------
    ValueError
        When the channels are neither ``head.channels`` nor one more.
    """
    head = Head(head)
    extra = output.shape[1] - head.channels
    if extra not in (0, 1):
        raise ValueError(
            f"{output.shape[1]} output channels do not fit head {head}: expected {head.channels} or one more"
        )
    return output[:, : head.channels], output[:, head.channels :] if extra else None


def region_probabilities(segmentation: Tensor, head: Head | str) -> Tensor:
    """Probabilities of the nested regions.

    Parameters
    ----------
    segmentation : Tensor, shape (batch, head.channels, x, y, z)
        Segmentation logits.
    head : Head
        Their meaning.

    Returns
    -------
    Tensor of float32, shape (batch, 3, x, y, z)
        WT, TC, ET in 0..1.
    """
    head = Head(head)
    logits = segmentation.float()
    if head is Head.REGIONS:
        return torch.sigmoid(logits)
    if head is Head.LABELS3_IMPLICIT_BG:
        logits = torch.cat((torch.zeros_like(logits[:, :1]), logits), 1)
    _, ncr, ed, et = torch.softmax(logits, 1).unbind(1)
    return torch.stack((ncr + ed + et, ncr + et, et), 1).clamp_(0, 1)
