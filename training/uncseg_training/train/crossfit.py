"""Teach the uncertainty channel alone, on failures of networks that never saw the case.

A network fails less on what it was trained with than on what it will meet, so a channel that learns from its training
cases is too sure of itself. For a fixed cohort the errors here are those of the networks of the other folds; fresh
phantoms are unseen by nature. The backbone is frozen: only the last layer's row of the uncertainty channel changes, and
the segmentation stays what it was, to the bit.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.inference.device import resolve_device
from napari_uncseg.labels import labels_from_regions
from napari_uncseg.models.heads import Head, split
from napari_uncseg.models.model import Model, save_model
from napari_uncseg.models.unet import output_layer
from napari_uncseg.uncertainty.measures import compute_prediction_failure
from uncseg_training.data.case_manifest import MANIFEST, Manifest
from uncseg_training.data.cases import Cases
from uncseg_training.data.patches import Patches, whole_case
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.train.losses import failure_loss
from uncseg_training.train.precision import autocast
from uncseg_training.train.state import SNAPSHOTS, Training, load_state, put_state
from uncseg_training.train.targets import predict_case


@dataclass(frozen=True)
class Example:
    """Whole studies and where networks that never saw them failed.

    Parameters
    ----------
    images : Tensor of float32, shape (batch, 4, x, y, z)
        z-scores.
    regions : Tensor of float32, shape (batch, 3, x, y, z)
        Reference.
    error : Tensor of float32, shape (batch, 1, x, y, z), optional
        Error probability, 0..1; the failure of the pass itself when left out, for studies that are new.
    """

    images: Tensor
    regions: Tensor
    error: Tensor | None = None


def out_of_fold_errors(
    cases: Cases, runs: Sequence[Path], folder: Path, device: torch.device, tell: Callable[[str], None] = lambda _: None
) -> ErrorMaps:
    """Error maps of a cohort, every case judged by the run of the fold that held it out.

    Parameters
    ----------
    cases : Cases
        The cohort.
    runs : sequence of Path
        Finished runs, one per fold, on these cases. Each of their snapshots is a visit.
    folder : Path
        Takes the maps; cases that are there already are not predicted again, unless a run was trained anew since.
    device : torch.device
        Where to predict.
    tell : callable
        Told the name of each case that is done.

    Returns
    -------
    ErrorMaps

    Raises
    ------
    ValueError
        When a run is of other cases, unfinished, or the runs are not all folds of one split.
    """
    trainings = [_finished_on(run, cases) for run in runs]
    folds = [training.config.fold for training in trainings]
    if sorted(folds) != list(range(len(runs))) or any(t.config.folds != len(runs) for t in trainings):
        raise ValueError(f"The runs are folds {folds}; give every fold of one split, each once.")
    identity = {
        "runs": [training.model().name for training in trainings],
        "folds": len(runs),
        "weights": [_fingerprint(training.averaged) for training in trainings],
    }
    shapes = {name: cases.labels(name).shape for name in cases.names}
    known = Manifest.read(folder).settings if (folder / MANIFEST).is_file() else {}
    if known.get("runs") == identity["runs"] and known.get("weights") != identity["weights"]:
        shutil.rmtree(folder)  # the runs were trained anew: their errors are others
    if (folder / MANIFEST).is_file():
        maps = ErrorMaps.open(folder, cases.preprocessing, settings=identity)
    else:
        maps = ErrorMaps.create(folder, shapes, cases.preprocessing, settings=identity)
    for run, training in zip(runs, trainings, strict=True):
        _, held_out = cases.split(training.config.folds, training.config.fold, training.config.splits)
        for visit, network in enumerate(networks_of(run, training)):
            network.to(device).eval()
            for name in held_out:
                epoch = maps.store.cases[name].epoch
                if epoch is not None and epoch >= visit:
                    continue
                probabilities = predict_case(network, cases, name, device)[:3]
                labels = labels_from_regions(probabilities.numpy())
                failure = compute_prediction_failure(labels, cases.labels(name))
                maps.update(name, failure.astype(bool), visit)
                tell(name)
    return maps


def _fingerprint(network: nn.Module) -> str:
    """Hash of the weights of a network."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def teach_run(
    run: Path, out: Path, folds: Sequence[Path], steps: int, anatomies: Path, tell: Callable[[str], None]
) -> Model:
    """Teach the uncertainty channel of a finished run, and write the model.

    Parameters
    ----------
    run : Path
        Finished.
    out : Path
        Model folder to write.
    folds : sequence of Path
        Runs of every fold of its cohort, whose errors are learnt; without any, the run's own failures on phantoms of
        a stream it never saw.
    steps : int
        Whole volumes to learn from.
    anatomies : Path
        File of :func:`uncseg_training.phantom.anatomy.save_anatomies`, for phantoms.
    tell : callable
        Told what goes on.

    Raises
    ------
    ValueError
        When a run is unfinished, or the runs do not belong together.
    """
    device = resolve_device("auto")
    training = _finished(run)
    config = training.config
    if config.arch != "unet" or config.head != "regions":
        raise ValueError(
            f"{run} is a {config.arch} with the head {config.head}; a channel is taught alone in a unet with regions."
        )
    if folds and not config.cases:
        raise ValueError(f"{run} was trained on fresh phantoms and has no folds; leave out --fold.")
    if folds:
        cases = Cases.open(Path(config.cases), config)
        errors = out_of_fold_errors(cases, folds, run / OUT_OF_FOLD, device, tell)
        examples = examples_of_cases(
            cases, cases.split(config.folds, config.fold, config.splits)[0], errors, steps, config.seed
        )
    else:
        plain = replace(config, whole_from=0.0, augment=False, cases="", folds=0, uncertainty="failure")
        examples = examples_of_phantoms(Patches(anatomies, plain, config.seed + HEAD_SEED), steps)
    teach_uncertainty(training.averaged, examples, device, report=lambda step, loss: tell(f"{step}: {loss:.4f}"))
    training.averaged.cpu()
    model = training.model()
    taught = {"uncertainty_taught": {"steps": steps, "on": [fold.name for fold in folds] or "fresh phantoms"}}
    return save_model(replace(model, provenance={**model.provenance, **taught}), out, half=True)


