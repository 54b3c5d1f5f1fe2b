"""Losses of the light trainer: Dice and cross-entropy of the regions, cross-entropy of the uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.models.masked import get_cancer_mask


def region_loss(logits: Tensor, regions: Tensor, false_negative_weight: float = 0.5) -> Tensor:
    """Binary cross-entropy plus soft Dice loss over WT, TC, ET, as nnU-Net's region-based training.

    Parameters
    ----------
    logits : Tensor, shape (batch, 3, x, y, z)
        Region logits.
    regions : Tensor of float, shape (batch, 3, x, y, z)
        Reference regions, 0 or 1.
    false_negative_weight : float
        Weight of what is missed, 0..1; what is false weighs the rest. With one half it is the Dice loss, above it the
        Tversky loss that draws regions larger.

    Returns
    -------
    Tensor
        Scalar; the Dice part is smoothed by half a voxel, so that an empty region asks for an empty answer.

    References
    ----------
    Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", MLMI 2017:
    overlap / (overlap + alpha * false + beta * missed), where beta is ``false_negative_weight`` and alpha 1 - beta.
    """
    logits, regions = logits.float(), regions.float()
    crossentropy = F.binary_cross_entropy_with_logits(logits, regions)
    probabilities = torch.sigmoid(logits)
    axes = (2, 3, 4)
    overlap = (probabilities * regions).sum(axes)
    total = (1 - false_negative_weight) * probabilities.sum(axes) + false_negative_weight * regions.sum(axes)
    tversky = (overlap + 0.5) / (total + 0.5)
    return crossentropy + (1 - tversky).mean()


def failure_loss(
    uncertainty: Tensor,
    logits: Tensor,
    regions: Tensor,
    dilation: int = 3,
    outside: float = 0.05,
    error: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the uncertainty channel against the network's own whole-tumour failure of this very pass.

    Parameters
    ----------
    uncertainty : Tensor, shape (batch, 1, x, y, z)
        Uncertainty logit.
    logits : Tensor, shape (batch, 3, x, y, z)
        Region logits of the same pass; no gradient flows into them from here.
    regions : Tensor of float, shape (batch, 3, x, y, z)
        Reference regions.
    dilation : int
        Voxels by which the union of prediction and reference grows to the zone where the loss counts fully.
    outside : float
        Weight elsewhere, so that a false alarm far away is unlearnt too.
    error : Tensor of float, shape (batch, 1, x, y, z), optional
        Probability of failure to learn instead of the failure of this pass, 0..1.

    Returns
    -------
    Tensor
        Scalar mean over the weights. The minimiser is the probability of failure given the features, which is what
        ``unc_output`` is read as; on phantoms never seen before it is an out-of-sample probability.
    """
    predicted = logits[:, :1].detach() > 0
    reference = regions[:, :1] > 0.5
    failure = (predicted ^ reference).float() if error is None else error.float()
    near = get_cancer_mask((predicted | reference).float(), dilation)
    weights = torch.where(near, 1.0, outside)
    values = F.binary_cross_entropy_with_logits(uncertainty.float(), failure, reduction="none")
    return (values * weights).sum() / weights.sum()
