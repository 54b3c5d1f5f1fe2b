"""The wrapper of *Uncertainty-Aware nnU-Net*: uncertainty is reported only in and around the predicted tumour."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.models.heads import Head, region_probabilities, split


def get_cancer_mask(whole_tumour: Tensor, dilation: int | tuple[int, int, int] = 5, threshold: float = 0.5) -> Tensor:
    """Predicted whole tumour, dilated by a box.

    Parameters
    ----------
    whole_tumour : Tensor, shape (batch, 1, x, y, z)
        Whole-tumour probability in 0..1.
    dilation : int or tuple of int
        Half-width of the box in voxels along each axis; 0 leaves the mask as predicted.
    threshold : float
        The tumour holds the voxels strictly above it.

    Returns
    -------
    Tensor of bool, shape (batch, 1, x, y, z)
        Never has a gradient: the mask says where to look, it is not learnt.
    """
    mask = (whole_tumour.detach() > threshold).float()
    widths = (dilation,) * 3 if isinstance(dilation, int) else dilation
    for axis, width in enumerate(widths):
        if width > 0:
            kernel, padding = [1, 1, 1], [0, 0, 0]
            kernel[axis], padding[axis] = 2 * width + 1, width
            mask = F.max_pool3d(mask, tuple(kernel), 1, tuple(padding))
    return mask > 0


class MaskedUncertaintyNetwork(nn.Module):
    """Network whose uncertainty channel is zero outside the predicted tumour.

    Parameters
    ----------
    network : nn.Module
        Gives ``(batch, head.channels + 1, x, y, z)`` logits.
    head : Head
        Meaning of the segmentation channels.
    dilation : int or tuple of int
        Half-width in voxels by which the predicted whole tumour grows, see :func:`get_cancer_mask`.

    Raises
    ------
    ValueError
        On forward, when the network has no uncertainty channel.

    Notes
    -----
    The mask is made of the prediction alone; no reference is ever an input, so that a network behaves in use as it
    did when it was evaluated. In a sliding window the mask of a tile would depend on the tile: there the predictor
    masks once, on the whole volume, and this wrapper serves whole volumes and training.
    """

    def __init__(
        self, network: nn.Module, head: Head | str = Head.REGIONS, dilation: int | tuple[int, int, int] = 5
    ) -> None:
        super().__init__()
        self.network = network
        self.head = Head(head)
        self.dilation = dilation
        self.masking = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segment and report uncertainty.

        Parameters
        ----------
        x : Tensor, shape (batch, modalities, x, y, z)
            Preprocessed images.

        Returns
        -------
        segmentation : Tensor, shape (batch, head.channels, x, y, z)
            Logits, untouched by the mask.
        uncertainty : Tensor of float32, shape (batch, 1, x, y, z)
            ``unc_output`` in 0..1; 0 outside the mask unless ``masking`` is off.
        """
        segmentation, logit = split(cast(Tensor, self.network(x)), self.head)
        if logit is None:
            raise ValueError("the network has no uncertainty channel")
        uncertainty = torch.sigmoid(logit.float())
        if self.masking:
            mask = get_cancer_mask(region_probabilities(segmentation, self.head)[:, :1], self.dilation)
            uncertainty = uncertainty * mask
        return segmentation, uncertainty
