"""What the values of a configuration may be: types, least and largest numbers, and what goes together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from uncseg_training.phantom.appearance_priors import RETIRED, appearance_prior
from uncseg_training.train.architectures import divisor, fitting

if TYPE_CHECKING:
    from uncseg_training.train.config import Config

LARGEST_SEED = 10**12
"""Multiples of it, which are the seeds of phantoms, must fit into 64 bits."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "seed": (0, LARGEST_SEED),
    **dict.fromkeys(("steps", "batch", "snapshots", "samples", "reuse", "sweeps"), (1, math.inf)),
    **dict.fromkeys(("validate_every", "checkpoint_every"), (1, math.inf)),
    **dict.fromkeys(("warmup", "workers", "validation", "folds", "fold", "weight_decay"), (0, math.inf)),
    **dict.fromkeys(("learning_rate", "clip", "uncertainty_weight", "uncertainty_late", "spacing"), (0, math.inf)),
    **dict.fromkeys(("decay", "cycle", "restart", "average", "cycle_average", "late_from", "whole_from"), (0, 1)),
    **dict.fromkeys(("dropout", "wide", "share", "false_negative_weight", "without_previous"), (0, 1)),
}
"""Least and largest value of numbers."""

_KINDS = {
    "int": "a whole number",
    "float": "a number such as 0.001 or 1.0e-3",
    "bool": "true or false",
    "str": "a word",
}


def check_type(key: str, kind: str, value: object) -> None:
    """Refuse a value that is not of its field's type."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith("tuple"):
        numbers = isinstance(value, tuple | list) and all(type(each) is int and each > 0 for each in value)
        if numbers and isinstance(value, tuple | list) and (kind.endswith("...]") or len(value) == 3):
            return
        count = "whole numbers above 0" if kind.endswith("...]") else "three whole numbers above 0"
        raise ValueError(f"{key} is {value!r}, not a list of {count}.")
    fits = {
        "int": whole,
        "float": whole or (isinstance(value, float) and math.isfinite(value)),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }
    if not fits[kind]:
        raise ValueError(f"{key} is {value!r}, not {_KINDS[kind]}.")


def check_together(config: Config) -> None:
    """Refuse values that are none for this kind of training, or do not go with one another."""
    if config.spacing <= 0 or config.dropout == 1 or min(config.features, default=0) < 1:
        raise ValueError("spacing and features must be above 0, and dropout below 1.")
    if config.appearance_prior not in RETIRED:
        appearance_prior(config.appearance_prior)
    if config.arch == "unet" and not len(config.features) == len(config.encoder) == len(config.decoder) + 1:
        raise ValueError("features and encoder have one number per stage, decoder one less; mend the configuration.")
    if config.whole_from > 0 and any(a > b for a, b in zip(config.patch, config.volume, strict=True)):
        raise ValueError(f"The patch {config.patch} is larger than the volume {config.volume}; make it smaller.")
    if config.splits and not config.folds:
        raise ValueError("splits names folds, but folds is 0; say how many there are.")
    if config.previous_stage and not (config.cases and (config.share >= 1 or config.phantoms)):
        raise ValueError("A previous stage knows cases, not endless phantoms; give cases, and phantoms or share 1.")
    if config.uncertainty == "error_map" and not config.cases:
        raise ValueError("An error map belongs to a case that comes back: give cases.")
    if config.steps - (config.snapshots - 1) * config.cycle_steps < 1:
        raise ValueError(
            f"steps is {config.steps}, too few for {config.snapshots} snapshots with a cycle of {config.cycle:g}; "
            "take more steps, fewer snapshots or a shorter cycle."
        )
    if config.folds == 1:
        raise ValueError("folds is 1, which leaves nothing to train on; take 0 or at least 2.")
    if config.folds and not (config.cases and 0 <= config.fold < config.folds):
        raise ValueError(f"There is no fold {config.fold} of {config.folds}; give cases and a fold from 0.")
    unit = divisor(config.arch, len(config.features))
    for what, sizes in (("volume", config.volume), ("patch", config.patch)):
        used = what == "volume" or config.whole_from > 0
        if used and fitting(sizes, unit) != tuple(sizes):
            raise ValueError(f"The {what} {sizes} does not fit {config.arch}; take multiples of {unit}.")
    if config.head != "regions" and config.uncertainty == "error_map":
        raise ValueError(f"An error map is learnt by the uncertainty channel of the head regions, not {config.head}.")
    if config.false_negative_weight != 0.5 and (config.head == "regions_gaussian" or config.uncertainty == "error_map"):
        raise ValueError(
            "false_negative_weight belongs to the plain loss of the regions; leave it at 0.5 for this one."
        )
    if config.head == "regions_auxiliary" and (config.arch != "unet" or config.uncertainty != "failure"):
        raise ValueError("The head regions_auxiliary learns failures on the features of the unet; take these two.")
