"""The composite loss of *Uncertainty-Aware nnU-Net*: segmentation, and an uncertainty that imitates the error map.

    l = l_seg + 0.4 l_unc + 0.5 mean(rmsd) + 0.4 (1 - mean(r))

All terms are taken of ``u = sigmoid(z)``, in float32 whatever autocast says: half precision overflows in the sums of a
patch. The target is data, and the mask says where to look; no gradient flows into either. Every term is finite, with a
finite gradient, for an empty mask, a constant map and equal maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_uncseg.labels import REGION_LABELS, REGIONS, Label
from napari_uncseg.models.heads import Head, region_probabilities, split
from napari_uncseg.models.masked import get_cancer_mask
from uncseg_training.train.losses import region_loss

Reduction = Literal["all", "mask"]

HEADS = (Head.REGIONS, Head.LABELS4, Head.LABELS3_IMPLICIT_BG)
"""Heads that the paper's loss is defined for."""

_AXES = (1, 2, 3, 4)


class Mask(StrEnum):
    """Where the uncertainty is compared with the error.

    ``gt``: the reference whole tumour (errors in it are false negatives only); ``pred``: the predicted one (false
    positives only); ``union_dilated``: both, dilated, so that every error near a tumour counts; ``soft``: the
    probability of the whole tumour as a weight.
    """

    GT = "gt"
    PRED = "pred"
    UNION_DILATED = "union_dilated"
    SOFT = "soft"


@dataclass(frozen=True)
class PaperLoss:
    """All that decides the loss.

    Parameters
    ----------
    unc, rmsd, correlation : float
        Weights of the three terms beside the segmentation's.
    mask : Mask
        Where uncertainty and error are compared.
    dilation : int
        Half-width in voxels of the box by which ``union_dilated`` grows.
    reduction : {"all", "mask"}
        What ``l_unc`` is divided by; see :func:`l_unc`.
    least_weight : float
        A sample whose mask weighs less has no correlation term.
    """

    unc: float = 0.4
    rmsd: float = 0.5
    correlation: float = 0.4
    mask: Mask = Mask.UNION_DILATED
    dilation: int = 5
    reduction: Reduction = "mask"
    least_weight: float = 100.0

    def __call__(
        self,
        output: Tensor,
        regions: Tensor,
        error: Tensor,
        visited: Tensor | None = None,
        head: Head | str = Head.REGIONS,
    ) -> Terms:
        """Loss of a batch.

        Parameters
        ----------
        output : Tensor, shape (batch, head.channels + 1, x, y, z)
            The network's raw output.
        regions : Tensor, shape (batch, 3, x, y, z)
            Reference WT, TC, ET, 0 or 1; see :func:`regions_of`.
        error : Tensor, shape (batch, 1, x, y, z)
            Error map at the patch, 0..1, finite everywhere.
        visited : Tensor of bool, shape (batch, 1, x, y, z), optional
            Where there is a map; everywhere when left out.
        head : Head
            Meaning of the segmentation channels.

        Raises
        ------
        ValueError
            When the network has no uncertainty channel, or a head that is none of :data:`HEADS`.
        """
        if Head(head) not in HEADS:
            raise ValueError(f"The paper's loss has no meaning for the head {head}; take one of {', '.join(HEADS)}.")
        with torch.autocast(output.device.type, enabled=False):
            logits, uncertainty = split(output.float(), head)
            if uncertainty is None:
                raise ValueError("The network has no uncertainty channel; build it with one output more.")
            found = self.compare(torch.sigmoid(uncertainty), logits, regions, error, visited, head)
            return found.with_segmentation(segmentation_loss(logits, regions, head))

    def compare(
        self,
        u: Tensor,
        logits: Tensor,
        regions: Tensor,
        error: Tensor,
        visited: Tensor | None = None,
        head: Head | str = Head.REGIONS,
    ) -> Terms:
        """Compare the uncertainty alone with the error map; call it outside of autocast.

        Parameters
        ----------
        u : Tensor of float32, shape (batch, 1, x, y, z)
            Uncertainty in 0..1, as :class:`napari_uncseg.models.masked.MaskedUncertaintyNetwork` gives it.
        logits : Tensor, shape (batch, head.channels, x, y, z)
            Of the segmentation; no gradient flows into them.
        regions, error, visited, head
            As for :meth:`__call__`.

        Returns
        -------
        Terms
            With a segmentation of 0; all are 0 where no voxel was visited yet.
        """
        e = error.detach().float()
        weights = loss_mask(self.mask, logits, regions, head, self.dilation)
        if visited is not None:
            weights = weights * visited
        unc, distance = l_unc(u, e, weights, self.reduction), rmsd(u, e, weights).mean()
        r, valid = weighted_pearson(u, e, weights, self.least_weight)
        # A sample without a correlation is left out; counting it as r = 0 would punish the network for it.
        missing = torch.where(valid, 1 - r, 0.0).sum() / valid.sum().clamp(min=1)
        total = self.unc * unc + self.rmsd * distance + self.correlation * missing
        return Terms(total, torch.zeros_like(total), unc, distance, missing, int(valid.sum()))