OUT_OF_FOLD = "out_of_fold"

HEAD_SEED = 15_485_863
"""Added to the seed of a run for the phantoms its channel is taught on."""


def networks_of(run: Path, training: Training) -> Iterator[nn.Module]:
    """The snapshots of a run that come before its end, then the network itself."""
    final = {key: value.clone() for key, value in training.averaged.state_dict().items()}
    for number in range(1, training.config.snapshots):
        path = run / SNAPSHOTS / f"{number}.pt"
        put_state({"averaged": load_state(path)}, {"averaged": training.averaged}, path)
        yield training.averaged
    training.averaged.load_state_dict(final)
    yield training.averaged


def examples_of_cases(
    cases: Cases, names: Sequence[str], errors: ErrorMaps, steps: int, seed: int
) -> Iterator[Example]:
    """Whole cases with their error maps, every case once in each round."""
    for step in range(steps):
        turn, place = divmod(step, len(names))
        name = names[int(np.random.default_rng((seed, turn)).permutation(len(names))[place])]
        sample, found = whole_case(cases, name), errors.read(name)
        error = torch.from_numpy(np.nan_to_num(found.error))
        yield Example(sample.images[None], sample.regions[None].float(), error[None])


def examples_of_phantoms(samples: Patches, steps: int, first: int = 0) -> Iterator[Example]:
    """Phantoms that no training has seen, by number."""
    for index in range(first, first + steps):
        sample = samples[index]
        yield Example(sample.images[None], sample.regions[None].float())


def teach_uncertainty(
    network: nn.Module,
    examples: Iterable[Example],
    device: torch.device,
    *,
    learning_rate: float = 0.02,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> None:
    """Learn the uncertainty channel's row of the output layer by cross-entropy; nothing else changes.

    Parameters
    ----------
    network : Module
        nnU-Net's, with a head of regions and one channel more; its output layer is changed in place.
    examples : iterable of Example
        One step each.
    device : torch.device
        Where to learn.
    learning_rate : float
        Of Adam.
    report : callable
        Told step and loss.

    Raises
    ------
    ValueError
        When the network has no uncertainty channel.
    """
    layer = output_layer(network)
    if layer.out_channels != Head.REGIONS.channels + 1:
        raise ValueError("The network has no uncertainty channel; train one with it.")
    network.to(device).eval()
    row = Head.REGIONS.channels
    weight = layer.weight[row:].detach().clone().requires_grad_()
    assert layer.bias is not None  # nnU-Net's output layers have one
    bias = layer.bias[row:].detach().clone().requires_grad_()
    features: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    optimiser = torch.optim.Adam((weight, bias), learning_rate)
    try:
        for step, example in enumerate(examples):
            regions = example.regions.to(device)
            with torch.no_grad(), autocast(device):
                features.clear()
                output = network(example.images.to(device))
            logits = split(output, Head.REGIONS)[0].float()
            doubt = F.conv3d(features.pop().float(), weight, bias)
            error = None if example.error is None else example.error.to(device)
            value = failure_loss(doubt, logits, regions, error=error)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            report(step + 1, float(value.detach()))
    finally:
        hook.remove()
    with torch.no_grad():
        layer.weight[row:] = weight
        layer.bias[row:] = bias


def _finished(run: Path) -> Training:
    training = Training.of_run(run)
    steps = training.config.steps
    if training.step < steps:
        raise ValueError(f"{run} stands at step {training.step} of {steps}; finish that run first.")
    return training


def _finished_on(run: Path, cases: Cases) -> Training:
    training = _finished(run)
    config = training.config
    if not config.cases or Cases.open(Path(config.cases), config).preprocessing != cases.preprocessing:
        raise ValueError(f"{run} was trained on other cases than {cases.folder}; take runs of this cohort.")
    return training
