"""The types of tumours: how often each is drawn, and how large its parts are."""

from __future__ import annotations

from enum import StrEnum

from uncseg_training.phantom.fields import Dice


class Kind(StrEnum):
    """What a tumour looks like."""

    NONE = "none"
    RIM = "rim"
    SOLID = "solid"
    NON_ENHANCING = "non_enhancing"
    OEDEMATOUS = "oedematous"
    CYSTIC = "cystic"


WEIGHTS: dict[Kind, float] = {
    Kind.NONE: 0.06,
    Kind.RIM: 0.38,
    Kind.SOLID: 0.19,
    Kind.NON_ENHANCING: 0.14,
    Kind.OEDEMATOUS: 0.10,
    Kind.CYSTIC: 0.13,
}

CORE_ML: dict[Kind, tuple[float, float]] = {
    Kind.RIM: (1.5, 130),
    Kind.SOLID: (0.5, 220),
    Kind.NON_ENHANCING: (2, 200),
    Kind.OEDEMATOUS: (0.3, 6),
    Kind.CYSTIC: (6, 200),
}
"""Range of the core's volume in millilitres; its logarithm is uniform."""

OEDEMA_SHARE: dict[Kind, tuple[float, float]] = {
    Kind.RIM: (0.25, 6),
    Kind.SOLID: (0.04, 4),
    Kind.NON_ENHANCING: (0.08, 2),
    Kind.OEDEMATOUS: (6, 60),
    Kind.CYSTIC: (0.04, 1.2),
}
"""Range of the oedema's volume as a multiple of the core's; its logarithm is uniform."""


def draw_kind(dice: Dice) -> Kind:
    """A type, by weight."""
    return list(WEIGHTS)[dice.index(len(WEIGHTS), list(WEIGHTS.values()))]
