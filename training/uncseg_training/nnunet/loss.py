"""The target of the uncertainty channel in a batch of nnU-Net, and the counts behind its pseudo-Dice."""

from __future__ import annotations

import torch
from torch import Tensor

VISITED = 0.99
"""After a linear warp, a voxel has a target where all it was made of had one."""


def split_target(target: Tensor) -> tuple[Tensor, Tensor]:
    """Error ``(batch, 1, x, y, z)`` in 0..1 and where it is known, of a batch's ``regression_target``."""
    return target[:, :1].clamp(0, 1), target[:, 1:] > VISITED


def count_voxels(segmentation: Tensor, target: Tensor, *, regions: bool) -> dict[str, Tensor]:
    """True and false positives and false negatives per region or foreground label.

    Parameters
    ----------
    segmentation : Tensor, shape (batch, heads, x, y, z)
        Logits of the segmentation alone.
    target : Tensor, shape (batch, regions or 1, x, y, z)
        Regions, or a label map.
    regions : bool
        Which of the two.

    Returns
    -------
    dict of str to Tensor
        ``tp_hard``, ``fp_hard`` and ``fn_hard`` by nnU-Net's names, each of shape (classes,).

    Raises
    ------
    ValueError
        When the channels do not fit; nnU-Net's own counting would take regions for a label map, without a word, if a
        channel were too many.
    """
    if regions:
        predicted, reference = segmentation > 0, target > 0
    else:
        numbers = torch.arange(1, segmentation.shape[1], device=target.device)[None, :, None, None, None]
        predicted, reference = segmentation.argmax(1, keepdim=True) == numbers, target == numbers
    if predicted.shape != reference.shape or (not regions and target.shape[1] != 1):
        raise ValueError(f"{tuple(segmentation.shape)} outputs do not fit references of {tuple(target.shape)}.")
    axes = (0, 2, 3, 4)
    return {
        "tp_hard": (predicted & reference).sum(axes),
        "fp_hard": (predicted & ~reference).sum(axes),
        "fn_hard": (~predicted & reference).sum(axes),
    }
