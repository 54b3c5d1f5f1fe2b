"""What each sweep of a training tells of each case: how the channel lies to the error map, and what it pulls at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from napari_uncseg.arrays import AnyFloats, Mask
from napari_uncseg.metrics.discrimination import SMALLEST_VARIANCE, correlation, moments
from napari_uncseg.models.unet import output_layer
from uncseg_training.paper1.paper_losses import PaperLoss, segmentation_loss
from uncseg_training.train.precision import autocast

SWEEPS = "sweeps.jsonl"

Map = AnyFloats | Mask


def alignment(u: Map, v: Map) -> dict[str, float]:
    """Pearson correlation and RMSD of two maps, and the ratio of their sums, NaN where undefined.

    Parameters
    ----------
    u, v : ndarray of float, shape (n,)
        Map and target at the voxels where they are compared.
    """
    if not u.size:
        return dict.fromkeys(("pearson", "rmsd", "ratio"), np.nan)
    mean_u, mean_v, uu, vv, uv = moments(u, v.astype(np.float64)) / u.size
    r, _ = correlation(uu - mean_u**2, vv - mean_v**2, uv - mean_u * mean_v, SMALLEST_VARIANCE, None)
    distance = float(np.sqrt(max(uu + vv - 2 * uv, 0.0)))
    return {"pearson": r, "rmsd": distance, "ratio": mean_u / mean_v if mean_v > 0 else np.nan}


def pull(network: nn.Module, images: Tensor, regions: Tensor, error: Tensor, visited: Tensor) -> dict[str, float]:
    """How the channel's loss pulls at the features that the segmentation is made of.

    Parameters
    ----------
    network : Module
        With a head of regions and an uncertainty channel; in evaluation mode.
    images, regions, error, visited : Tensor, shape (1, channels, x, y, z)
        Of a whole case.

    Returns
    -------
    dict of str to float
        ``cosine`` of the gradients of the segmentation's loss and of the paper's terms of the channel with respect to
        the features before the last layer, below 0 where they disagree; and ``strength``, the second one's length over
        the first one's.
    """
    layer, features = output_layer(network), list[Tensor]()
    hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        with torch.no_grad(), autocast(images.device):
            network(images)
    finally:
        hook.remove()
    with torch.enable_grad():
        leaf = features[0].detach().float().requires_grad_()
        output = torch.nn.functional.conv3d(leaf, layer.weight.detach(), layer.bias.detach())  # type: ignore[union-attr]
        logits, u = output[:, :3], torch.sigmoid(output[:, 3:])
        (one,) = torch.autograd.grad(segmentation_loss(logits, regions, "regions"), leaf, retain_graph=True)
        (other,) = torch.autograd.grad(PaperLoss().compare(u, logits, regions, error, visited).total, leaf)
    lengths = float(one.norm()), float(other.norm())
    if min(lengths) == 0:
        return {}
    return {"cosine": float((one * other).sum()) / (lengths[0] * lengths[1]), "strength": lengths[1] / lengths[0]}


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """One row more in a run's folder; numbers that are undefined are left out."""
    known = {key: value for key, value in row.items() if not (isinstance(value, float) and not np.isfinite(value))}
    with (folder / SWEEPS).open("a", encoding="utf-8") as log:
        log.write(json.dumps(known) + "\n")


def read(folder: Path) -> pd.DataFrame:
    """Rows of a run by ``step`` and ``case``; half a line of a killed process is left out."""
    rows = []
    for text in (folder / SWEEPS).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(text))
        except ValueError:
            continue
    return pd.DataFrame(rows).drop_duplicates(["step", "case"], keep="last")
