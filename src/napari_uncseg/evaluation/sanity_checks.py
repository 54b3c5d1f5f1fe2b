"""What may be wrong with an evaluation before anybody believes its numbers: what the rules look at and tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from napari_uncseg.evaluation.cache import Record
from napari_uncseg.labels import Region

FEW_STUDIES = 10
"""Fewer say little about a mean, and nothing about a correlation."""


class Severity(StrEnum):
    """How much the result of a check weighs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class CheckResult:
    """Something a reader must know before the numbers.

    Parameters
    ----------
    rule : str
        Name of the rule.
    severity : Severity
        ``error``: numbers are wrong; ``warning``: they may mislead; ``note``: how to read them.
    message : str
        What was found and what to do.
    studies : tuple of str
        Which studies, when not all.
    """

    rule: str
    severity: Severity
    message: str
    studies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confounder:
    """How a score that ranks studies goes with their predicted volume.

    Parameters
    ----------
    aggregator, map : str
        The score.
    region : Region
        Of the map and the volume.
    volume, dice : float
        Spearman correlation of the score with the predicted volume, and with the Dice; nan when undefined.
    count : int
        Studies.
    ranks : bool
        Whether the report ranks studies by this score.
    """

    aggregator: str
    map: str
    region: Region
    volume: float
    dice: float
    count: int
    ranks: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that the rules look at.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies and over them.
    records : sequence of Record
        The studies; their statistics are not needed.
    calibration : mapping of str to str
        Id of a calibration study -> sha256 of its reference; empty without calibration studies.
    unpredicted : sequence of str
        References that no prediction was made for.
    confounders : sequence of Confounder
        One per score.
    """

    table: pd.DataFrame
    records: Sequence[Record]
    calibration: Mapping[str, str] | None = None
    unpredicted: Sequence[str] = ()
    confounders: Sequence[Confounder] = ()


def studies_in_words(count: int) -> str:
    """``1 study``, ``2 studies``."""
    return f"{count} {'study' if count == 1 else 'studies'}"
