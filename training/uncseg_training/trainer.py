"""The light trainer: endless phantoms in, a model folder out. One file that reads top to bottom.

Everything random depends on the seed and the step alone, so a training that was killed goes on as if it had not been:
the checkpoint holds weights, their running average, the optimiser and the step, and the next phantom is the one of
that step. Started by ``torchrun``, every process trains on phantoms of its own and gradients are averaged.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from napari_uncseg.network.heads import split
from napari_uncseg.network.model import Model, output_channels
from napari_uncseg.network.unet import build_network
from uncseg_training.config import Config
from uncseg_training.losses import failure_loss, region_loss
from uncseg_training.patches import Indices, Patches, Sample, stack

CHECKPOINT, LOG, SNAPSHOTS = "checkpoint.pt", "log.jsonl", "snapshots"

FREE = {"steps", "workers", "validate_every", "checkpoint_every", "validation", "decay", "whole_from", "late_from"}
FREE |= {"snapshots", "cycle", "restart", "cycle_average"}
"""What may change when a training is gone on with: where it runs, and the schedule of what has not come yet."""


@dataclass
class Training:
    """State of a training: what a checkpoint holds."""

    config: Config
    network: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def fresh(cls, config: Config) -> Training:
        """Seeded weights, or those of the run to start from; the uncertainty channel starts at an error rate of 2 %.

        Raises
        ------
        ValueError
            When the run to start from is absent, unfinished or of another network.
        """
        torch.manual_seed(config.seed)
        network, averaged = (build_network(config.plans(), 4, output_channels(config.plans())) for _ in range(2))
        bias = network.get_parameter(f"decoder.seg_layers.{len(config.features) - 2}.bias")
        with torch.no_grad():
            bias[3:] = math.log(0.02 / 0.98)
            bias[:3] = -3.0
        if config.start:
            network.load_state_dict(_weights_of(Path(config.start), config))
        averaged.load_state_dict(network.state_dict())
        optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        return cls(config, network, averaged, optimiser)

    @classmethod
    def resume(cls, folder: Path, config: Config) -> Training:
        """Go on from a checkpoint.

        Raises
        ------
        ValueError
            When the checkpoint was made with another configuration; only what :data:`FREE` names may differ.
        """
        state = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu")
        for key, value in asdict(config).items():
            if key not in FREE and state["config"].get(key, value) != value:
                raise ValueError(
                    f"{folder} was trained with {key} = {state['config'].get(key)}, not {value}; take another folder."
                )
        training = cls.fresh(replace(config, start=""))
        training.config = config
        training.network.load_state_dict(state["network"])
        training.averaged.load_state_dict(state["averaged"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.step, training.seconds = int(state["step"]), float(state["seconds"])
        return training

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        _save(state, folder / CHECKPOINT)

    def to(self, device: torch.device) -> None:
        """Move networks and optimiser."""
        self.network.to(device), self.averaged.to(device)
        for state in self.optimiser.state.values():
            moved = {key: value.to(device) for key, value in state.items() if isinstance(value, Tensor) and value.ndim}
            state.update(moved)

    def model(self) -> Model:
        """The averaged network as a model to save."""
        provenance = {
            "trained_by": "uncseg-train fit",
            "config": asdict(self.config),
            "step": self.step,
            "hours": round(self.seconds / 3600, 3),
            "torch": torch.__version__,
        }
        return Model(self.averaged, self.config.plans(), provenance=provenance, name=self.config.name)


@dataclass(frozen=True)
class Process:
    """One of the processes that train together; alone by default.

    Parameters
    ----------
    rank, world : int
        Which of how many.
    device : torch.device
        Where this one trains.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes, validates and reports."""
        return self.rank == 0


@contextmanager
def joined() -> Iterator[Process]:
    """Join the other processes when ``torchrun`` started this one."""
    world, rank, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN.items())
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world == 1:
        yield Process(0, 1, device)
        return
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(rank, world, device)
    finally:
        distributed.destroy_process_group()


_TORCHRUN = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}


def cycles(config: Config) -> list[int]:
    """Steps at whose end the learning rate is 0 and a snapshot is kept; the last is the last of all."""
    length = max(1, round(config.cycle * config.steps))
    return [config.steps - length * later for later in reversed(range(config.snapshots))]


def learning_rate(config: Config, step: int) -> float:
    """Warm-up, plateau, linear decay to 0, then the cycles of the snapshots."""
    ends = cycles(config)
    if step < ends[0]:
        up = min(1.0, (step + 1) / max(1, config.warmup))
        return config.learning_rate * up * min(1.0, (ends[0] - step) / max(1.0, config.decay * config.steps))
    before, end = next(((a, b) for a, b in pairwise(ends) if step < b), (ends[-1] - 1, ends[-1]))
    return config.learning_rate * config.restart * (end - step) / (end - before)


def fit(
    anatomies: Path,
    folder: Path,
    config: Config,
    *,
    budget: float | None = None,
    report: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Training:
    """Train, or go on training.

    Parameters
    ----------
    anatomies : Path
        File of :func:`uncseg_training.phantom.anatomy.save_anatomies`.
    folder : Path
        Holds ``checkpoint.pt``, ``log.jsonl`` and ``snapshots/``; gone on from when it has a checkpoint.
    config : Config
        What to train.
    budget : float, optional
        Seconds after which to stop at a checkpoint.
    report : callable
        Is given each line of the log.

    Returns
    -------
    Training
        Finished when ``step`` equals ``config.steps``.

    Raises
    ------
    ValueError
        When the folder's checkpoint was trained with another configuration.
    """
    with joined() as process:
        return _fit(anatomies, folder, config, process, budget, report)


def _fit(
    anatomies: Path,
    folder: Path,
    config: Config,
    process: Process,
    budget: float | None,
    report: Callable[[Mapping[str, Any]], None],
) -> Training:
    folder.mkdir(parents=True, exist_ok=True)
    resumed = (folder / CHECKPOINT).is_file()
    training = Training.resume(folder, config) if resumed else Training.fresh(config)
    training.to(process.device)
    # Without deep supervision the lower output layers of nnU-Net's decoder stay unused.
    together = DistributedDataParallel(training.network, find_unused_parameters=True) if process.world > 1 else None
    trained = together or training.network
    makes_phantoms = process.device if config.workers == 0 else "cpu"
    # Validation phantoms come from another stream and are made once; they are always whole.
    plain = replace(config, whole_from=0.0, augment=False, reuse=1)
    unseen, validation = Patches(anatomies, plain, config.seed + 7919, makes_phantoms), list[Sample]()
    loader = DataLoader(
        Patches(anatomies, config, config.seed, makes_phantoms, config.batch * process.world),
        batch_size=config.batch,
        sampler=Indices(training.step, config.steps, config.batch, process.rank, process.world),
        collate_fn=stack,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    started, before, ends = time.monotonic(), training.seconds, cycles(config)
    running: dict[str, float] = {}
    with (folder / LOG).open("a") as log:

        def note(line: Mapping[str, Any]) -> None:
            if process.leads:
                log.write(json.dumps(line) + "\n")
                log.flush()
                report(line)

        for sample in loader:
            losses = _train_step(training, trained, sample, process.device)
            for key, value in losses.items():
                running[key] = value if key not in running else 0.98 * running[key] + 0.02 * value
            training.step += 1
            training.seconds = before + time.monotonic() - started
            step = training.step
            if step % 20 == 0 or step == config.steps:
                rounded = {key: round(value, 4) for key, value in running.items()}
                note({"step": step, "of": config.steps, "seconds": round(training.seconds, 1), **rounded})
            if process.leads and config.validation and step % config.validate_every == 0:
                validation = validation or [unseen[index] for index in range(config.validation)]
                note({"step": step, "validation": validate(training.averaged, validation, process.device)})
            if process.leads and step in ends:
                (folder / SNAPSHOTS).mkdir(exist_ok=True)
                _save(training.averaged.state_dict(), folder / SNAPSHOTS / f"{ends.index(step) + 1}.pt")
            stop = budget is not None and _agreed(time.monotonic() - started > budget, process)
            if process.leads and (step % config.checkpoint_every == 0 or step == config.steps or stop):
                training.save(folder)
            if stop:
                break
    return training


def _train_step(training: Training, trained: nn.Module, sample: Sample, device: torch.device) -> dict[str, float]:
    """One step of the optimiser and of the running average; the losses it was taken at."""
    config, step = training.config, training.step
    for group in training.optimiser.param_groups:
        group["lr"] = learning_rate(config, step)
    training.network.train()
    # Dropout masks, the only randomness on the device, depend on the step as well.
    torch.manual_seed(config.seed * 1_000_003 + step)
    images, regions = sample.images.to(device), sample.regions.to(device).float()
    with torch.autocast(device.type, torch.bfloat16):
        output = trained(images)
    logits, uncertainty = split(output, "regions")
    assert uncertainty is not None
    segmentation = region_loss(logits, regions)
    doubt = failure_loss(uncertainty, logits, regions)
    late = step >= config.late_from * config.steps
    loss = segmentation + (config.uncertainty_late if late else config.uncertainty_weight) * doubt
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(training.network.parameters(), config.clip, error_if_nonfinite=True)
    training.optimiser.step()
    average = config.average if step < cycles(config)[0] else config.cycle_average
    decay = min(average, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(training.averaged.parameters(), training.network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
    return {"segmentation": float(segmentation.detach()), "uncertainty": float(doubt.detach())}


@torch.no_grad()
def validate(network: nn.Module, samples: list[Sample], device: torch.device) -> dict[str, float]:
    """Mean Dice per region over the phantoms in which it has at least 125 voxels (1 mL at 2 mm)."""
    network.eval()
    scores: list[list[float]] = [[], [], []]
    for sample in samples:
        with torch.autocast(device.type, torch.bfloat16):
            output = network(sample.images[None].to(device))
        predicted = split(output, "regions")[0][0].float().cpu() > 0
        for region in range(3):
            reference = sample.regions[region].cpu()
            if int(reference.sum()) >= 125:
                overlap = 2 * float((predicted[region] & reference).sum())
                scores[region].append(overlap / float(predicted[region].sum() + reference.sum()))
    means = [float(np.mean(values)) if values else float("nan") for values in scores]
    return {name: round(mean, 4) for name, mean in zip(("WT", "TC", "ET"), means, strict=True)}


def _weights_of(run: Path, config: Config) -> dict[str, Tensor]:
    """Averaged weights of a finished run with the same network."""
    if not (run / CHECKPOINT).is_file():
        raise ValueError(
            f"{config.name} starts from {run}, which is not there; train that run first (docs/training.md)."
        )
    state = torch.load(run / CHECKPOINT, weights_only=True, map_location="cpu")
    before = state["config"]
    if state["step"] < before["steps"]:
        raise ValueError(
            f"{config.name} starts from {run}, which stands at step {state['step']}; finish that run first."
        )
    for key in ("features", "encoder", "decoder"):
        if tuple(before[key]) != tuple(getattr(config, key)):
            raise ValueError(f"{config.name} starts from {run}, whose network differs ({key}).")
    averaged: dict[str, Tensor] = state["averaged"]
    return averaged


def _agreed(wish: bool, process: Process) -> bool:
    """Whether any process wishes to stop: all must stop at the same step."""
    if process.world == 1:
        return wish
    flag = torch.tensor(float(wish), device=process.device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)


def _save(state: Mapping[str, Any], path: Path) -> None:
    """Write under a temporary name and rename."""
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    os.replace(temporary, path)
