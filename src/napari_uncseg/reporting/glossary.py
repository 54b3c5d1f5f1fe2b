"""What the names of the numbers mean, for those who read a table without the code beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from napari_uncseg.evaluation.evaluation import METRICS

MEANINGS: Mapping[str, str] = {name: meaning for kind in METRICS.values() for name, meaning in kind.meanings.items()}
"""Name of a number, or a pattern of names -> what it means. A name of its own comes before a pattern."""


def entry_of(metric: str) -> str:
    """The key of :data:`MEANINGS` that speaks of a metric.

    Raises
    ------
    KeyError
        When there is none.
    """
    found = [metric] if metric in MEANINGS else [name for name in MEANINGS if fnmatchcase(metric, name)]
    if not found:
        raise KeyError(metric)
    return found[0]


def meanings_of(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Names and meanings that speak of some metrics, in the order of :data:`MEANINGS`."""
    told = {entry_of(metric) for metric in metrics}
    return [(name, meaning) for name, meaning in MEANINGS.items() if name in told]


if __name__ == "__main__":  # the table of docs/evaluation.md
    print("\n".join(f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()))
