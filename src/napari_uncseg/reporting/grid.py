"""Tables of text, before they become HTML or lines on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """Text of a cell, smaller lines below it, and a colour before it."""

    text: str
    small: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Parameters
    ----------
    head : tuple of str
        Of the columns.
    rows : tuple of tuple of Cell
    words : tuple of int
        Columns of words, which start at the left; the others hold numbers.
    caption : str
        What stands below it.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: tuple[int, ...] = (0,)
    caption: str = ""

    @classmethod
    def of(
        cls,
        head: Sequence[str],
        rows: Sequence[Sequence[str | Cell]],
        words: tuple[int, ...] = (0,),
        caption: str = "",
    ) -> Grid:
        """A table of texts and cells."""
        cells = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
        return cls(tuple(head), cells, words, caption)

    def cut(self, count: int) -> Grid:
        """The first rows alone."""
        return replace(self, rows=self.rows[:count])
