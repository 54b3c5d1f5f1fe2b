"""Configurations of the light trainer: all that decides a training, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from uncseg_training.phantom.appearance_priors import RETIRED, appearance_prior
from uncseg_training.train.architectures import ARCHES, DROPOUT, architecture, divisor, fitting
from uncseg_training.train.config_limits import LIMITS, check_type

HEADS = ("regions", "regions_gaussian", "regions_auxiliary")
"""What a network answers with, see :class:`napari_uncseg.models.heads.Head`."""

CONFIGS = Path(__file__).parents[1] / "configs"


class Channel(StrEnum):
    """How the uncertainty channel learns an error map.

    ``paper``: by the paper's loss. ``detached``: by the same, whose gradient ends at the features that the channel is
    made of. ``crossentropy``: by the cross-entropy of its logit with the error. ``published``: as public code of the
    paper's functions does, see :mod:`uncseg_training.paper1.published`.
    """

    PAPER = "paper"
    DETACHED = "detached"
    CROSSENTROPY = "crossentropy"
    PUBLISHED = "published"


RENAMED: Mapping[str, str] = {"looks": "appearance_prior", "misses": "false_negative_weight"}
"""Keys of older runs, and what they are called now."""


@dataclass(frozen=True)
class Config:
    """All that decides a training.

    Parameters
    ----------
    name : str
        What the model will be called.
    seed : int
        Of weights, phantoms and patches.
    start : str
        Run folder whose averaged weights to start from; fresh weights when empty.
    steps : int
        Optimiser steps in all.
    batch : int
        Patches per step and process.
    learning_rate : float
        Constant after the warm-up, then linear to 0 over ``decay`` of the steps.
    warmup : int
        Steps to reach it.
    decay : float
        Fraction of the steps.
    snapshots : int
        Networks to keep of one run: the first at the end of the decay, each further one after a cycle that starts again
        at ``restart`` of the learning rate (Huang et al., "Snapshot ensembles", ICLR 2017).
    cycle, restart : float
        Fraction of the steps of one such cycle, and fraction of the learning rate.
    weight_decay, clip : float
        Of AdamW, and the largest gradient norm.
    average, cycle_average : float
        Decay per step of the running average of the weights, and within a cycle, which must forget the last snapshot.
    uncertainty_weight, uncertainty_late, late_from : float
        Weight of the loss of the uncertainty channel at first, and after that fraction of the steps: the failures of a
        network that has learnt little are not worth learning. Error maps begin there.
    spacing : float
        Voxel size in millimetres.
    volume, patch : tuple of int
        Grid of a phantom and of the training patch in voxels.
    whole_from : float
        Fraction of the steps after which whole phantoms are trained on instead of patches.
    arch : str
        One of :data:`~uncseg_training.train.architectures.ARCHES`; all but ``unet`` need MONAI.
    head : str
        One of :data:`HEADS`. ``regions_gaussian`` says a mean and a variance of each logit, ``regions_auxiliary`` has a
        branch that learns the error of each region, in place of the uncertainty channel.
    samples : int
        Samples of Gaussian logits in the loss.
    false_negative_weight : float
        Weight of what is missed in the loss of the regions, what is false weighs the rest to 1; see
        :func:`~uncseg_training.train.losses.region_loss`.
    features, encoder, decoder : tuple of int
        Channels per stage and convolutions per stage, see :func:`~uncseg_training.train.architectures.architecture`.
    dropout : float
        Probability of dropping a channel, 0 for none.
    wide : float
        Probability of an unusual contrast per modality.
    augment : bool
        Shake the z-scores of a phantom, and lose a modality now and then.
    augmentation : {"light", "strong"}
        What is done to cases when ``augment`` is on: as to endless phantoms, or
        :class:`~uncseg_training.data.augmentation.Augmentation`.
    appearance_prior : str
        Which ranges tumours are drawn from, see :data:`~uncseg_training.phantom.appearance_priors.APPEARANCE_PRIORS`.
    reuse : int
        How many phantoms in a row share head and tumour and differ in appearance.
    cases : str
        Folder of a fixed cohort (:mod:`uncseg_training.data.cases`) to train on instead of endless phantoms.
    share : float
        Probability that a sample comes from there, and not from the phantoms.
    phantoms : str
        Folder of phantoms, written as cases, to draw from in the place of endless ones.
    splits : str
        File of the folds (nnU-Net's ``splits_final.json``), or ``gliomas`` for those of the release network; without it
        the cohort is split at random.
    folds, fold : int
        Into how many parts the cohort is split, and which of them is never trained on; 0 folds train on all, 1 would on
        none.
    previous_stage : str
        Folder of a previous stage's probabilities of all cases and phantoms, which the network sees beside the images
        (:mod:`uncseg_training.data.previous_stage`).
    without_previous : float
        Share of samples that lack these probabilities, so that the network can disagree with them.
    uncertainty : {"failure", "error_map", "none"}
        What the uncertainty channel learns: the failure of each pass itself; the moving average of the failure at each
        voxel of a fixed cohort, with the loss of *Uncertainty-Aware nnU-Net*; nothing, when there is no such channel.
    channel : str
        How the channel learns an error map, one of :class:`Channel`.
    mask : str
        Where that loss compares the two, see :class:`~uncseg_training.paper1.paper_losses.Mask`.
    sweeps : int
        The error maps of all cases are refreshed every ``steps / sweeps`` steps, from ``late_from`` on: of 20 sweeps
        that begin at 0.4 of the steps there are 13.
    workers : int
        Processes that make phantoms; with 0 they are made where the network is trained, on its device. Batches are
        dealt to them in turn: with several, ``reuse`` saves time only where ``batch`` is a multiple of it.
    validate_every, checkpoint_every : int
        In steps.
    validation : int
        Number of fixed phantoms to validate on.
    """

    name: str = "phantom"
    seed: int = 1
    start: str = ""
    steps: int = 4000
    batch: int = 1
    learning_rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.3
    snapshots: int = 1
    cycle: float = 0.04
    restart: float = 0.4
    weight_decay: float = 1e-4
    clip: float = 2.0
    average: float = 0.995
    cycle_average: float = 0.98
    uncertainty_weight: float = 0.3
    uncertainty_late: float = 1.0
    late_from: float = 0.4
    spacing: float = 2.0
    volume: tuple[int, int, int] = (80, 96, 80)
    patch: tuple[int, int, int] = (64, 80, 64)
    whole_from: float = 0.7
    arch: str = "unet"
    head: str = "regions"
    samples: int = 10
    false_negative_weight: float = 0.5
    features: tuple[int, ...] = (16, 32, 64, 96, 112)
    encoder: tuple[int, ...] = (1, 2, 2, 2, 2)
    decoder: tuple[int, ...] = (1, 2, 2, 1)
    dropout: float = 0.0
    wide: float = 0.2
    appearance_prior: str = "clinical"
    augment: bool = True
    augmentation: str = "light"
    reuse: int = 2
    cases: str = ""
    share: float = 1.0
    phantoms: str = ""
    splits: str = ""
    folds: int = 0
    fold: int = 0
    previous_stage: str = ""
    without_previous: float = 0.0
    uncertainty: str = "failure"
    channel: str = "paper"
    mask: str = "union_dilated"
    sweeps: int = 20
    workers: int = 1
    validate_every: int = 500
    checkpoint_every: int = 100
    validation: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            check_type(field.name, str(field.type), getattr(self, field.name))
        for key, (low, high) in LIMITS.items():
            value = getattr(self, key)
            if not low <= value <= high:
                least = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
                raise ValueError(f"{key} is {value:g}; take {least}.")
        if self.spacing <= 0 or self.dropout == 1 or min(self.features, default=0) < 1:
            raise ValueError("spacing and features must be above 0, and dropout below 1.")
        if self.appearance_prior not in RETIRED:
            appearance_prior(self.appearance_prior)
        if self.arch == "unet" and not len(self.features) == len(self.encoder) == len(self.decoder) + 1:
            raise ValueError(
                "features and encoder have one number per stage, decoder one less; mend the configuration."
            )
        if self.whole_from > 0 and any(a > b for a, b in zip(self.patch, self.volume, strict=True)):
            raise ValueError(f"The patch {self.patch} is larger than the volume {self.volume}; make it smaller.")
        if self.uncertainty not in ("failure", "error_map", "none"):
            raise ValueError(f"uncertainty is {self.uncertainty}; take failure, error_map or none.")
        if self.augmentation not in ("light", "strong"):
            raise ValueError(f"augmentation is {self.augmentation}; take light or strong.")
        if self.channel not in tuple(Channel):
            raise ValueError(f"channel is {self.channel}; take one of {', '.join(Channel)}.")
        if self.splits and not self.folds:
            raise ValueError("splits names folds, but folds is 0; say how many there are.")
        if self.previous_stage and not (self.cases and (self.share >= 1 or self.phantoms)):
            raise ValueError("A previous stage knows cases, not endless phantoms; give cases, and phantoms or share 1.")
        if self.uncertainty == "error_map" and not self.cases:
            raise ValueError("An error map belongs to a case that comes back: give cases.")
        if self.steps - (self.snapshots - 1) * self.cycle_steps < 1:
            raise ValueError(
                f"steps is {self.steps}, too few for {self.snapshots} snapshots with a cycle of {self.cycle:g}; "
                "take more steps, fewer snapshots or a shorter cycle."
            )
        if self.folds == 1:
            raise ValueError("folds is 1, which leaves nothing to train on; take 0 or at least 2.")
        if self.folds and not (self.cases and 0 <= self.fold < self.folds):
            raise ValueError(f"There is no fold {self.fold} of {self.folds}; give cases and a fold from 0.")
        if self.arch not in ARCHES:
            raise ValueError(f"arch is {self.arch}; take one of {', '.join(ARCHES)}.")
        unit = divisor(self.arch, len(self.features))
        for what, sizes in (("volume", self.volume), ("patch", self.patch)):
            used = what == "volume" or self.whole_from > 0
            if used and fitting(sizes, unit) != tuple(sizes):
                raise ValueError(f"The {what} {sizes} does not fit {self.arch}; take multiples of {unit}.")
        if self.head not in HEADS:
            raise ValueError(f"head is {self.head}; take one of {', '.join(HEADS)}.")
        if self.head != "regions" and self.uncertainty == "error_map":
            raise ValueError(f"An error map is learnt by the uncertainty channel of the head regions, not {self.head}.")
        if self.false_negative_weight != 0.5 and (self.head == "regions_gaussian" or self.uncertainty == "error_map"):
            raise ValueError(
                "false_negative_weight belongs to the plain loss of the regions; leave it at 0.5 for this one."
            )
        if self.head == "regions_auxiliary" and (self.arch != "unet" or self.uncertainty != "failure"):
            raise ValueError("The head regions_auxiliary learns failures on the features of the unet; take these two.")

    @property
    def inputs(self) -> int:
        """Channels that the network sees: four modalities, and three probabilities of a previous stage."""
        return 4 + 3 * bool(self.previous_stage)

    @property
    def cycle_steps(self) -> int:
        """Steps from one snapshot to the next."""
        return max(1, round(self.cycle * self.steps))

    def with_arch(self, arch: str) -> Config:
        """The same training of another network: from fresh weights, with dropout, on a grid that fits it.

        Raises
        ------
        ValueError
            When there is no such network.
        """
        if arch == self.arch:
            return self
        if arch not in ARCHES:
            raise ValueError(f"There is no network {arch}; take one of {', '.join(ARCHES)}.")
        unit = divisor(arch, len(self.features))
        volume, patch = fitting(self.volume, unit), fitting(self.patch, unit)
        return replace(
            self,
            name=f"{self.name}-{arch}",
            arch=arch,
            start="",
            dropout=self.dropout if arch == "unet" else self.dropout or DROPOUT,
            volume=volume,
            # In a single cell of its coarsest grid a network has nothing to normalise.
            patch=volume if max(patch) == unit else patch,
        )

    def plans(self) -> dict[str, Any]:
        """The training as nnU-Net plans, from which the network can be rebuilt."""
        per_region = self.head == "regions_auxiliary"
        return {
            "dataset_name": "phantoms",
            "plans_name": "uncseg",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {
                "3d_fullres": {
                    "patch_size": list(self.volume),
                    "spacing": [self.spacing] * 3,
                    "batch_size": 1,
                    "normalization_schemes": ["ZScoreNormalization"] * 4,
                    "use_mask_for_norm": [True] * 4,
                    "architecture": architecture(self.arch, self.features, self.encoder, self.decoder, self.dropout),
                }
            },
            "uncseg": {
                "head": self.head,
                "uncertainty_channels": 3 if per_region else int(self.uncertainty != "none"),
                "orientation": "RAS",
                **({"previous_stage": True} if self.previous_stage else {}),
            },
        }


def read_config(source: str | Path, **changes: Any) -> Config:
    """Configuration by name (``smoke``, ``cpu``) or from a YAML file, with changes on top.

    Raises
    ------
    ValueError
        When the file is absent, is not YAML, or holds an unknown key or a value of the wrong kind.
    """
    import yaml

    path = Path(source) if Path(source).suffix in {".yaml", ".yml"} else CONFIGS / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in CONFIGS.glob("*.yaml")))
        raise ValueError(f"There is no configuration {source}; known are {known}, or give a YAML file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise ValueError(f"{path} is not YAML{where}; write one 'key: value' per line.") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys; write one 'key: value' per line, such as 'steps: 100'.")
    try:
        return config_from(content | changes)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an older run under the keys of today."""
    return {RENAMED.get(key, key): value for key, value in values.items()}


def config_from(values: Mapping[str, Any]) -> Config:
    """Configuration from plain JSON or YAML values, where tuples have become lists.

    Raises
    ------
    ValueError
        When a key is unknown or a value of the wrong kind.
    """
    values = renamed(values)
    unknown = sorted(str(key) for key in values if key not in Config.__dataclass_fields__)
    if unknown:
        raise ValueError(f"There is an unknown key {unknown[0]}; known are {', '.join(Config.__dataclass_fields__)}.")
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Config(**plain)
