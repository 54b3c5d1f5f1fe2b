"""Pages of reports: tables of text, and the templates that they are filled into."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_uncseg import __version__
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY

DASH = "–"
"""Stands for what is undefined."""


@dataclass(frozen=True)
class Cell:
    """Text of a cell, smaller lines below it, and a colour before it."""

    text: str
    small: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Parameters
    ----------
    head : tuple of str
        Of the columns.
    rows : tuple of tuple of Cell
    words : tuple of int
        Columns of words, which start at the left; the others hold numbers.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, head: Iterable[str], rows: Iterable[Sequence[str | Cell]], words: tuple[int, ...] = (0,)) -> Grid:
        """A table of texts and cells."""
        cells = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
        return cls(tuple(head), cells, words)

    def cut(self, count: int) -> Grid:
        """The first rows alone."""
        return replace(self, rows=self.rows[:count])


def fill_template(name: str, **content: Any) -> str:
    """Fill a template; text is escaped, and what is missing is an error.

    Parameters
    ----------
    name : str
        File of the folder ``templates``.
    **content
        What it asks for; bytes become a picture's address by the filter ``png``, numbers text by ``number``, ``signed``
        and ``span``.

    Returns
    -------
    str
        One HTML page that loads nothing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("napari_uncseg.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}"
    environment.filters.update(number=number, signed=signed, span=span)
    return environment.get_template(name).render(version=__version__, research_use_only=RESEARCH_USE_ONLY, **content)


def number(value: float, digits: int | None = None) -> str:
    """A number for readers, of some decimals or of four digits; a dash where it is undefined."""
    if math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"


def signed(value: float) -> str:
    """A correlation, with its sign."""
    return DASH if math.isnan(value) else f"{value:+.2f}"


def span(ends: Sequence[float], digits: int | None = None) -> str:
    """An interval."""
    return DASH if math.isnan(ends[0]) else " to ".join(number(end, digits) for end in ends)
