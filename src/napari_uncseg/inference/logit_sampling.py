"""Networks that answer with a Gaussian per logit: its mean, and the logarithm of its variance."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_uncseg.errors import ModelError
from napari_uncseg.models.model import Model

GAUSSIAN_HEAD = "regions_gaussian"
"""Name of the head whose channels are three means, three log-variances (WT, TC, ET each) and perhaps uncertainty."""


def check_gaussian(model: Model) -> None:
    """Refuse, with a ModelError, a model without log-variances."""
    if str(model.head) != GAUSSIAN_HEAD:
        raise ModelError(
            f"Model {model.name} has no log-variance channels (a head {GAUSSIAN_HEAD}), so there is nothing for "
            "logit_sampling to sample; choose other members, such as tta:8."
        )


def sample_probabilities(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Probabilities of one sample of the logits, ``sigmoid(mu + sigma eps)``.

    Parameters
    ----------
    logits : Tensor of float32, shape (6, ...)
        Means of WT, TC, ET, then ln of their variances.
    generator : torch.Generator
        On the processor.

    Returns
    -------
    Tensor of float32, shape (3, ...)
        In 0..1.

    References
    ----------
    Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer vision?", NeurIPS 2017;
    Nair et al., "Exploring uncertainty measures in deep networks for multiple sclerosis lesion detection and
    segmentation", Medical Image Analysis 59 (2020).
    """
    mean, log_variance = logits[:3], logits[3:]
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    return torch.sigmoid(mean + torch.exp(log_variance / 2) * noise)
