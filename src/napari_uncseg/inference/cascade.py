"""Where the second stage of a cascade looks: round what the first stage found, in tiles that fit it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_uncseg.io.geometry import three
from napari_uncseg.metrics.morphology import bounding_box

THRESHOLD = 0.1
"""Least probability of whole tumour in the first stage that the second one looks at."""

MARGIN_MM = 12.0
"""How far it looks beyond that."""

LARGEST_SIDE = 128
"""Longest side of a tile in voxels: a network of instance norms works on a larger tile than it was trained on, and one
tile takes less time than the eight that overlap where a side is a little too long."""

OVERLAP = 32
"""Voxels that neighbouring tiles share."""


def second_stage_box(
    whole_tumour: npt.NDArray[np.float32], spacing: Sequence[float], smallest: Sequence[int]
) -> tuple[slice, slice, slice]:
    """Box that the second stage segments.

    Parameters
    ----------
    whole_tumour : ndarray of float, shape (x, y, z)
        Probability of the first stage on the second stage's grid, 0..1.
    spacing : sequence of float
        Voxel size of that grid in mm.
    smallest : sequence of int
        Voxels that the box has at least, as far as the grid goes.

    Returns
    -------
    tuple of slice
        Round all voxels of at least :data:`THRESHOLD`; round the likeliest voxel where there are none, so that a second
        look is taken at what was hardly seen.
    """
    found = bounding_box(whole_tumour >= THRESHOLD)
    if found is None:
        peak = np.unravel_index(int(whole_tumour.argmax()), whole_tumour.shape)
        found = tuple(slice(int(place), int(place) + 1) for place in peak)
    box = []
    for part, size, voxel, least in zip(found, whole_tumour.shape, spacing, smallest, strict=True):
        margin = math.ceil(MARGIN_MM / voxel)
        start, stop = part.start - margin, part.stop + margin
        short = max(0, least - (stop - start))
        start, stop = start - short // 2, stop + short - short // 2
        # At the edge of the grid the box moves inwards before it is cut.
        start, stop = max(0, min(start, size - (stop - start))), min(size, max(stop, stop - start))
        box.append(slice(start, min(size, stop)))
    return three(box)


def second_stage_tile(shape: Sequence[int], divisors: Sequence[int]) -> tuple[int, int, int]:
    """Tile that covers a box in as few pieces as the longest side allows.

    Parameters
    ----------
    shape : sequence of int
        Voxels of the box.
    divisors : sequence of int
        What the sides of a tile must be multiples of.
    """
    sides = []
    for size, unit in zip(shape, divisors, strict=True):
        pieces = 1 if size <= LARGEST_SIDE else math.ceil((size - OVERLAP) / (LARGEST_SIDE - OVERLAP))
        sides.append(math.ceil((size + OVERLAP * (pieces - 1)) / pieces / unit) * unit)
    return three(sides)
