"""Losses of the heads that say more than a probability: Gaussian logits, and the error of each region."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from uncseg_training.train.losses import failure_loss

LOG_VARIANCE = 10.0
"""Log-variances beyond this, either way, are taken for it: a step too far must not make the loss overflow."""


def gaussian_region_loss(mean: Tensor, log_variance: Tensor, regions: Tensor, samples: int = 10) -> Tensor:
    """Cross-entropy of sampled logits, and soft Dice of their mean probability, over WT, TC, ET.

    Parameters
    ----------
    mean, log_variance : Tensor, shape (batch, 3, x, y, z)
        Mean and ln of the variance of each logit.
    regions : Tensor of float, shape (batch, 3, x, y, z)
        Reference regions, 0 or 1.
    samples : int
        Samples of the logits, at least 1; drawn with torch's own generator of the device.

    Returns
    -------
    Tensor
        Scalar, float32: the mean over voxels and regions of ``-ln (1/T sum_t p(y | z_t))``, where ``z_t = mean + sigma
        eps_t``, plus 1 - Dice of :func:`~uncseg_training.train.losses.region_loss`. With sigma 0 it is that loss.

    Raises
    ------
    ValueError
        When there are no samples.

    References
    ----------
    Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer vision?", NeurIPS 2017,
    equation 12; Nair et al., "Exploring uncertainty measures in deep networks for multiple sclerosis lesion detection
    and segmentation", Medical Image Analysis 59 (2020).
    """
    if samples < 1:
        raise ValueError(f"{samples} samples of the logits; take at least 1.")
    mean, regions = mean.float(), regions.float()
    sigma = torch.exp(log_variance.float().clamp(-LOG_VARIANCE, LOG_VARIANCE) / 2)
    likelihood: Tensor | None = None
    probability = torch.zeros_like(mean)
    for _ in range(samples):
        logits = mean + sigma * torch.randn_like(mean)
        # ln p(y | z) of a Bernoulli variable; the sum over samples is kept as its logarithm.
        log_likelihood = -F.binary_cross_entropy_with_logits(logits, regions, reduction="none")
        likelihood = log_likelihood if likelihood is None else torch.logaddexp(likelihood, log_likelihood)
        probability = probability + torch.sigmoid(logits) / samples
    assert likelihood is not None
    axes = (2, 3, 4)
    overlap = (probability * regions).sum(axes)
    total = probability.sum(axes) + regions.sum(axes)
    dice = (2 * overlap + 1) / (total + 1)
    return math.log(samples) - likelihood.mean() + (1 - dice).mean()


def auxiliary_loss(errors: Tensor, logits: Tensor, regions: Tensor) -> Tensor:
    """Cross-entropy of the error channels against where each region of this very pass is wrong.

    Parameters
    ----------
    errors : Tensor, shape (batch, 3, x, y, z)
        Error logits of WT, TC, ET.
    logits : Tensor, shape (batch, 3, x, y, z)
        Region logits of the same pass; no gradient flows into them from here.
    regions : Tensor of float, shape (batch, 3, x, y, z)
        Reference regions.

    Returns
    -------
    Tensor
        Scalar: the mean over the regions of :func:`~uncseg_training.train.losses.failure_loss`.

    References
    ----------
    Jungo, Balsiger and Reyes, Frontiers in Neuroscience 14 (2020); here an error counts for each region by itself, and
    more near the tumour than far from it.
    """
    each = [
        failure_loss(errors[:, region : region + 1], logits[:, region : region + 1], regions[:, region : region + 1])
        for region in range(regions.shape[1])
    ]
    return torch.stack(each).mean()
