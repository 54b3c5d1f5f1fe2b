"""Damaged files: each is read in a child of its own, which may read it or refuse it in one sentence, and nothing else.

``python -m tests.campaigns.mutated_files --count 10000 --seed 1``
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from tests.campaigns import mutations
from tests.campaigns.harness import CODE, READ, Outcome, Tally, in_child, main
from tests.campaigns.kinds import Kind, all_kinds

FAMILIES = {"NIfTI": 0.3, "JSON": 0.25, "safetensors": 0.15, "checkpoints": 0.15, "logs": 0.15, "DICOM": 0.15}
"""Share of each family of kinds, DICOM on top of the others; within one, its kinds have the same."""

POISONED = 0.3
"""Share of checkpoints whose pickle would run a program."""


def run(count: int, seed: int, folder: Path, only: str = "", tally: Tally | None = None) -> Tally:
    """Damage ``count`` files, and of DICOM 15 % on top, of kinds whose name or family holds ``only``."""
    tally = tally or Tally.empty()
    families: dict[str, list[Kind]] = defaultdict(list)
    for kind in all_kinds(folder):
        families[kind.family].append(kind)
    canary = folder / "canary"
    for family, kinds in families.items():
        each = -(-round(count * FAMILIES[family]) // len(kinds))
        for kind in kinds:
            if only in f"{kind.family} {kind.name}":
                _damage(kind, each, seed, canary, tally)
    return tally


def _damage(kind: Kind, count: int, seed: int, canary: Path, tally: Tally) -> None:
    data = kind.data
    kind.vouch(data)
    whole = in_child(kind.read, refusals=())
    if whole.kind != READ:
        tally.add(kind.name, whole, "unharmed")
        return
    for number in range(count):
        rng = np.random.default_rng([seed, number, *kind.name.encode()])
        poisoned = kind.poisoned and rng.random() < POISONED
        changed, how = mutations.poison(data, rng, canary) if poisoned else kind.damage(data, rng)
        kind.path.write_bytes(changed)
        kind.vouch(changed)
        # What an honest reader needs: as much as for the whole file, and in proportion for a larger one.
        honest = max(whole.megabytes, 1.0) * max(1.0, len(changed) / len(data))
        outcome = in_child(kind.read, megabytes=3 * honest, refusals=kind.refusals, audit=True)
        if canary.exists():
            canary.unlink()
            outcome = Outcome(CODE, "the canary was written")
        tally.add(kind.name, outcome, f"number {number}, {how}")
    kind.path.write_bytes(data)
    kind.vouch(data)


if __name__ == "__main__":
    main(run, __doc__, 10_000, "damaged files")
