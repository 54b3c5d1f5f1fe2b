"""Known moves found again: ``python -m uncseg_training.experiments.registration HEADS -o OUT [--open-ms FOLDER]``.

A head is moved by up to 30 degrees about each of up to three axes and 40 mm, and registered to where it was, between
contrasts and grids. Told are the mean error at the brain's surface, how many are off by more than 3 mm, and how many of
these the checks of the registration did not notice. Real heads of open_ms_data are registered as they lie, too, and
compared with the published transforms. Each registration is kept when it is done, so that a run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_uncseg.arrays import Floats64, Mask
from napari_uncseg.labels import MODALITIES
from napari_uncseg.preparation.registration import Matrix, register
from napari_uncseg.preparation.scans import Scan
from uncseg_training.brain.heads import load_heads
from uncseg_training.brain.phantoms import GRIDS, HeadPhantom, make_phantom, rigid
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row
from uncseg_training.experiments.open_ms import FLAIR, read_visits

DEGREES, MM = 30.0, 40.0
WRONG_MM = 3.0


def draw_move(number: int) -> Matrix:
    """A move about a random axis and along another one, by sizes up to the largest."""
    random = np.random.default_rng(7000 + number)
    axis, way = random.normal(size=3), random.normal(size=3)
    turn = random.uniform(0, DEGREES) * axis / np.linalg.norm(axis)
    return rigid(turn, random.uniform(0, MM) * way / np.linalg.norm(way))


def surface_error(found: Matrix, truth: Matrix, points: Floats64) -> float:
    """Mean distance between where two matrices put points of the brain's surface, mm."""
    difference = (found - truth)[:3]
    return float(np.linalg.norm(points @ difference[:, :3].T + difference[:, 3], axis=1).mean())


def surface_of(mask: Mask, affine: Matrix) -> Floats64:
    """Some points of a mask's surface, mm."""
    inner = mask[1:-1, 1:-1, 1:-1]
    edge = inner & ~(mask[2:, 1:-1, 1:-1] & mask[:-2, 1:-1, 1:-1] & mask[1:-1, 2:, 1:-1] & mask[1:-1, 1:-1, 2:])
    voxels = np.argwhere(edge)[::50] + 1
    return np.asarray(voxels @ affine[:3, :3].T + affine[:3, 3])


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans of one visit, and how they were published to lie."""

    name: str
    fixed: Scan
    moving: Scan
    published: Matrix
    points: Floats64


def real_pairs(folder: Path) -> list[Pair]:
    """FLAIR and another sequence of each visit of open_ms_data."""
    return [
        Pair(
            f"{visit.name} {name}",
            visit.scans[FLAIR],
            scan,
            visit.published[name],
            surface_of(visit.mask, visit.affine),
        )
        for visit in read_visits(folder)
        for name, scan in visit.scans.items()
        if name != FLAIR and FLAIR in visit.scans
    ]


def _one(number: int, fixed: Scan, moving: Scan, truth: Matrix, points: Floats64, what: str) -> Row:
    start = time.perf_counter()
    found = register(fixed.values, fixed.affine, moving.values, moving.affine)
    return {
        "move": number,
        "head": what,
        "moved mm": round(surface_error(truth, np.eye(4), points), 2),
        "error mm": round(surface_error(found.matrix, truth, points), 3),
        "noticed": not found.works,
        "returned mm": round(found.returned_mm, 2),
        "overlap": round(found.overlap, 3),
        "starts": found.starts,
        "seconds": round(time.perf_counter() - start, 1),
    }


def summary(rows: list[Row]) -> Iterator[Row]:
    """Per kind of head."""
    for what in dict.fromkeys(row["head"].split()[0] for row in rows):
        part = [row for row in rows if row["head"].startswith(what)]
        errors = np.array([row["error mm"] for row in part])
        wrong = [row for row in part if row["error mm"] > WRONG_MM]
        believed = [row["error mm"] for row in part if not row["noticed"]]
        yield {
            "head": what,
            "moves": len(part),
            "mean error mm": round(float(errors.mean()), 3),
            "median error mm": round(float(np.median(errors)), 3),
            "mean error mm of those believed": round(float(np.mean(believed)), 3) if believed else None,
            "largest error mm": round(float(errors.max()), 2),
            f"over {WRONG_MM:g} mm": len(wrong),
            "of these unnoticed": sum(not row["noticed"] for row in wrong),
            "false alarms": sum(row["noticed"] for row in part) - sum(row["noticed"] for row in wrong),
            "seconds each": round(float(np.mean([row["seconds"] for row in part])), 1),
        }


@harness.experiment
def main(
    heads: Annotated[Path, typer.Argument(help="File heads.npz of the run of uncseg-train brain.")],
    out: harness.Out,
    open_ms: Annotated[Path | None, typer.Option(help="Folder longitudinal of open_ms_data.")] = None,
    moves: Annotated[int, typer.Option(help="How many, of phantoms.")] = 100,
    living_moves: Annotated[int, typer.Option("--real-moves", help="How many, of real heads.")] = 20,
    minutes: harness.Minutes = None,
) -> None:
    """Register heads that were moved by known amounts."""
    clock, rows = harness.Clock(minutes), []
    found = load_heads(heads)
    pairs = real_pairs(open_ms) if open_ms else []
    roles = MODALITIES[1:]

    @lru_cache(maxsize=1)
    def head(number: int) -> HeadPhantom:
        return make_phantom(found[number % len(found)], 6_000_000 + number)

    def published(number: int) -> Row:
        pair = pairs[number]
        return _one(number, pair.fixed, pair.moving, pair.published, pair.points, "published")

    def living(number: int) -> Row:
        pair, truth = pairs[number % len(pairs)], draw_move(number)
        moved = Scan(pair.moving.values, truth @ pair.moving.affine, "")
        return _one(number, pair.fixed, moved, truth @ pair.published, pair.points, "real")

    def phantom(number: int) -> Row:
        truth, role = draw_move(number), roles[number % 3]
        made = head(number // 3)
        moving = made.scan(MODALITIES.index(role), truth, *GRIDS[role])
        fixed = Scan(made.images[0], made.affine, "")
        return _one(number, fixed, moving, truth, surface_of(made.brain, made.affine), f"phantom {role}")

    kinds = ((published, len(pairs)), (phantom, moves), (living, living_moves if pairs else 0))
    for make, count in kinds:
        name = "real" if make is living else make.__name__
        for number in range(count):
            clock.check()
            rows.append(harness.kept(out / "moves" / f"{name}-{number:03d}.json", partial(make, number)))
            typer.echo(" ".join(f"{key} {value}" for key, value in rows[-1].items()))
    harness.write_table(rows, out / "registration_moves", "Known moves, one by one")
    harness.write_table(list(summary(rows)), out / "registration", "Known moves found again")
    harness.write_json({"degrees": DEGREES, "mm": MM, "rows": rows}, out / "registration.json")


if __name__ == "__main__":
    typer.run(main)
