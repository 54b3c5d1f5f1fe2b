"""The network of a finished run as a model folder that the plugin runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from napari_uncseg.labels import REGIONS
from napari_uncseg.models.model import Model, save_model
from uncseg_training.train.state import SNAPSHOTS, Training, load_state, weights_of


def export_run(
    run: Path,
    out: Path,
    *,
    average: bool = False,
    average_with: Path | None = None,
    previous_stage: Path | None = None,
    stage_weights: Sequence[float] = (1.0, 1.0, 1.0),
    smallest_ml: float = 0.0,
    members: str = "single",
    keep_snapshots: bool = True,
) -> Model:
    """Write the averaged network of a run, and the snapshots before it, as a model folder that the plugin runs.

    Parameters
    ----------
    run : Path
        Run folder with a checkpoint.
    out : Path
        Model folder to write.
    average : bool
        Write the mean of the weights of all snapshots in the place of the last one.
    average_with : Path, optional
        Another run, mostly the one this run started from: the mean of both networks' weights is written.
    previous_stage : Path, optional
        Run of the first stage, of a run that is the second stage of a cascade.
    stage_weights : sequence of float
        Share of the second stage in WT, TC and ET where both stages look, 0..1.
    smallest_ml : float
        Components of a region below this volume are left out of segmentations.
    members : str
        Those that the model is run with when nobody chooses.
    keep_snapshots : bool
        Write the snapshots, too.

    Raises
    ------
    ValueError
        When a run has no checkpoint, there are no snapshots to average, the other run is not finished or its network
        another one, a second stage lacks its first one, or a file is absent or damaged.
    OSError
        When the folder cannot be written.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018: the mean of weights
    at the ends of cycles of the learning rate. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022:
    the mean of the weights before and after further training keeps more of what was learnt before.
    """
    training = Training.of_run(run)
    if (previous_stage is None) == bool(training.config.previous_stage):
        raise ValueError(
            f"{run} is {'the second stage of a cascade' if previous_stage is None else 'a network by itself'}; "
            f"{'name the run of its first stage' if previous_stage is None else 'leave the previous stage out'}."
        )
    # The last snapshot is the network itself; before the end of a run there is none yet.
    earlier = range(1, training.config.snapshots) if training.step == training.config.steps else range(0)
    files = [run / SNAPSHOTS / f"{number}.pt" for number in earlier]
    snapshots = [load_state(file) for file in files]
    model = training.model()
    if average:
        if not snapshots:
            raise ValueError(f"{run} has no snapshots to average; leave out --average, or finish the run.")
        model.network.load_state_dict(_mean_of(*snapshots, model.network.state_dict()))
        model.provenance["weights"] = f"mean of {len(snapshots) + 1} snapshots"
    if average_with is not None:
        there = weights_of(average_with, replace(training.config, name=str(run)), "is to meet")
        model.network.load_state_dict(_mean_of(model.network.state_dict(), there))
        here = model.provenance.get("weights", "last network")
        model.provenance["weights"] = f"mean of the {here} and {average_with.name}"
    if previous_stage is not None:
        model = replace(model, previous_stage=Training.of_run(previous_stage).model())
        if min(stage_weights) < 1:
            model.plans["uncseg"]["stage_weights"] = dict(zip(map(str, REGIONS), stage_weights, strict=True))
    if members != "single":
        model.provenance["members"] = members
    if smallest_ml:
        model.plans["uncseg"]["smallest_ml"] = smallest_ml
    return save_model(model, out, half=True, snapshots=snapshots if keep_snapshots else ())


def _mean_of(*weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean of the weights of several networks, each given as its state."""
    return {name: torch.stack([each[name] for each in weights]).sum(0) / len(weights) for name in weights[-1]}
