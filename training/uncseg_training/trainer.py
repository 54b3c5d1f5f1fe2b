"""The light trainer: endless phantoms in, a model folder out. One file that reads top to bottom.

Everything random depends on the seed and the step alone, so a training that was killed goes on as if it had not been:
the checkpoint holds weights, their running average, the optimiser and the step, and the next phantom is the one of
that step.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from napari_uncseg.network.heads import split
from napari_uncseg.network.model import Model, output_channels
from napari_uncseg.network.unet import build_network
from uncseg_training.config import Config
from uncseg_training.losses import failure_loss, region_loss
from uncseg_training.phantom.anatomy import load_anatomies
from uncseg_training.phantom.cohort import Phantoms


@dataclass
class Sample:
    """One training example.

    Parameters
    ----------
    images : Tensor of float32, shape (4, x, y, z)
        z-scores.
    regions : Tensor of bool, shape (3, x, y, z)
        WT, TC, ET of the reference.
    """

    images: Tensor
    regions: Tensor


class Patches(Dataset[Sample]):
    """Patch number ``step`` of a training: around the tumour two times in three, anywhere otherwise."""

    def __init__(self, anatomies: Path, config: Config, seed: int) -> None:
        self.anatomies, self.config, self.seed = anatomies, config, seed
        self._phantoms: Phantoms | None = None

    def __getitem__(self, step: int) -> Sample:
        """Make the phantom of that step and cut the patch."""
        if self._phantoms is None:
            # In the worker process, so that the maps are not copied.
            self._phantoms = Phantoms(
                load_anatomies(self.anatomies), self.config.volume, self.config.spacing, self.seed, self.config.wide
            )
        phantom = self._phantoms[step]
        images = phantom.normalised()
        regions = torch.stack([phantom.labels > 0, (phantom.labels == 1) | (phantom.labels == 3), phantom.labels == 3])
        if step < self.config.whole_from * self.config.steps:
            window = self._window(phantom.labels > 0, phantom.brain, np.random.default_rng((self.seed, step)))
            images, regions = images[window], regions[window]
        return Sample(images.contiguous(), regions.contiguous())

    def _window(self, tumour: Tensor, brain: Tensor, random: np.random.Generator) -> tuple[slice, ...]:
        places = (tumour if tumour.any() and random.random() < 0.67 else brain).nonzero()
        centre = places[int(random.integers(len(places)))].tolist()
        window = [slice(None)]
        for middle, size, total in zip(centre, self.config.patch, self.config.volume, strict=True):
            start = middle - size // 2 + int(random.integers(-size // 4, size // 4 + 1))
            start = min(max(start, 0), total - size)
            window.append(slice(start, start + size))
        return tuple(window)


class Steps(Sampler[int]):
    """The step numbers still to do."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        """From the first to the last."""
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        """How many are left."""
        return self.last - self.first


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
        """Seeded weights; the uncertainty channel starts at an error rate of 2 %."""
        torch.manual_seed(config.seed)
        network, averaged = (build_network(config.plans(), 4, output_channels(config.plans())) for _ in range(2))
        bias = network.get_parameter(f"decoder.seg_layers.{len(config.features) - 2}.bias")
        with torch.no_grad():
            bias[3:] = math.log(0.02 / 0.98)
            bias[:3] = -3.0
        averaged.load_state_dict(network.state_dict())
        optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        return cls(config, network, averaged, optimiser)

    def save(self, folder: Path) -> None:
        """Write the checkpoint under a temporary name and rename it."""
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        temporary = folder / "checkpoint.part"
        torch.save(state, temporary)
        os.replace(temporary, folder / "checkpoint.pt")

    @classmethod
    def resume(cls, folder: Path, config: Config) -> Training:
        """Go on from a checkpoint.

        Raises
        ------
        ValueError
            When the checkpoint was made with another configuration; only the number of steps and what does not
            change the result (workers, intervals) may differ.
        """
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        free = {
            "steps",
            "workers",
            "validate_every",
            "checkpoint_every",
            "validation",
            "decay",
            "whole_from",
            "late_from",
        }
        for key, value in asdict(config).items():
            if key not in free and state["config"].get(key) != value:
                raise ValueError(
                    f"{folder} was trained with {key} = {state['config'].get(key)}, not {value}; take another folder."
                )
        training = cls.fresh(config)
        training.network.load_state_dict(state["network"])
        training.averaged.load_state_dict(state["averaged"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.step, training.seconds = int(state["step"]), float(state["seconds"])
        return training

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


def learning_rate(config: Config, step: int) -> float:
    """Warm-up, plateau, linear decay to 0."""
    up = min(1.0, (step + 1) / max(1, config.warmup))
    down = min(1.0, (config.steps - step) / max(1.0, config.decay * config.steps))
    return config.learning_rate * up * down


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
        Holds ``checkpoint.pt`` and ``log.jsonl``; gone on from when it has a checkpoint.
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
    """
    folder.mkdir(parents=True, exist_ok=True)
    resumed = (folder / "checkpoint.pt").is_file()
    training = Training.resume(folder, config) if resumed else Training.fresh(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training.network.to(device), training.averaged.to(device)
    for state in training.optimiser.state.values():
        state.update(
            {key: value.to(device) for key, value in state.items() if isinstance(value, Tensor) and value.ndim}
        )
    # Validation phantoms come from another stream and are made once; they are always whole.
    unseen = Patches(anatomies, replace(config, whole_from=0.0), seed=config.seed + 7919)
    validation: list[Sample] = []
    loader = DataLoader(
        Patches(anatomies, config, config.seed),
        batch_size=None,
        sampler=Steps(training.step, config.steps),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    started, before = time.monotonic(), training.seconds
    running: dict[str, float] = {}
    with (folder / "log.jsonl").open("a") as log:

        def note(line: Mapping[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()
            report(line)

        for sample in loader:
            losses = _train_step(training, sample, device)
            for key, value in losses.items():
                running[key] = value if key not in running else 0.98 * running[key] + 0.02 * value
            training.step += 1
            training.seconds = before + time.monotonic() - started
            if training.step % 20 == 0:
                note(
                    {
                        "step": training.step,
                        "seconds": round(training.seconds, 1),
                        **{k: round(v, 4) for k, v in running.items()},
                    }
                )
            if config.validation and training.step % config.validate_every == 0:
                validation = validation or [unseen[index] for index in range(config.validation)]
                note({"step": training.step, "validation": validate(training.averaged, validation, device)})
            out_of_time = budget is not None and time.monotonic() - started > budget
            if training.step % config.checkpoint_every == 0 or training.step == config.steps or out_of_time:
                training.save(folder)
            if out_of_time:
                break
    return training


def _train_step(training: Training, sample: Sample, device: torch.device) -> dict[str, float]:
    config, network = training.config, training.network
    for group in training.optimiser.param_groups:
        group["lr"] = learning_rate(config, training.step)
    network.train()
    # Dropout masks, the only randomness on the device, depend on the step as well.
    torch.manual_seed(config.seed * 1_000_003 + training.step)
    images, regions = sample.images[None].to(device), sample.regions[None].to(device).float()
    with torch.autocast(device.type, torch.bfloat16):
        output = network(images)
    logits, uncertainty = split(output, "regions")
    assert uncertainty is not None
    segmentation = region_loss(logits, regions)
    doubt = failure_loss(uncertainty, logits, regions)
    late = training.step >= config.late_from * config.steps
    loss = segmentation + (config.uncertainty_late if late else config.uncertainty_weight) * doubt
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), config.clip, error_if_nonfinite=True)
    training.optimiser.step()
    decay = min(config.average, (1 + training.step) / (10 + training.step))
    with torch.no_grad():
        for mean, value in zip(training.averaged.parameters(), network.parameters(), strict=True):
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
            reference = sample.regions[region]
            if int(reference.sum()) >= 125:
                overlap = 2 * float((predicted[region] & reference).sum())
                scores[region].append(overlap / float(predicted[region].sum() + reference.sum()))
    means = [float(np.mean(values)) if values else float("nan") for values in scores]
    return {name: round(mean, 4) for name, mean in zip(("WT", "TC", "ET"), means, strict=True)}
