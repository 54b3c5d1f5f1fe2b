"""The ensembling or test-time augmentation method of a prediction, as written: ``tta:8``, ``mc_dropout:20,p=0.2``.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_uncseg.errors import UncsegError


class Kind(StrEnum):
    """Where the members of a prediction come from; ``auto`` leaves it to the model."""

    AUTO = "auto"
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

_KINDS: Mapping[Kind, tuple[int | None, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.AUTO: (1, ()),
        Kind.SINGLE: (1, ()),
        Kind.TTA: (FLIPS, ("noise", "seed")),
        Kind.MC_DROPOUT: (20, ("layers", "p", "seed")),
        Kind.DROPOUT_INJECTION: (10, ("layers", "p", "seed")),
        Kind.SNAPSHOTS: (None, ()),
        Kind.LOGIT_SAMPLING: (20, ("seed",)),
    }
)
"""How many members there are when nobody says (None: the networks that are there are counted), and what may follow."""

_OPTIONS: Mapping[str, tuple[Callable[[str], Any], Callable[[Any], bool], str]] = MappingProxyType(
    {
        "p": (float, lambda p: 0 <= p < 1, "a share of channels from 0 to below 1"),
        "layers": (Layers, lambda layers: True, f"one of {', '.join(Layers)}"),
        "noise": (float, lambda noise: 0 <= noise <= 1, "a standard deviation from 0 to 1"),
        "seed": (int, lambda seed: 0 <= seed < 2**31, "a whole number from 0 to 2147483647"),
    }
)
"""How an option is read, what it may be, and that in words."""

INJECTED_P = 0.05
"""Share of channels that injected dropout drops when nobody says."""

EXAMPLES = (
    "auto, single, tta:8, snapshots, mc_dropout:20,p=0.2, dropout_injection:10,p=0.05, logit_sampling:20, "
    "ensemble:DIR,DIR"
)


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

    def resolved(self, snapshots: int, own: str = "single") -> EnsembleSpec:
        """The same with a count, for a model that holds so many snapshots and is judged with its ``own`` members."""
        if self.kind is Kind.AUTO:
            return parse_ensemble(own).resolved(snapshots)
        return replace(self, count=snapshots) if self.kind is Kind.SNAPSHOTS and self.count is None else self

    def _text(self, folders: str) -> str:
        if self.kind in (Kind.AUTO, Kind.SINGLE):
            return str(self.kind)
        if self.kind is Kind.ENSEMBLE:
            return f"{self.kind}:{folders}"
        layers = self.layers if self.layers is not default_layers(self.kind) else None
        options = {"p": self.p, "layers": layers, "noise": self.noise or None, "seed": self.seed or None}
        head = str(self.kind) if self.count is None else f"{self.kind}:{self.count}"
        return ",".join([head, *(f"{name}={value}" for name, value in options.items() if value is not None)])


SINGLE = EnsembleSpec()
"""One pass of one network."""

AUTO = EnsembleSpec(Kind.AUTO)
"""The members that a model was judged with, one pass of a model that names none: what is done when nobody chooses."""


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
    name, colon, first = (part.strip() for part in head.partition(":"))
    if name not in list(Kind):
        raise UncsegError(f"There are no members {name!r}; choose from {', '.join(Kind)} (as in {EXAMPLES}).")
    kind = Kind(name)
    if kind is Kind.ENSEMBLE:
        return _ensemble([first, *parts])
    count, known = _KINDS[kind]
    if colon:
        count = int(first) if first.isdecimal() else 0
        fixed = kind in (Kind.AUTO, Kind.SINGLE)
        if fixed or not 1 <= count <= MOST:
            what = f"{kind} takes no number" if fixed else f"write 1 to {MOST} members"
            raise UncsegError(f"{head} is no number of members: {what}, as in {EXAMPLES}.")
    options = _options(kind, known, parts)
    if kind is Kind.DROPOUT_INJECTION:
        options.setdefault("p", INJECTED_P)
    members = EnsembleSpec(kind, count, **{"layers": default_layers(kind), **options})
    if kind is Kind.TTA and not members.noise and (count or 0) > FLIPS:
        raise UncsegError(f"There are {FLIPS} ways to flip a volume, not {count}; add noise: tta:{count},noise=0.1.")
    return members


def _ensemble(folders: list[str]) -> EnsembleSpec:
    paths = tuple(Path(folder).expanduser() for folder in folders if folder)
    if len(paths) < 2:
        raise UncsegError("An ensemble needs at least two model folders: ensemble:FOLDER,FOLDER.")
    if len(set(paths)) < len(paths):
        raise UncsegError("A model folder is named twice in the ensemble; name each once.")
    return EnsembleSpec(Kind.ENSEMBLE, len(paths), folders=paths)


def _options(kind: Kind, known: tuple[str, ...], parts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        name, _, word = (piece.strip() for piece in part.partition("="))
        if name not in known:
            raise UncsegError(f"{kind} has no option {part!r}: it takes {' and '.join(known) or 'none'}.")
        if name in found:
            raise UncsegError(f"{name} is given twice for {kind}; give it once.")
        read, fits, wanted = _OPTIONS[name]
        with suppress(ValueError):
            found[name] = read(word)
        if name not in found or not fits(found[name]):
            raise UncsegError(f"{name}={word} of {kind} is not {wanted}.")
    return found
