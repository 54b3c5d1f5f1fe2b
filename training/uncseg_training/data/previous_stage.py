"""Probabilities of a previous stage, as the second stage of a cascade sees them beside the images."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_uncseg.arrays import Floats32
from napari_uncseg.inference.resampling import resample
from napari_uncseg.io.files import write_files
from napari_uncseg.models.heads import region_probabilities, split
from uncseg_training.data.cases import Cases, fit_into
from uncseg_training.data.patches import whole_case
from uncseg_training.train.precision import autocast


def write_previous_stage(
    network: nn.Module,
    cases: Cases,
    next_stage: Cases,
    folder: Path,
    device: torch.device,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Predict cases on the grid of one stage and write what the next stage sees of it.

    Parameters
    ----------
    network : nn.Module
        First stage, with a head of regions; left in evaluation mode.
    cases, next_stage : Cases
        The same cases on the grids of both stages.
    folder : Path
        Takes ``<case>.npy``: 255ths of the probabilities of WT, TC, ET, shape (3, x, y, z) on the second grid; those
        that are there already are kept.
    device : torch.device
        Where to predict.
    tell : callable
        Told the name of each case that is done.

    Raises
    ------
    ValueError
        When a case is absent on one of the grids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if absent := sorted(set(next_stage.names) - set(cases.names)):
        raise ValueError(f"{cases.folder} lacks {absent[0]} of {next_stage.folder}; write both from the same studies.")
    for name in next_stage.names:
        path = folder / f"{name}.npy"
        if not path.is_file():
            inner = cases.load(name).inner
            case = next_stage.load(name)
            found = fit_into(mirrored_probabilities(network, cases, name, device), inner)
            onto = resample(torch.from_numpy(found), case.inner).numpy()
            buffer = io.BytesIO()
            np.save(buffer, fit_into(np.round(onto * 255).astype(np.uint8), case.labels.shape))
            write_files({path: buffer.getvalue()})
        tell(name)


@torch.no_grad()
def mirrored_probabilities(network: nn.Module, cases: Cases, name: str, device: torch.device) -> Floats32:
    """Mean probabilities of a case and of its mirror image (left and right), shape (3, x, y, z), 0..1."""
    network.eval()
    images = whole_case(cases, name).images[None, :4].to(device)
    total = torch.zeros((3, *images.shape[2:]))
    for axes in ([], [2]):
        with autocast(device):
            output = network(images.flip(axes))
        found = region_probabilities(split(output.float(), "regions")[0], "regions")[0]
        total += found.flip([axis - 1 for axis in axes]).cpu() / 2
    array: Floats32 = total.numpy()
    return array
