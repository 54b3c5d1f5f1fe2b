"""What the values of a configuration may be: their types, and the least and the largest number of each key."""

from __future__ import annotations

import math
from collections.abc import Mapping

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