@dataclass(frozen=True, eq=False)
class Terms:
    """A loss and its terms before they are weighted; scalars.

    Parameters
    ----------
    total : Tensor
        What to minimise.
    segmentation, unc, rmsd, correlation : Tensor
        ``l_seg``, ``l_unc``, mean RMSD, and one minus the mean correlation (0 when no sample has one).
    correlated : int
        How many samples have a correlation.
    """

    total: Tensor
    segmentation: Tensor
    unc: Tensor
    rmsd: Tensor
    correlation: Tensor
    correlated: int

    def with_segmentation(self, loss: Tensor) -> Terms:
        """The same with the loss of a segmentation."""
        return replace(self, segmentation=loss, total=self.total + loss)


def segmentation_loss(logits: Tensor, regions: Tensor, head: Head | str) -> Tensor:
    """Cross-entropy plus soft Dice loss, by what the channels mean.

    Parameters
    ----------
    logits : Tensor, shape (batch, head.channels, x, y, z)
        Segmentation logits.
    regions : Tensor, shape (batch, 3, x, y, z)
        Reference WT, TC, ET, 0 or 1.
    head : Head
        ``regions``: :func:`~uncseg_training.train.losses.region_loss`. ``labels4``: softmax cross-entropy, and Dice of
        the three labels without the background. ``labels3_implicit_bg``: the same with a background logit of 0; a
        softmax over the three channels alone would have no place for background.

    Returns
    -------
    Tensor
        Scalar of float32; each Dice is smoothed by one voxel, so that an absent label asks for an empty answer.
    """
    head = Head(head)
    if head is Head.REGIONS:
        return region_loss(logits, regions)
    logits = logits.float()
    if head is Head.LABELS3_IMPLICIT_BG:
        logits = torch.cat((torch.zeros_like(logits[:, :1]), logits), 1)
    labels = labels_of(regions)
    probabilities = torch.softmax(logits, 1)[:, 1:]
    target = torch.stack([labels == label for label in Label], 1).float()
    axes = (2, 3, 4)
    overlap = (probabilities * target).sum(axes)
    dice = (2 * overlap + 1) / (probabilities.sum(axes) + target.sum(axes) + 1)
    return F.cross_entropy(logits, labels) + (1 - dice).mean()


def labels_of(regions: Tensor) -> Tensor:
    """Labels ``(batch, x, y, z)`` of nested regions ``(batch, 3, x, y, z)``, as integers of 64 bits."""
    whole, core, enhancing = (regions > 0.5).unbind(1)
    labels = torch.where(core, int(Label.NCR), int(Label.ED))
    return torch.where(whole, torch.where(enhancing, int(Label.ET), labels), 0)


def regions_of(labels: Tensor) -> Tensor:
    """Nested regions ``(batch, 3, x, y, z)``, 0 or 1 in float32, of labels ``(batch, x, y, z)``."""
    masks = [torch.isin(labels, labels.new_tensor(REGION_LABELS[region])) for region in REGIONS]
    return torch.stack(masks, 1).float()


