"""The state of a training, and its checkpoint."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_uncseg.io.files import write_files
from napari_uncseg.models.heads import Head
from napari_uncseg.models.identity import PROVENANCE
from napari_uncseg.models.model import Model, load_model, output_channels
from napari_uncseg.models.unet import build_network, output_layer
from uncseg_training.train.config import Config, config_from, renamed

CHECKPOINT, LOG, SNAPSHOTS = "checkpoint.pt", "log.jsonl", "snapshots"

FREE = {"steps", "workers", "validate_every", "checkpoint_every", "validation", "decay", "whole_from", "late_from"}
FREE |= {"snapshots", "cycle", "restart", "cycle_average"}
"""What may change when a training is gone on with: where it runs, and the schedule of what has not come yet."""

_BEFORE = {"arch": "unet", "head": "regions", "false_negative_weight": 0.5}
"""What checkpoints were trained with that do not say so, for they are older than these keys."""

LOG_VARIANCE_AT_FIRST = -2.0
"""So that a Gaussian head begins as one of plain regions nearly does."""


@dataclass
class Training:
    """State of a training: what a checkpoint holds."""

    config: Config
    network: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    trained_on: tuple[str, ...] | None = None
    slots: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def fresh(cls, config: Config) -> Training:
        """Seeded weights, or those of the run to start from; uncertainty channels start at an error rate of 2 %.

        What a run with another head, or whose uncertainty channel learns something else, does not have stays fresh.

        Raises
        ------
        ValueError
            When the run to start from is absent, unfinished or of another network.
        ModelError
            When the network is MONAI's, which is not installed.
        """
        torch.manual_seed(config.seed)
        network, averaged = (
            build_network(config.plans(), config.inputs, output_channels(config.plans())) for _ in range(2)
        )
        _begin(network, Head(config.head))
        if config.start:
            # Not strict: the second names that nnU-Net gives its layers depend on whether it drops channels.
            network.load_state_dict(_start_of(config, network.state_dict()), strict=False)
        averaged.load_state_dict(network.state_dict())
        optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        return cls(config, network, averaged, optimiser)

    @classmethod
    def resume(cls, folder: Path, config: Config) -> Training:
        """Go on from a checkpoint.

        Raises
        ------
        ValueError
            When the checkpoint was made with another configuration, only what :data:`FREE` names may differ; or when it
            is damaged.
        """
        return cls._restored(folder, _checkpoint(folder), config)

    @classmethod
    def _restored(cls, folder: Path, state: Mapping[str, Any], config: Config) -> Training:
        check_same(folder, _BEFORE | renamed(state["config"]), asdict(config), FREE)
        training = cls.fresh(replace(config, start=""))
        training.config = config
        parts = ("network", "averaged", *(["optimiser"] if state["optimiser"] is not None else []))
        put_state(state, {name: getattr(training, name) for name in parts}, folder / CHECKPOINT)
        training.step, training.seconds = int(state["step"]), float(state["seconds"])
        training.slots = dict(state.get("slots", {}))
        training.trained_on = tuple(state["trained_on"]) if "trained_on" in state else None  # older ones do not say it
        return training

    @classmethod
    def of_run(cls, run: Path) -> Training:
        """A training as its run folder has it, whatever it was configured with.

        A model folder exported from a finished run stands for the run: its weights, rounded to half precision, without
        the optimiser.

        Raises
        ------
        ValueError
            When the folder holds no checkpoint, or a damaged one.
        """
        if not _stands(run):
            raise ValueError(f"{run} holds no {CHECKPOINT}; train it with uncseg-train fit -o {run}")
        state = _checkpoint(run)
        return cls._restored(run, state, config_from(state["config"]))

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "trained_on": list(self.patients()),
            "slots": self.slots,
        }
        save_state(state, folder / CHECKPOINT)

    def to(self, device: torch.device) -> None:
        """Move networks and optimiser."""
        self.network.to(device), self.averaged.to(device)
        for state in self.optimiser.state.values():
            moved = {key: value.to(device) for key, value in state.items() if isinstance(value, Tensor) and value.ndim}
            state.update(moved)

    def patients(self) -> tuple[str, ...]:
        """Cases of a cohort that the weights have seen, those of the run it started from among them."""
        if self.trained_on is not None:
            return self.trained_on
        config, seen = self.config, set[str]()
        if config.cases:
            from uncseg_training.data.cases import Cases

            seen |= set(Cases.open(Path(config.cases), config).split(config.folds, config.fold, config.splits)[0])
        if config.start:
            seen |= set(Training.of_run(Path(config.start)).patients())
        self.trained_on = tuple(sorted(seen))
        return self.trained_on

    def model(self) -> Model:
        """The averaged network as a model to save; it names the studies it was trained on."""
        provenance = {
            "trained_by": "uncseg-train fit",
            "config": asdict(self.config),
            "step": self.step,
            "hours": round(self.seconds / 3600, 3),
            "torch": torch.__version__,
            "trained_on": list(self.patients()),
        }
        return Model(self.averaged, self.config.plans(), provenance=provenance, name=self.config.name)


def check_same(folder: Path, trained: Mapping[str, Any], config: Mapping[str, Any], free: Set[str]) -> None:
    """Refuse to go on with a training under another configuration; free keys may differ, and keys that came later."""
    for key, value in config.items():
        if key not in free and (found := trained.get(key, value)) != value:
            raise ValueError(f"{folder} was trained with {key} = {found}, not {value}; take another folder.")


def _begin(network: nn.Module, head: Head) -> None:
    """Let a fresh network begin with few tumours, little noise of its logits and few errors."""
    rare = math.log(0.02 / 0.98)
    bias = output_layer(network).bias
    assert bias is not None
    with torch.no_grad():
        bias[head.channels :] = rare
        bias[:3] = -3.0
        if head is Head.REGIONS_GAUSSIAN:
            bias[3:6] = LOG_VARIANCE_AT_FIRST
        if head is Head.REGIONS_AUXILIARY:
            network.get_parameter("decoder.auxiliary.output.bias").fill_(rare)


def _start_of(config: Config, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the run to start from; of output layers that are not the same the three rows of the regions."""
    before = _checkpoint(Path(config.start))["config"] if _stands(Path(config.start)) else {}
    same = all(before.get(key, _BEFORE.get(key)) == getattr(config, key) for key in ("head", "uncertainty"))
    if same or config.arch != "unet" or before.get("head", "regions") != "regions":
        return weights_of(Path(config.start), config)
    told = {"head": "regions", "uncertainty": before.get("uncertainty", "failure"), "cases": config.cases or "any"}
    weights = weights_of(Path(config.start), replace(config, **told))
    return {
        name: torch.cat([weights[name][:3], own[3:]]) if "seg_layers" in name else weights[name]
        for name, own in fresh.items()
        if name in weights
    }


