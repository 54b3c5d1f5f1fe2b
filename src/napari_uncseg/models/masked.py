"""The wrapper of *Uncertainty-Aware nnU-Net*: uncertainty is reported only in and around the predicted tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.arrays import Mask
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.models.heads import Head, region_probabilities, split


def get_cancer_mask(
    whole_tumour: Tensor,
    dilation: float | tuple[int, int, int] = 5,
    threshold: float = 0.5,
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Predicted whole tumour and what lies round it.

    Parameters
    ----------
    whole_tumour : Tensor, shape (batch, 1, x, y, z)
        Whole-tumour probability in 0..1.
    dilation : float or tuple of int
        Half-width of a box in voxels along each axis, or with ``spacing`` the radius of a ball in mm; 0 leaves the mask
        as predicted.
    threshold : float
        The tumour holds the voxels strictly above it.
    spacing : sequence of float, optional
        Voxel size in mm: then the tumour grows by a ball, on the processor.

    Returns
    -------
    Tensor of bool, shape (batch, 1, x, y, z)
        Never has a gradient: the mask says where to look, it is not learnt.
    """
    tumour = whole_tumour.detach() > threshold
    if spacing is not None:
        assert not isinstance(dilation, tuple)
        grown = [dilate_mm(each[0].cpu().numpy(), spacing, dilation) for each in tumour]
        return torch.from_numpy(np.stack(grown))[:, None].to(whole_tumour.device)
    mask = tumour.float()
    widths = dilation if isinstance(dilation, tuple) else (int(dilation),) * 3
    for axis, width in enumerate(widths):
        if width > 0:
            kernel, padding = [1, 1, 1], [0, 0, 0]
            kernel[axis], padding[axis] = 2 * width + 1, width
            mask = F.max_pool3d(mask, tuple(kernel), 1, tuple(padding))
    return mask > 0


@dataclass(frozen=True)
class CancerMask:
    """The rule by which ``unc_output`` is masked on the grid of a study; data that a model's plans may hold.

    Parameters
    ----------
    dilation_mm : float
        How far the mask reaches beyond the predicted whole tumour, at least 0.

    Raises
    ------
    ValueError
        When it reaches less far.
    """

    dilation_mm: float = 5.0

    def __post_init__(self) -> None:
        if not self.dilation_mm >= 0:
            raise ValueError(f"dilation_mm is {self.dilation_mm}; take at least 0")

    def of(self, whole_tumour: Mask, spacing: Sequence[float]) -> Mask:
        """Mask of a predicted whole tumour ``(x, y, z)`` on a grid with voxels of ``spacing`` mm."""
        tumour = torch.from_numpy(np.ascontiguousarray(whole_tumour))[None, None]
        mask: Mask = get_cancer_mask(tumour, self.dilation_mm, 0, spacing)[0, 0].numpy()
        return mask


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
