"""The maps of a prediction: what they are called, what they measure, in which bounds and how they come about.

A map is stored under the name of its measure, which is then that of the whole tumour (``entropy``), or with a region
behind it (``entropy-et``). The formulas are in :mod:`napari_uncseg.uncertainty.measures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import UnknownMap
from napari_uncseg.labels import REGIONS, Region


class Measure(StrEnum):
    """What a map measures; the most telling first, which is the order in which maps are offered."""

    ERROR_RISK = "error_risk"
    UNC_OUTPUT = "unc_output"
    ENTROPY = "entropy"
    MUTUAL_INFORMATION = "mutual_information"
    EXPECTED_ENTROPY = "expected_entropy"
    VARIANCE = "variance"
    VAR1SHOT = "var1shot"
    DISAGREEMENT = "disagreement"
    ONE_MINUS_MAX = "one_minus_max"
    UNC_OUTPUT_UNMASKED = "unc_output_unmasked"
    ERROR = "error"


class Derivation(StrEnum):
    """Where the values of a map come from."""

    NETWORK = "an output of the network"
    MEAN = "the mean probability"
    MEMBERS = "the differences between members"
    REFERENCE = "the comparison with a reference"


@dataclass(frozen=True)
class MapInfo:
    """What is known of a measure, whatever its region.

    Parameters
    ----------
    title : str
        What a reader sees.
    unit : str
        Unit of the values, for colour bars and tables.
    upper : float
        Largest possible value; the smallest is 0.
    derivation : Derivation
        What it is computed from.
    is_probability_of_error : bool
        Whether its sum over voxels is a volume of errors to expect.
    """

    title: str
    unit: str
    upper: float
    derivation: Derivation
    is_probability_of_error: bool = False


_LN2 = math.log(2.0)

MAPS: Mapping[Measure, MapInfo] = MappingProxyType(
    {
        Measure.ERROR_RISK: MapInfo("error risk", "probability of error", 1.0, Derivation.NETWORK, True),
        Measure.UNC_OUTPUT: MapInfo("unc_output", "predicted probability of error", 1.0, Derivation.NETWORK, True),
        Measure.ENTROPY: MapInfo("entropy", "nats", _LN2, Derivation.MEAN),
        Measure.MUTUAL_INFORMATION: MapInfo("mutual information", "nats, between members", _LN2, Derivation.MEMBERS),
        Measure.EXPECTED_ENTROPY: MapInfo("expected entropy", "nats, mean of the members'", _LN2, Derivation.MEMBERS),
        Measure.VARIANCE: MapInfo("variance", "p(1−p) or between members", 0.25, Derivation.MEMBERS),
        Measure.VAR1SHOT: MapInfo("var1shot", "p(1−p)", 0.25, Derivation.MEAN),
        Measure.DISAGREEMENT: MapInfo("disagreement", "share of members against the majority", 0.5, Derivation.MEMBERS),
        Measure.ONE_MINUS_MAX: MapInfo("1 − max", "1 − max(p, 1−p)", 0.5, Derivation.MEAN, True),
        Measure.UNC_OUTPUT_UNMASKED: MapInfo(
            "unc_output, unmasked", "predicted probability of error", 1.0, Derivation.NETWORK, True
        ),
        Measure.ERROR: MapInfo("error", "prediction ≠ reference", 1.0, Derivation.REFERENCE, True),
    }
)
"""Every measure that this version knows, in the order of :class:`Measure`."""

UNCERTAINTIES: tuple[Measure, ...] = tuple(
    measure for measure, info in MAPS.items() if info.derivation is not Derivation.REFERENCE
)
"""Measures that need no reference."""

COMPUTED: tuple[Measure, ...] = tuple(
    measure for measure, info in MAPS.items() if info.derivation in (Derivation.MEAN, Derivation.MEMBERS)
)
"""Measures that can be asked for; the others are there whenever the network or the study allows."""


@dataclass(frozen=True)
class MapName:
    """A measure of a region; ``str()`` is its name on disk: ``entropy`` of WT, ``entropy-et`` of ET.

    Parameters
    ----------
    measure : str
        A :class:`Measure`, or the name of a map that this version does not know.
    region : Region
    """

    measure: str
    region: Region = Region.WT

    @classmethod
    def parse(cls, name: str) -> MapName:
        """The map that a name on disk stands for; any name is one."""
        measure, _, suffix = name.rpartition("-")
        known = bool(measure) and suffix.upper() in REGIONS
        return cls(measure, Region(suffix.upper())) if known else cls(name)

    def __str__(self) -> str:
        return str(self.measure) if self.region is Region.WT else f"{self.measure}-{self.region.lower()}"

    @property
    def info(self) -> MapInfo | None:
        """What is known of the measure; None for the map of another tool or version."""
        return MAPS.get(Measure(self.measure)) if self.measure in _NAMES else None

    @property
    def title(self) -> str:
        """What a reader sees: the measure and its region; an output of the network is of WT unless it says so."""
        if self.info is None:
            return str(self)
        bare = self.region is Region.WT and self.info.derivation is Derivation.NETWORK
        return self.info.title if bare else f"{self.info.title} ({self.region})"

    @property
    def unit(self) -> str:
        """Unit of the values; empty when it is not known."""
        return self.info.unit if self.info else ""

    @property
    def upper(self) -> float | None:
        """Largest possible value; None when it is not known. The smallest is 0."""
        return self.info.upper if self.info else None

    def upper_of(self, values: npt.NDArray[np.floating]) -> float:
        """Largest value of such a map, or the largest of these values when nothing is known about it."""
        return self.upper or float(values.max(initial=0.0)) or 1.0

    @property
    def between_members(self) -> bool:
        """Whether it speaks of several members and is undefined for one."""
        return self.info is not None and self.info.derivation is Derivation.MEMBERS

    @property
    def is_probability_of_error(self) -> bool:
        """Whether the values are probabilities of an error."""
        return self.info is not None and self.info.is_probability_of_error

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among the others: by region, then as :class:`Measure` has them, unknown ones last."""
        return REGIONS.index(self.region), _NAMES.get(self.measure, len(_NAMES))


_NAMES = {str(measure): place for place, measure in enumerate(Measure)}


def parse_maps(words: Iterable[str]) -> tuple[MapName, ...]:
    """Maps that a user asks for, each once, in the order given.

    Parameters
    ----------
    words : iterable of str
        As ``entropy``, ``variance-et``; ``entropy-wt`` is ``entropy``.

    Raises
    ------
    UnknownMap
        When a word names no map that can be asked for, or there is no word.
    """
    names = []
    for word in words:
        name = MapName.parse(word.strip().lower())
        if name.measure not in COMPUTED:
            what = f"There is no map {word!r}"
            if name.measure in MAPS:
                what = f"{word!r} is saved without asking, wherever the network or the study allows it"
            raise UnknownMap(f"{what}; choose from {', '.join(COMPUTED)}, with -tc or -et behind for these regions.")
        names.append(name)
    if not names:
        raise UnknownMap(f"No map is named; choose from {', '.join(COMPUTED)}.")
    return tuple(dict.fromkeys(names))
