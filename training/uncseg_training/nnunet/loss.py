"""The terms that nnU-Net's trainer adds to its own loss, and the counts behind its pseudo-Dice."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_uncseg.models.heads import Head
from uncseg_training.paper1.paper_losses import PaperLoss, l_unc, loss_mask, rmsd, weighted_pearson

VISITED = 0.99
"""After a linear warp, a voxel has a target where all it was made of had one."""


def split_target(target: Tensor) -> tuple[Tensor, Tensor]:
    """Error ``(batch, 1, x, y, z)`` in 0..1 and where it is known, of a batch's ``regression_target``."""
    return target[:, :1].clamp(0, 1), target[:, 1:] > VISITED


def uncertainty_terms(
    loss: PaperLoss, uncertainty: Tensor, logits: Tensor, regions: Tensor, target: Tensor, head: Head
) -> dict[str, Tensor]:
    """Compare the uncertainty with the error map, as the paper does; the segmentation's loss stays nnU-Net's own.

    Parameters
    ----------
    loss : PaperLoss
        Weights, mask and reduction.
    uncertainty : Tensor, shape (batch, 1, x, y, z)
        Logit.
    logits : Tensor, shape (batch, head.channels, x, y, z)
        Segmentation logits in the order of the head; no gradient flows into them.
    regions : Tensor, shape (batch, 3, x, y, z)
        Reference WT, TC, ET.
    target : Tensor, shape (batch, 2, x, y, z)
        ``regression_target`` of the batch.
    head : Head
        Meaning of the logits.

    Returns
    -------
    dict of str to Tensor
        ``unc``, ``rmsd``, ``correlation`` (one minus the mean of the samples that have one, 0 without any) and their
        ``weighted`` sum; all 0 where no voxel was visited yet.
    """
    error, visited = split_target(target)
    weights = loss_mask(loss.mask, logits, regions, head, loss.dilation) * visited
    u = torch.sigmoid(uncertainty)
    correlation, valid = weighted_pearson(u, error, weights, loss.least_weight)
    unc, distance = l_unc(u, error, weights, loss.reduction), rmsd(u, error, weights).mean()
    missing = torch.where(valid, 1 - correlation, 0.0).sum() / valid.sum().clamp(min=1)
    weighted = loss.unc * unc + loss.rmsd * distance + loss.correlation * missing
    return {"unc": unc, "rmsd": distance, "correlation": missing, "weighted": weighted}


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
