"""The types of tumours, and how large their parts are."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a tumour looks like; an oedematous one has a small core, or with the prior ``rare`` mostly none."""

    NONE = "none"
    RIM = "rim"
    SOLID = "solid"
    NON_ENHANCING = "non_enhancing"
    OEDEMATOUS = "oedematous"
    CYSTIC = "cystic"


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
