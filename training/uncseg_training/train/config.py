"""Configurations of the light trainer: all that decides a training, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from uncseg_training.train.architectures import ARCHES, DROPOUT, architecture, divisor, fitting
from uncseg_training.train.config_files import CONFIGS, config_of, find_yaml, read_yaml
from uncseg_training.train.config_limits import LIMITS, check_together, check_type

HEADS = ("regions", "regions_gaussian", "regions_auxiliary")
"""What a network answers with, see :class:`napari_uncseg.models.heads.Head`."""


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


CHOICES: Mapping[str, Sequence[str]] = {
    "arch": ARCHES,
    "augmentation": ("light", "strong"),
    "channel": tuple(Channel),
    "head": HEADS,
    "uncertainty": ("failure", "error_map", "none"),
}
"""What a key may be where it is one of a few words."""

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
        for key, words in CHOICES.items():
            if (word := getattr(self, key)) not in words:
                raise ValueError(f"{key} is {word}; take one of {', '.join(words)}.")
        check_together(self)

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
    content = read_yaml(find_yaml(source, CONFIGS, "configuration"))
    try:
        return config_from(content | changes)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an older run under the keys of today."""
    return {RENAMED.get(key, key): value for key, value in values.items()}


def config_from(values: Mapping[str, Any]) -> Config:
    """Configuration from plain values, see :func:`~uncseg_training.train.config_files.config_of`."""
    return config_of(Config, renamed(values))
