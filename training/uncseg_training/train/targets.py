"""What the uncertainty channel learns on a fixed cohort: error maps that the training itself keeps up to date."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.labels import labels_from_regions
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.models.heads import region_probabilities, split
from napari_uncseg.models.masked import MaskedUncertaintyNetwork, get_cancer_mask
from napari_uncseg.models.unet import output_layer
from napari_uncseg.uncertainty.measures import bernoulli_variance
from uncseg_training.data.cases import Cases
from uncseg_training.data.patches import Place, Sample, whole_case
from uncseg_training.nnunet.loss import split_target
from uncseg_training.paper1 import sweep_log
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.paper1.paper_losses import Mask, PaperLoss, loss_mask, segmentation_loss
from uncseg_training.paper1.published import published_loss, visit
from uncseg_training.paper1.variance import VarianceMaps
from uncseg_training.train.config import Channel, Config
from uncseg_training.train.precision import autocast
from uncseg_training.train.refresh import Inference, open_maps, refresh_sweep

NEAR_MM = 5.0
"""How far from a tumour, predicted or true, a sweep still compares maps."""

PULLED = 4
"""Every so many cases a sweep looks at what the channel's loss pulls at."""

Bent = Callable[[Tensor, Place], Tensor]


class Targets:
    """Error maps and variances of all cases of a cohort, in the folder of a run, and the loss of the channel.

    The cases that are held out have maps as well, as those of the validation have in the paper: what is measured
    against them is said apart from what is measured against failures. Phantoms that never come back have none, and
    teach the segmentation alone.

    Parameters
    ----------
    folder : Path
        Of the run.
    config : Config
    cases : Cases
        The cohort.
    errors : ErrorMaps
        What is learnt.
    variances : VarianceMaps
        What the paper compares it with.
    """

    def __init__(self, folder: Path, config: Config, cases: Cases, errors: ErrorMaps, variances: VarianceMaps) -> None:
        self.folder, self.config, self.cases = folder, config, cases
        self.errors, self.variances = errors, variances

    @classmethod
    def of_run(cls, folder: Path, config: Config, cases: Cases, *, begins: bool) -> Targets:
        """Go on with the maps of a run, or begin them where the training ``begins``: those of an earlier one go away.

        Raises
        ------
        ValueError
            When they are of other cases, or absent although the training has begun.
        """
        shapes = {name: cases.labels(name).shape for name in cases.names} if begins else {}
        if begins:
            (folder / sweep_log.SWEEPS).unlink(missing_ok=True)
        return cls(folder, config, cases, *open_maps(folder, cases.preprocessing, shapes))

    def wrapped(self, trained: nn.Module, network: nn.Module) -> nn.Module:
        """The paper's wrapper of a network that is trained; its mask is off, for the loss has a mask of its own."""
        if self.config.channel == Channel.DETACHED:
            trained = Detached(trained, output_layer(network))
        masked = MaskedUncertaintyNetwork(trained, self.config.head)
        masked.masking = False
        return masked if self.config.channel in (Channel.PAPER, Channel.DETACHED) else trained

    def loss(
        self,
        output: Tensor | tuple[Tensor, Tensor],
        regions: Tensor,
        sample: Sample,
        bent: Bent,
        slots: MutableMapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a step and its parts by name.

        Parameters
        ----------
        output : Tensor, or Tensor and Tensor
            What the wrapped network says: logits of a batch, or segmentation logits and uncertainty.
        regions : Tensor, shape (batch, 3, x, y, z)
            Reference.
        sample : Sample
            The batch, which says where it is from.
        bent : callable
            Turns and bends maps as the sample was, see :meth:`uncseg_training.data.patches.Patches.bent`.
        slots : mapping of str to Tensor
            Maps of the places of the batch, of the published pattern; changed.
        """
        logits, doubt = output if isinstance(output, tuple) else split(output, "regions")
        assert doubt is not None  # the configuration asks for the channel
        logits, doubt = logits.float(), doubt.float()
        segmentation = segmentation_loss(logits, regions, "regions")
        if self.config.channel == Channel.PUBLISHED:
            each = []
            for slot in range(len(logits)):
                one = slice(slot, slot + 1)
                maps = visit(slots, f"slot {slot}", logits[one], regions[one], self.config.mask)
                each.append(published_loss(doubt[one], maps, PaperLoss()))
            total = segmentation + torch.stack([loss for loss, _ in each]).mean()
            named = {key: torch.tensor(np.nanmean([told[key] for _, told in each])) for key in each[0][1]}
            return total, {"segmentation": segmentation} | {k: v for k, v in named.items() if torch.isfinite(v)}
        error, visited = (target.to(logits.device) for target in self.of_patches(sample, bent))
        if self.config.channel == Channel.CROSSENTROPY:
            weights = loss_mask(Mask(self.config.mask), logits, regions, "regions") * visited
            values = weights * F.binary_cross_entropy_with_logits(doubt, error, reduction="none")
            crossentropy = values.sum() / weights.sum().clamp(min=1)
            return segmentation + crossentropy, {"segmentation": segmentation, "uncertainty": crossentropy}
        terms = PaperLoss(mask=Mask(self.config.mask)).compare(doubt, logits, regions, error, visited)
        told = {"uncertainty": terms.unc, "rmsd": terms.rmsd, "correlation": terms.correlation}
        # Zeros of phantoms, which have no error map, would water the running means of the log down.
        return terms.total + segmentation, {"segmentation": segmentation} | (told if bool(visited.any()) else {})

    def of_patches(self, sample: Sample, bent: Bent) -> tuple[Tensor, Tensor]:
        """Error ``(batch, 1, x, y, z)`` in 0..1, and where there is one, of a batch."""
        targets = torch.zeros(len(sample.images), 2, *sample.images.shape[2:])
        for number, place in enumerate(sample.patches):
            if place is not None:
                error, visited = self.errors.patch(place.case, place.box)
                targets[number] = bent(torch.from_numpy(np.concatenate([error, visited.astype(np.float32)])), place)
        return split_target(targets)

    def sweep(self, network: nn.Module, step: int, device: torch.device) -> list[str]:
        """Predict every case, un-augmented, and update its maps; a case that has had this sweep is left alone.

        What the sweep tells of a case is written into ``sweeps.jsonl`` of the run.

        Parameters
        ----------
        network : Module
            As it is now, with a head of regions; left in evaluation mode.
        step : int
            Of the training: a sweep's number, which grows however long the training becomes.
        device : torch.device
            Where it lies.

        Returns
        -------
        list of str
            Cases that were predicted.
        """
        last: dict[str, Tensor] = {}

        def predict(name: str) -> Inference:
            last.clear()
            last[name] = predict_case(network, self.cases, name, device)
            labels = self.cases.labels(name)
            return Inference(labels_from_regions(last[name][:3].numpy()), labels, last[name][0].numpy())

        def tell(name: str) -> None:
            row = {"step": step, "case": name} | self._told(name, last[name])
            if self.cases.names.index(name) % PULLED == 0:
                row |= self._pull(network, name, device)
            sweep_log.append(self.folder, row)

        return refresh_sweep(predict, self.cases.names, self.errors, 1, step, self.variances, tell)

    def _told(self, name: str, answer: Tensor) -> dict[str, float]:
        """How channel and variances lie to the error map, near the tumour."""
        p, u = answer[0].numpy(), answer[3].numpy()
        error, history = self.errors.read(name).error[0], self.variances.read(name)
        tumour = (p > 0.5) | (self.cases.labels(name) > 0)
        near = dilate_mm(tumour, (self.config.spacing,) * 3, NEAR_MM) & np.isfinite(error)
        maps = {"unc_output": u, "variance_stable": 4 * history.variance, "var1shot": 4 * bernoulli_variance(p)}
        told = {
            f"{key} {title}": value
            for title, values in maps.items()
            for key, value in sweep_log.alignment(values[near], error[near]).items()
        }
        copied = sweep_log.alignment(u[near], (p[near] > 0.5).astype(np.float32))
        return told | {"copies the tumour": copied["pearson"]}

    def _pull(self, network: nn.Module, name: str, device: torch.device) -> dict[str, float]:
        sample, found = whole_case(self.cases, name), self.errors.read(name)
        tensors = (sample.images, sample.regions.float(), torch.from_numpy(np.nan_to_num(found.error)))
        visited = torch.from_numpy(found.visits[None] > 0)
        return sweep_log.pull(network, *(each[None].to(device) for each in (*tensors, visited)))


class Detached(nn.Module):
    """A network whose uncertainty channel sees the features before the last layer, and does not change them."""

    def __init__(self, network: nn.Module, layer: nn.Conv3d) -> None:
        super().__init__()
        self.network, self._layer = network, [layer]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, 4, x, y, z)`` to the logits of three regions and the uncertainty."""
        (layer,), features = self._layer, list[Tensor]()
        hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        try:
            output: Tensor = self.network(x)
        finally:
            hook.remove()
        assert layer.bias is not None  # as of all output layers
        doubt = F.conv3d(features[0].detach(), layer.weight[3:], layer.bias[3:])
        return torch.cat([output[:, :3], doubt.to(output.dtype)], 1)


@torch.no_grad()
def predict_case(network: nn.Module, cases: Cases, name: str, device: torch.device) -> Tensor:
    """Probabilities of WT, TC, ET and, where the network has it, the uncertainty in the cancer mask and everywhere.

    Returns
    -------
    Tensor, shape (3 or 5, x, y, z)
        In 0..1. The mask is that of :class:`~napari_uncseg.models.masked.MaskedUncertaintyNetwork`. The network is left
        in evaluation mode.
    """
    network.eval()
    with autocast(device):
        output = network(whole_case(cases, name).images[None].to(device))
    logits, uncertainty = split(output.float(), "regions")
    probabilities = region_probabilities(logits, "regions")
    if uncertainty is None:
        return probabilities[0].cpu()
    u = torch.sigmoid(uncertainty)
    return torch.cat([probabilities, u * get_cancer_mask(probabilities[:, :1]), u], 1)[0].cpu()
