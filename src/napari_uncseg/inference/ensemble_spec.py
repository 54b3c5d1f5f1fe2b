"""The ensembling or test-time augmentation method of a prediction, as written: ``tta:8``, ``mc_dropout:20,p=0.2``.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_uncseg.errors import UncsegError


class Kind(StrEnum):
    """Where the members of a prediction come from."""

    SINGLE = "single"
    TTA = "tta"
    MC_DROPOUT = "mc_dropout"
    DROPOUT_INJECTION = "dropout_injection"
    SNAPSHOTS = "snapshots"
    ENSEMBLE = "ensemble"
    LOGIT_SAMPLING = "logit_sampling"


class Layers(StrEnum):
    """Where in a U-Net dropout works."""

    ALL = "all"
    ENCODER = "encoder"
    DECODER = "decoder"


FLIPS = 8
"""Ways to mirror a volume along three axes, none of them included."""

MOST = 1000
"""More members than this are taken for a slip of the pen."""

_COUNTS: Mapping[Kind, int] = MappingProxyType(
    {Kind.TTA: FLIPS, Kind.MC_DROPOUT: 20, Kind.DROPOUT_INJECTION: 10, Kind.LOGIT_SAMPLING: 20}
)
"""EnsembleSpec when nobody says how many. Without an entry the networks that are there are counted."""

_OPTIONS: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        Kind.TTA: frozenset({"noise", "seed"}),
        Kind.MC_DROPOUT: frozenset({"p", "layers", "seed"}),
        Kind.DROPOUT_INJECTION: frozenset({"p", "layers", "seed"}),
        Kind.LOGIT_SAMPLING: frozenset({"seed"}),
    }
)

INJECTED_P = 0.05
"""Share of channels that injected dropout drops when nobody says."""

INJECTION_CANDIDATES: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Shares that tuning tries when nobody says."""

EXAMPLES = "single, tta:8, snapshots, mc_dropout:20,p=0.2, dropout_injection:10,p=0.05, ensemble:DIR,DIR"


@dataclass(frozen=True)
class EnsembleSpec:
    """Which members a prediction is the mean of. ``str()`` gives a text that :func:`parse_ensemble` reads again.

    Parameters
    ----------
    kind : Kind
        Where they come from.
    count : int, optional
        How many; None for all there are (snapshots, folders).
    p : float, optional
        Share of channels that dropout drops, 0 to below 1; None for what the network was trained with.
    layers : Layers
        Where dropout works.
    noise : float
        Standard deviation of the noise that flipped images get, in standard deviations of an image in the brain.
    seed : int
        Pass *k* of a seed is always the same.
    folders : tuple of Path
        Model folders of an ensemble.
    """

    kind: Kind = Kind.SINGLE
    count: int | None = 1
    p: float | None = None
    layers: Layers = Layers.ALL
    noise: float = 0.0
    seed: int = 0
    folders: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self._text(",".join(map(str, self.folders)))

    @property
    def method(self) -> str:
        """Text for a result: as ``str()``, but an ensemble is told by its size; which networks, their hashes say."""
        return self._text(str(len(self.folders)))

    @property
    def passes(self) -> int | None:
        """How often a network runs; None while nobody has counted."""
        return 1 if self.kind is Kind.LOGIT_SAMPLING else self.count

    @property
    def stand_in(self) -> Path | None:
        """Model folder to load when nobody names one: the first of an ensemble, else None for the bundled one."""
        return self.folders[0] if self.folders else None

    def resolved(self, snapshots: int) -> EnsembleSpec:
        """The same with a count, for a model that holds so many snapshots."""
        return replace(self, count=snapshots) if self.kind is Kind.SNAPSHOTS and self.count is None else self

    def _text(self, folders: str) -> str:
        if self.kind is Kind.SINGLE:
            return str(self.kind)
        if self.kind is Kind.ENSEMBLE:
            return f"{self.kind}:{folders}"
        options = {
            "p": self.p,
            "layers": self.layers if self.layers is not default_layers(self.kind) else None,
            "noise": self.noise or None,
            "seed": self.seed or None,
        }
        head = str(self.kind) if self.count is None else f"{self.kind}:{self.count}"
        return ",".join([head, *(f"{name}={_plain(value)}" for name, value in options.items() if value is not None)])


SINGLE = EnsembleSpec()
"""One pass of one network: what is done when nobody chooses."""