def loss_mask(mask: Mask | str, logits: Tensor, regions: Tensor, head: Head | str, dilation: int = 5) -> Tensor:
    """Weight of each voxel in the comparison of uncertainty and error.

    Parameters
    ----------
    mask : Mask
        Which one.
    logits : Tensor, shape (batch, head.channels, x, y, z)
        Segmentation logits.
    regions : Tensor, shape (batch, 3, x, y, z)
        Reference WT, TC, ET.
    head : Head
        Meaning of the logits.
    dilation : int
        Half-width in voxels of the box of ``union_dilated``.

    Returns
    -------
    Tensor of float32, shape (batch, 1, x, y, z)
        In 0..1, without a gradient.
    """
    probability = region_probabilities(logits.detach(), head)[:, :1]
    reference = regions[:, :1] > 0.5
    match Mask(mask):
        case Mask.GT:
            return reference.float()
        case Mask.PRED:
            return (probability > 0.5).float()
        case Mask.UNION_DILATED:
            return get_cancer_mask(((probability > 0.5) | reference).float(), dilation).float()
        case Mask.SOFT:
            return probability


def l_unc(u: Tensor, error: Tensor, weights: Tensor, reduction: Reduction = "mask") -> Tensor:
    """Mean squared distance of uncertainty and error inside the mask.

    Parameters
    ----------
    u, error : Tensor, shape (batch, 1, x, y, z)
        In 0..1.
    weights : Tensor, shape (batch, 1, x, y, z)
        The mask.
    reduction : {"all", "mask"}
        ``all``: mean of ``(u M - E M)**2`` over all voxels, as the paper's text has it, which scales with the part of
        a patch that the mask fills, about a twentieth. ``mask``: sum of ``M (u - E)**2`` over the sum of ``M``. For a
        binary mask the two differ by that part alone.

    Returns
    -------
    Tensor
        Scalar of float32; 0, with a gradient of 0, when the mask is empty.
    """
    if reduction not in ("all", "mask"):
        raise ValueError(f"Reduction {reduction!r} is neither 'all' nor 'mask'.")
    distance, w = u.float() - error.float(), weights.float()
    if reduction == "all":
        return (w * distance).square().mean()
    total = w.sum()
    return (w * distance.square()).sum() / torch.where(total > 0, total, 1.0)


def rmsd(u: Tensor, error: Tensor, weights: Tensor) -> Tensor:
    """Root of the weighted mean squared distance, sample by sample.

    Parameters
    ----------
    u, error, weights : Tensor, shape (batch, 1, x, y, z)
        As for :func:`l_unc`.

    Returns
    -------
    Tensor of float32, shape (batch,)
        0, with a gradient of 0, where the mask is empty. 1e-12 is added under the root, whose slope is infinite at 0.
    """
    w = weights.float()
    total = w.sum(_AXES)
    filled = total > 0
    squares = (w * (u.float() - error.float()).square()).sum(_AXES) / torch.where(filled, total, 1.0)
    return torch.where(filled, (squares + 1e-12).sqrt(), 0.0)


def weighted_pearson(
    u: Tensor,
    error: Tensor,
    weights: Tensor,
    least_weight: float = 100.0,
    least_variance: float = 1e-6,
    epsilon: float = 1e-8,
) -> tuple[Tensor, Tensor]:
    """Correlation of uncertainty and error under weights, sample by sample.

    Parameters
    ----------
    u, error, weights : Tensor, shape (batch, 1, x, y, z)
        As for :func:`l_unc`. The means are weighted as well: unweighted ones give another number.
    least_weight, least_variance : float
        A sample has no correlation when its mask weighs less, or its error varies less.
    epsilon : float
        Added to both variances, so that a constant ``u`` has a gradient of moderate size.

    Returns
    -------
    correlation : Tensor of float32, shape (batch,)
        In -1..1, finite also where it means nothing.
    valid : Tensor of bool, shape (batch,)
        Where it means something.
    """
    w = weights.float()
    total = w.sum(_AXES, keepdim=True)
    share = w / torch.where(total > 0, total, 1.0)
    a, b = u.float(), error.float()
    da, db = a - (share * a).sum(_AXES, keepdim=True), b - (share * b).sum(_AXES, keepdim=True)
    covariance, va, vb = ((share * product).sum(_AXES) for product in (da * db, da * da, db * db))
    correlation = covariance / ((va + epsilon).sqrt() * (vb + epsilon).sqrt())
    return correlation, (total.flatten() >= least_weight) & (total.flatten() > 0) & (vb >= least_variance)
