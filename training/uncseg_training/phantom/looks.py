"""How tumours are drawn: sets of ranges, from as wide as can be to what patients show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from uncseg_training.phantom.kinds import Kind

Range = tuple[float, float]


@dataclass(frozen=True)
class Looks:
    """Ranges that phantoms are drawn from.

    Parameters
    ----------
    kinds : mapping of Kind to float
        How often each type of tumour is drawn.
    cavity : float
        Probability of a resection cavity.
    coreless : float
        Probability that an oedematous tumour has no core at all.
    scattered, distant : float
        Probability of satellites around the first focus, and of foci far from it.
    small : float
        Probability that the whole tumour is drawn small.
    small_ml : (float, float)
        Range of its volume in millilitres; its logarithm is uniform.
    sulci : float
        Added to the width of the sulci, which age widens by -0.6..0.6.
    t1_free, t2, flair : (float, float)
        How far the T1 of free fluid goes to that of the ventricles, exponent of water in T2 (below 1, little water
        shines already), and what FLAIR gains with water.
    protein : float
        Probability that FLAIR hardly suppresses the fluid of a tumour.
    oedema, necrosis, enhancing : (float, float)
        Water, 0 for white matter and 1 for fluid.
    solid, driest : (float, float), float
        Water that solid, non-enhancing tumour has above oedema, and its least.
    dense : float
        Probability of solid tumour that is drier than that.
    wetter : float
        Least water that necrosis has above oedema.
    edge : (float, float)
        Water at the outer edge of oedema as a share of that at the core.
    fade, margin : (float, float), optional
        Width of the slope that oedema ends in (standard deviation of a blurred edge), and how far its outline lies
        beyond the middle of that slope, mm; without them oedema ends as sharply as everything else.
    mottle : (float, float)
        Variation of water within oedema.
    wet_patches : float
        Probability that parts of the oedema hold up to 80 % more water than the rest.
    grain : float
        Largest variation of water within a solid or mixed core.
    uptake : (float, float)
        Signal of contrast agent in T1c.
    blood : (float, float)
        Probability of haemorrhage in solid and rim-enhancing tumours, and in the others.
    plaques : float
        Probability of plaques as in multiple sclerosis, larger, more and darker in T1 than what age leaves.
    """

    kinds: Mapping[Kind, float] = field(
        default_factory=lambda: MappingProxyType(
            {
                Kind.NONE: 0.06,
                Kind.RIM: 0.38,
                Kind.SOLID: 0.19,
                Kind.NON_ENHANCING: 0.14,
                Kind.OEDEMATOUS: 0.10,
                Kind.CYSTIC: 0.13,
            }
        )
    )
    cavity: float = 0.04
    coreless: float = 0.0
    scattered: float = 0.14
    distant: float = 0.0
    small: float = 0.0
    small_ml: Range = (0.5, 5.0)
    sulci: float = 0.0
    t1_free: Range = (0.0, 0.0)
    t2: Range = (0.55, 1.05)
    flair: Range = (2.2, 6.5)
    protein: float = 0.45
    oedema: Range = (0.16, 0.5)
    necrosis: Range = (0.5, 1.0)
    enhancing: Range = (0.15, 0.65)
    solid: Range = (0.06, 0.4)
    driest: float = 0.0
    dense: float = 0.18
    wetter: float = 0.15
    edge: Range = (0.3, 0.95)
    fade: Range | None = None
    margin: Range = (0.0, 0.0)
    mottle: Range = (0.02, 0.12)
    wet_patches: float = 0.0
    grain: float = 0.35
    uptake: Range = (0.9, 5.5)
    blood: Range = (0.35, 0.15)
    plaques: float = 0.0


# Narrowed by the table of experiments/phantom_statistics.py: in patients oedema is brighter in T2, core that does not
# enhance is wetter than oedema, mixed tumours are more mottled, and a cavity is rarer than a cyst.
_WET = Looks(
    kinds=MappingProxyType(
        {
            Kind.NONE: 0.06,
            Kind.RIM: 0.33,
            Kind.SOLID: 0.24,
            Kind.NON_ENHANCING: 0.08,
            Kind.OEDEMATOUS: 0.09,
            Kind.CYSTIC: 0.20,
        }
    ),
    cavity=0.005,
    sulci=-0.35,
    t1_free=(0.0, 1.2),
    t2=(0.5, 0.9),
    flair=(2.6, 7.0),
    protein=0.3,
    oedema=(0.2, 0.6),
    necrosis=(0.6, 1.05),
    enhancing=(0.25, 0.75),
    solid=(0.14, 0.5),
    driest=0.45,
    dense=0.05,
    wetter=0.25,
    grain=0.5,
    uptake=(1.3, 6.0),
    blood=(0.65, 0.25),
)

# As wet, and experts outline oedema to where it fades away, not to where it is bright.
_CLINICAL = replace(_WET, edge=(0.12, 0.6), mottle=(0.03, 0.2))

# As clinical, with more of what a network finds hardest: solid and mixed tumours, cysts, blood.
_HARD = replace(
    _CLINICAL,
    kinds=MappingProxyType(
        {
            Kind.NONE: 0.06,
            Kind.RIM: 0.28,
            Kind.SOLID: 0.29,
            Kind.NON_ENHANCING: 0.07,
            Kind.OEDEMATOUS: 0.08,
            Kind.CYSTIC: 0.22,
        }
    ),
    blood=(0.75, 0.35),
)

# What the others hardly ever draw, or never: nothing is trained on it, so that a network can be judged by it.
_RARE = replace(
    _CLINICAL,
    kinds=MappingProxyType(
        {
            Kind.NONE: 0.20,
            Kind.RIM: 0.16,
            Kind.SOLID: 0.13,
            Kind.NON_ENHANCING: 0.12,
            Kind.OEDEMATOUS: 0.28,
            Kind.CYSTIC: 0.11,
        }
    ),
    cavity=0.3,
    coreless=0.85,
    distant=0.35,
    small=0.3,
)

# A network that has learnt faint tumours takes plaques for them: as hard, with plaques beside them and alone.
_PLAQUES = replace(
    _HARD,
    kinds=MappingProxyType({**_HARD.kinds, Kind.NONE: 0.14, Kind.RIM: 0.24, Kind.SOLID: 0.25}),
    plaques=0.35,
)

# A network that never saw oedema without a core gives it one: as plaques, with such oedema.
_CORELESS = replace(
    _PLAQUES,
    kinds=MappingProxyType(
        {
            Kind.NONE: 0.12,
            Kind.RIM: 0.23,
            Kind.SOLID: 0.22,
            Kind.NON_ENHANCING: 0.06,
            Kind.OEDEMATOUS: 0.20,
            Kind.CYSTIC: 0.17,
        }
    ),
    coreless=0.6,
)

# In patients oedema is bright up to the last few millimetres and fades within these, while so far it faded all the way
# from the core, and what had not faded was taken for core. And parts of it may be as wet as core, and core as dry as
# healthy tissue or as wet as the ventricles: what lies around tells them apart.
_MIXED = replace(
    _PLAQUES,
    kinds=MappingProxyType({**_PLAQUES.kinds, Kind.NONE: 0.12, Kind.SOLID: 0.27}),
    coreless=0.3,
    protein=0.15,
    oedema=(0.25, 0.65),
    dense=0.3,
    edge=(0.5, 1.0),
    fade=(1.2, 3.0),
    margin=(0.4, 1.8),
    wet_patches=0.6,
)

# Mixed oedema ended a little too far within its outline, and what is bright around a small core was taken for core more
# often than for oedema, which it mostly is in glioblastoma.
_MATCHED = replace(
    _MIXED,
    kinds=MappingProxyType(
        {
            Kind.NONE: 0.12,
            Kind.RIM: 0.26,
            Kind.SOLID: 0.22,
            Kind.NON_ENHANCING: 0.05,
            Kind.OEDEMATOUS: 0.15,
            Kind.CYSTIC: 0.20,
        }
    ),
    coreless=0.2,
    fade=(1.2, 2.8),
    margin=(0.2, 1.5),
)

LOOKS: Mapping[str, Looks] = MappingProxyType(
    {
        "broad": Looks(),
        "wet": _WET,
        "clinical": _CLINICAL,
        "hard": _HARD,
        "plaques": _PLAQUES,
        "coreless": _CORELESS,
        "mixed": _MIXED,
        "matched": _MATCHED,
        "rare": _RARE,
    }
)
"""By name; a training goes through them in this order, but for clinical, and for rare, which is for judging."""


def looks_of(name: str) -> Looks:
    """Looks by name.

    Raises
    ------
    ValueError
        When there are none of this name.
    """
    if name not in LOOKS:
        raise ValueError(f"There are no looks {name}; known are {', '.join(LOOKS)}.")
    return LOOKS[name]