def default_layers(kind: Kind) -> Layers:
    """Where dropout works when nobody says: injected only in the decoder, so that the encoder runs once."""
    return Layers.DECODER if kind is Kind.DROPOUT_INJECTION else Layers.ALL


def parse_ensemble(text: str | EnsembleSpec) -> EnsembleSpec:
    """Read which method is wanted.

    Parameters
    ----------
    text : str or EnsembleSpec
        ``KIND[:COUNT][,OPTION=VALUE...]`` or ``ensemble:FOLDER,FOLDER...``; a value is given back as it is.

    Returns
    -------
    EnsembleSpec

    Raises
    ------
    UncsegError
        When the text names no method; the sentence says what could stand there.
    """
    if isinstance(text, EnsembleSpec):
        return text
    head, *parts = [part.strip() for part in text.split(",")]
    name, colon, first = head.partition(":")
    try:
        kind = Kind(name.strip())
    except ValueError as error:
        raise UncsegError(
            f"There are no members {name!r}; choose from {', '.join(Kind)} (as in {EXAMPLES})."
        ) from error
    if kind is Kind.ENSEMBLE:
        return _ensemble([first.strip(), *parts])
    count = _count(kind, first.strip()) if colon else _COUNTS.get(kind, 1 if kind is Kind.SINGLE else None)
    options = _options(kind, parts)
    if kind is Kind.DROPOUT_INJECTION:
        options.setdefault("p", INJECTED_P)
    options.setdefault("layers", default_layers(kind))
    members = EnsembleSpec(kind, count, **options)
    if kind is Kind.TTA and not members.noise and count is not None and count > FLIPS:
        raise UncsegError(
            f"There are {FLIPS} ways to flip a volume, not {count}; choose at most {FLIPS}, or add noise: "
            f"tta:{count},noise=0.1."
        )
    return members


def _ensemble(folders: list[str]) -> EnsembleSpec:
    paths = tuple(Path(folder).expanduser() for folder in folders if folder)
    if len(paths) < 2:
        raise UncsegError("An ensemble needs at least two model folders: ensemble:FOLDER,FOLDER.")
    if len(set(paths)) < len(paths):
        raise UncsegError("A model folder is named twice in the ensemble; name each once.")
    return EnsembleSpec(Kind.ENSEMBLE, len(paths), folders=paths)


def _count(kind: Kind, word: str) -> int:
    if kind is Kind.SINGLE:
        raise UncsegError(f"single is one pass and takes no number, but {word!r} follows it; leave it out.")
    try:
        count = int(word)
    except ValueError as error:
        raise UncsegError(f"{kind}:{word} does not say how many members; write a number, as in {EXAMPLES}.") from error
    if not 1 <= count <= MOST:
        raise UncsegError(f"{kind}:{word} is no number of members; choose 1 to {MOST}.")
    return count


def _options(kind: Kind, parts: list[str]) -> dict[str, Any]:
    known = _OPTIONS.get(kind, frozenset())
    found: dict[str, Any] = {}
    for part in parts:
        name, equals, word = (piece.strip() for piece in part.partition("="))
        if name not in known or not equals:
            may = f"it takes {', '.join(sorted(known))}, as in p=0.1" if known else "it takes no options"
            raise UncsegError(f"{kind} has no option {part!r}: {may.replace('p=0.1', _example(known))}.")
        if name in found:
            raise UncsegError(f"{name} is given twice for {kind}; give it once.")
        read, wanted = _READERS[name]
        try:
            found[name] = read(word)
        except ValueError as error:
            raise UncsegError(f"{name}={word} of {kind} is not {wanted}.") from error
    return found


def _example(known: frozenset[str]) -> str:
    return "p=0.1" if "p" in known else "noise=0.1" if "noise" in known else "seed=1"


def _probability(word: str) -> float:
    value = float(word)
    if not 0 <= value < 1:
        raise ValueError(word)
    return value


def _deviation(word: str) -> float:
    value = float(word)
    if not 0 <= value <= 1:
        raise ValueError(word)
    return value


def _seed(word: str) -> int:
    value = int(word)
    if not 0 <= value < 2**31:
        raise ValueError(word)
    return value


_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = MappingProxyType(
    {
        "p": (_probability, "a share of channels from 0 to below 1"),
        "layers": (Layers, f"one of {', '.join(Layers)}"),
        "noise": (_deviation, "a standard deviation from 0 to 1"),
        "seed": (_seed, "a whole number from 0 to 2147483647"),
    }
)


def _plain(value: object) -> str:
    return f"{value!r}" if isinstance(value, float) else str(value)
