"""The light trainer: endless phantoms in, a model folder out. One file that reads top to bottom.

Everything random depends on the seed and the step alone, so a training that was killed goes on as if it had not been:
the checkpoint holds weights, their running average, the optimiser and the step, and the next phantom is the one of
that step. On a processor it ends with the same bits. On a GPU it goes on with the same phantoms, up to rounding, but
not with the same bits: the order in which a GPU adds is its own. Started by ``torchrun``, every process trains on
phantoms of its own and gradients are averaged. Phantoms and training need torch, numpy and the one file of anatomies,
nothing else, so that a bare machine with a GPU will do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from napari_uncseg.models.heads import Head, split
from uncseg_training.data.patches import Indices, Patches, Sample, stack, whole_case
from uncseg_training.train.config import Config
from uncseg_training.train.head_losses import auxiliary_loss, gaussian_region_loss
from uncseg_training.train.losses import failure_loss, region_loss
from uncseg_training.train.precision import autocast, training_precisions
from uncseg_training.train.processes import Process, agreed, joined, meet
from uncseg_training.train.schedule import cycles, learning_rate, update_average
from uncseg_training.train.state import CHECKPOINT, LOG, SNAPSHOTS, Training, save_state

if TYPE_CHECKING:
    from uncseg_training.data.cases import Cases
    from uncseg_training.train.targets import Targets


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
    cases, names, held_out, phantoms = _cohort(config)
    targets = (
        _targets(folder, config, cases, process, training.step == 0) if config.uncertainty == "error_map" else None
    )
    # Without deep supervision the lower output layers of nnU-Net's decoder stay unused.
    together = DistributedDataParallel(training.network, find_unused_parameters=True) if process.world > 1 else None
    trained: nn.Module = together or training.network
    if targets is not None:
        trained = targets.wrapped(trained, training.network)
    makes_phantoms = process.device if config.workers == 0 else "cpu"
    # Cases that are held out, or phantoms of another stream, which are made once; they are always whole.
    plain = replace(config, whole_from=0.0, augment=False, reuse=1)
    unseen, validation = Patches(anatomies, plain, config.seed + 7919, makes_phantoms), list[Sample]()
    samples = Patches(
        anatomies, config, config.seed, makes_phantoms, config.batch * process.world, cases, names, phantoms
    )
    learns = None if targets is None else (targets, samples)
    loader = DataLoader(
        samples,
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

        def sweep() -> None:
            due = training.step % max(1, config.steps // config.sweeps) == 0
            if targets is None or not due or not training.step or training.step < config.late_from * config.steps:
                return
            if process.leads:
                # From here on a killed training comes back to this step: before it, maps would be ahead of the weights.
                training.save(folder)
                swept = targets.sweep(training.network, training.step, process.device)
                note({"step": training.step, "swept": len(swept)})
            meet(process)

        sweep()
        for sample in loader:
            losses = _train_step(training, trained, sample, process.device, learns)
            for key, value in losses.items():
                running[key] = value if key not in running else 0.98 * running[key] + 0.02 * value
            training.step += 1
            training.seconds = before + time.monotonic() - started
            step = training.step
            if step % 20 == 0 or step == config.steps:
                rounded = {key: round(value, 4) for key, value in running.items()}
                note({"step": step, "of": config.steps, "seconds": round(training.seconds, 1), **rounded})
            if process.leads and config.validation and step % config.validate_every == 0:
                validation = validation or (
                    [held_out_sample(cases, name, config) for name in held_out[: config.validation]]
                    if cases is not None and held_out
                    else [unseen[index] for index in range(config.validation)]
                )
                note({"step": step, **validate(training.averaged, validation, process.device, config.head)})
            if process.leads and step in ends:
                (folder / SNAPSHOTS).mkdir(exist_ok=True)
                save_state(training.averaged.state_dict(), folder / SNAPSHOTS / f"{ends.index(step) + 1}.pt")
            stop = budget is not None and agreed(time.monotonic() - started > budget, process)
            if process.leads and (step % config.checkpoint_every == 0 or step == config.steps or stop):
                training.save(folder)
            sweep()
            if stop:
                break
    return training


def _cohort(config: Config) -> tuple[Cases | None, tuple[str, ...], tuple[str, ...], Cases | None]:
    """The fixed cohort, the cases to train on and those held out, and phantoms that are not made on the spot."""
    if not config.cases and not config.phantoms:
        return None, (), (), None
    from uncseg_training.data.cases import Cases

    phantoms = Cases.open(Path(config.phantoms), config) if config.phantoms else None
    if not config.cases:
        return None, (), (), phantoms
    cases = Cases.open(Path(config.cases), config)
    return cases, *cases.split(config.folds, config.fold, config.splits), phantoms


def _targets(folder: Path, config: Config, cases: Cases | None, process: Process, begins: bool) -> Targets:
    from uncseg_training.train.targets import Targets

    assert cases is not None  # the configuration was refused otherwise
    if process.leads:
        Targets.of_run(folder, config, cases, begins=begins)
    meet(process)
    return Targets.of_run(folder, config, cases, begins=False)


def _train_step(
    training: Training,
    trained: nn.Module,
    sample: Sample,
    device: torch.device,
    learns: tuple[Targets, Patches] | None = None,
) -> dict[str, float]:
    """One step of the optimiser and of the running average; the losses it was taken at."""
    config, step = training.config, training.step
    for group in training.optimiser.param_groups:
        group["lr"] = learning_rate(config, step)
    training.network.train()
    images, regions = sample.images.to(device), sample.regions.to(device).float()
    named: dict[str, Tensor] = {}
    # A processor's bfloat16 convolutions now and then give a tiny grid a gradient that is not finite (seen with
    # torch 2.13 on AVX-512): that step is taken once more in float32.
    for precision in training_precisions(device):
        # Dropout masks and samples of logits, the only randomness on the device, depend on the step as well.
        torch.manual_seed(config.seed * 1_000_003 + step)
        with autocast(device, precision):
            output = trained(images)
        # What a step adds to the maps of places of the batch counts once, however often the step is taken.
        slots = dict(training.slots)
        loss, named = _loss(output, regions, sample, config, step, learns, slots)
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        last = precision == torch.float32
        norm = nn.utils.clip_grad_norm_(training.network.parameters(), config.clip, error_if_nonfinite=last)
        if bool(torch.isfinite(norm)):
            break
    training.optimiser.step()
    training.slots = slots
    average = config.average if step < cycles(config)[0] else config.cycle_average
    update_average(training.averaged, training.network, average, step)
    return {name: float(value.detach()) for name, value in named.items()}


def _loss(
    output: Tensor | tuple[Tensor, Tensor],
    regions: Tensor,
    sample: Sample,
    config: Config,
    step: int,
    learns: tuple[Targets, Patches] | None,
    slots: dict[str, Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a step, and its parts by name."""
    if learns is not None:
        targets, samples = learns
        return targets.loss(output, regions, sample, samples.bent, slots)
    assert isinstance(output, Tensor)  # nothing is wrapped without error maps
    return _plain_loss(output, regions, config, step)