def weights_of(run: Path, config: Config, use: str = "starts from") -> dict[str, Tensor]:
    """Averaged weights of a finished run whose network has the same parameters."""
    if not _stands(run):
        raise ValueError(f"{config.name} {use} {run}, which is not there; train that run first (docs/training.md).")
    state = _checkpoint(run)
    before = state["config"]
    if state["step"] < before["steps"]:
        raise ValueError(f"{config.name} {use} {run}, which stands at step {state['step']}; finish that run first.")
    for key in ("arch", "head", "features", "encoder", "decoder"):
        if tuple(before.get(key, _BEFORE.get(key))) != tuple(getattr(config, key)):
            raise ValueError(f"{config.name} {use} {run}, whose network differs ({key}).")
    if (before.get("uncertainty") == "none") != (config.uncertainty == "none"):
        raise ValueError(f"{config.name} {use} {run}, whose network differs: only one has a channel of uncertainty.")
    averaged: dict[str, Tensor] = state["averaged"]
    return averaged


def put_state(state: Mapping[str, Any], parts: Mapping[str, Any], path: Path) -> None:
    """Give networks and optimisers, by name, what a checkpoint holds for them.

    Raises
    ------
    ValueError
        When it holds something else: it is damaged, or of another network.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} does not fit the network of its configuration; take another run.") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote.

    Raises
    ------
    ValueError
        When the file is absent, damaged or something else.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; train that run again, in another folder.") from None
    except Exception:  # what PyTorch raises depends on the bytes that it finds
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} is damaged or of something else; take it away and run the training again.")
    return state


def _stands(run: Path) -> bool:
    """Whether a folder holds a run, or a model that was exported from one."""
    return (run / CHECKPOINT).is_file() or (run / PROVENANCE).is_file()


def _checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run, complete; of an exported model what stays of it."""
    if not (folder / CHECKPOINT).is_file():
        return _exported(folder)
    state = load_state(folder / CHECKPOINT)
    if not {"config", "network", "averaged", "optimiser", "step", "seconds"} <= set(state):
        raise ValueError(f"{folder / CHECKPOINT} is no checkpoint of uncseg-train fit; take another folder.")
    return state


def _exported(folder: Path) -> dict[str, Any]:
    model = load_model(folder)
    try:
        known = {key: model.provenance[key] for key in ("step", "trained_on")}
        known["config"] = asdict(config_from(model.provenance["config"]))
        seconds = 3600 * float(model.provenance["hours"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder} was not exported from a run of uncseg-train fit; name the run.") from error
    weights = model.network.state_dict()
    return known | {"seconds": seconds, "network": weights, "averaged": weights, "optimiser": None}


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Take an empty log, and the folders that were made for it, away again when a training is refused."""
    new = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        yield
    except Exception:
        log = folder / LOG
        if log.is_file() and not log.stat().st_size:
            log.unlink(missing_ok=True)
        for part in new:
            try:
                part.rmdir()
            except OSError:  # something is in it, or it was never made
                break
        raise


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write whole or not at all; SaveError when the disk cannot take it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_files({path: buffer.getvalue()})
