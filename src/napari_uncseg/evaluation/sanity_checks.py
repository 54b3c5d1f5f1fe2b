"""What may be wrong with an evaluation before anybody believes its numbers: what the rules look at and tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.ranking import Ranking

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
    rankings : sequence of Ranking
        By the scores of the map that the report ranks studies by.
    """

    table: pd.DataFrame
    records: Sequence[Record]
    calibration: Mapping[str, str] | None = None
    unpredicted: Sequence[str] = ()
    rankings: Sequence[Ranking] = ()


def studies_in_words(count: int) -> str:
    """``1 study``, ``2 studies``."""
    return f"{count} {'study' if count == 1 else 'studies'}"