def _plain_loss(output: Tensor, regions: Tensor, config: Config, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Segmentation, and the failure of this very pass where the network has channels for it."""
    head = Head(config.head)
    found, uncertainty = split(output, head)
    logits = found[:, :3]
    if head is Head.REGIONS_GAUSSIAN:
        segmentation = gaussian_region_loss(logits, found[:, 3:], regions, config.samples)
    else:
        segmentation = region_loss(logits, regions, config.false_negative_weight)
    if uncertainty is None:
        return segmentation, {"segmentation": segmentation}
    failure = auxiliary_loss if head is Head.REGIONS_AUXILIARY else failure_loss
    doubt = failure(uncertainty, logits, regions)
    late = step >= config.late_from * config.steps
    weight = config.uncertainty_late if late else config.uncertainty_weight
    return segmentation + weight * doubt, {"segmentation": segmentation, "uncertainty": doubt}


def held_out_sample(cases: Cases, name: str, config: Config) -> Sample:
    """A case that is held out: whole, or of a second stage the patch round the middle of the tumour."""
    sample = whole_case(cases, name)
    if not config.previous_stage:
        return sample
    places = (sample.regions[0] if sample.regions[0].any() else sample.images[:4].abs().sum(0) > 0).nonzero()
    window = [slice(None)]
    for middle, size, total in zip(places.float().mean(0).tolist(), config.patch, config.volume, strict=True):
        start = min(max(round(middle) - size // 2, 0), total - size)
        window.append(slice(start, start + size))
    return Sample(sample.images[tuple(window)].contiguous(), sample.regions[tuple(window)].contiguous())


@torch.no_grad()
def validate(
    network: nn.Module, samples: list[Sample], device: torch.device, head: Head | str = Head.REGIONS
) -> dict[str, Any]:
    """Dice per region of each sample in which it has at least 125 voxels (1 mL at 2 mm), and their means."""
    network.eval()
    each: list[list[float | None]] = []
    for sample in samples:
        with autocast(device):
            output = network(sample.images[None].to(device))
        predicted = split(output, head)[0][0, :3].float().cpu() > 0
        scores: list[float | None] = []
        for region in range(3):
            reference = sample.regions[region].cpu()
            overlap = 2 * float((predicted[region] & reference).sum())
            size = float(predicted[region].sum() + reference.sum())
            scores.append(round(overlap / size, 4) if int(reference.sum()) >= 125 else None)
        each.append(scores)
    known = [[score for score in scores if score is not None] for scores in zip(*each, strict=True)]
    means = [round(float(np.mean(values)), 4) if values else float("nan") for values in known]
    return {"validation": dict(zip(("WT", "TC", "ET"), means, strict=True)), "each": each}
