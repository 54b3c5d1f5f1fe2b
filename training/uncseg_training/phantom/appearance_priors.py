"""What tumours are drawn from: sets of ranges, from as wide as can be to what patients show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from uncseg_training.phantom.kinds import Kind

Range = tuple[float, float]


def _kinds(*odds: float) -> Mapping[Kind, float]:
    """Odds of each type of tumour, in the order of :class:`Kind`, which decides what a random number draws."""
    return MappingProxyType(dict(zip(Kind, odds, strict=True)))


@dataclass(frozen=True)
class AppearancePrior:
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

    kinds: Mapping[Kind, float] = field(default_factory=lambda: _kinds(0.06, 0.38, 0.19, 0.14, 0.10, 0.13))
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
# enhance is wetter than oedema, mixed tumours are more mottled, and a cavity is rarer than a cyst. Experts outline
# oedema to where it fades away, not to where it is bright.
_CLINICAL = AppearancePrior(
    kinds=_kinds(0.06, 0.33, 0.24, 0.08, 0.09, 0.20),
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
    edge=(0.12, 0.6),
    mottle=(0.03, 0.2),
    grain=0.5,
    uptake=(1.3, 6.0),
    blood=(0.65, 0.25),
)

# What the others hardly ever draw, or never: nothing is trained on it, so that a network can be judged by it.
_RARE = replace(
    _CLINICAL,
    kinds=_kinds(0.20, 0.16, 0.13, 0.12, 0.28, 0.11),
    cavity=0.3,
    coreless=0.85,
    distant=0.35,
    small=0.3,
)

# In patients oedema is bright up to the last few millimetres and fades within these; parts of it may be as wet as core,
# and core as dry as healthy tissue or as wet as the ventricles: what lies around tells them apart. With it come
# plaques, which a network that has learnt faint tumours takes for them, and oedema without a core.
_MATCHED = replace(
    _CLINICAL,
    kinds=_kinds(0.12, 0.26, 0.22, 0.05, 0.15, 0.20),
    coreless=0.2,
    protein=0.15,
    oedema=(0.25, 0.65),
    dense=0.3,
    edge=(0.5, 1.0),
    fade=(1.2, 2.8),
    margin=(0.2, 1.5),
    wet_patches=0.6,
    blood=(0.75, 0.35),
    plaques=0.35,
)

APPEARANCE_PRIORS: Mapping[str, AppearancePrior] = MappingProxyType(
    {"broad": AppearancePrior(), "clinical": _CLINICAL, "matched": _MATCHED, "rare": _RARE}
)
"""By name: the widest, the reference of the experiments, the one to train on, and the one to judge on."""


RETIRED = ("wet", "hard", "plaques", "coreless", "mixed")
"""Names of older versions, which run folders still hold: such runs load, and these are drawn no more."""


def appearance_prior(name: str) -> AppearancePrior:
    """Prior by name.

    Raises
    ------
    ValueError
        When there is none of this name.
    """
    if name not in APPEARANCE_PRIORS:
        raise ValueError(f"There is no appearance prior {name}; known are {', '.join(APPEARANCE_PRIORS)}.")
    return APPEARANCE_PRIORS[name]
