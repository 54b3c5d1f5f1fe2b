"""What the uncertainty channel learns on a fixed cohort: error maps that the training itself keeps up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_uncseg.labels import labels_from_regions
from napari_uncseg.models.heads import region_probabilities, split
from napari_uncseg.models.masked import get_cancer_mask
from uncseg_training.data.case_maps import Box
from uncseg_training.data.cases import Cases
from uncseg_training.data.patches import whole_case
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.paper1.variance import VarianceMaps
from uncseg_training.train.refresh import Inference, open_maps, refresh_sweep


class Targets:
    """Error maps and variances of all cases of a cohort, in the folder of a run.

    The cases that are held out have maps as well, as those of the validation have in the paper: what is measured
    against them is said apart from what is measured against failures.

    Parameters
    ----------
    cases : Cases
        The cohort.
    errors : ErrorMaps
        What is learnt.
    variances : VarianceMaps
        What the paper compares it with.
    """

    def __init__(self, cases: Cases, errors: ErrorMaps, variances: VarianceMaps) -> None:
        self.cases, self.errors, self.variances = cases, errors, variances

    @classmethod
    def of_run(cls, folder: Path, cases: Cases, *, begins: bool) -> Targets:
        """Go on with the maps of a run, or begin them where the training ``begins``: those of an earlier one go away.

        Raises
        ------
        ValueError
            When they are of other cases, or absent although the training has begun.
        """
        shapes = {name: cases.labels(name).shape for name in cases.names} if begins else {}
        return cls(cases, *open_maps(folder, cases.preprocessing, shapes))

    def of_patches(self, patches: Sequence[tuple[str, Box]]) -> tuple[Tensor, Tensor]:
        """Error ``(batch, 1, x, y, z)`` in 0..1, and where there is one, of the patches of a batch."""
        target = self.errors.batch(patches)
        return torch.from_numpy(target.error), torch.from_numpy(target.visited)

    def sweep(self, network: nn.Module, step: int, device: torch.device) -> list[str]:
        """Predict every case, un-augmented, and update its maps; a case that has had this sweep is left alone.

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

        def predict(name: str) -> Inference:
            probabilities = predict_case(network, self.cases, name, device)[:3]
            labels = self.cases.labels(name)
            return Inference(labels_from_regions(probabilities.numpy()), labels, probabilities[0].numpy())

        return refresh_sweep(predict, self.cases.names, self.errors, 1, step, self.variances)


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
    with torch.autocast(device.type, torch.bfloat16):
        output = network(whole_case(cases, name).images[None].to(device))
    logits, uncertainty = split(output.float(), "regions")
    probabilities = region_probabilities(logits, "regions")
    if uncertainty is None:
        return probabilities[0].cpu()
    u = torch.sigmoid(uncertainty)
    return torch.cat([probabilities, u * get_cancer_mask(probabilities[:, :1]), u], 1)[0].cpu()
