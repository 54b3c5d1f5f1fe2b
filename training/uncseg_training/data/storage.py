"""What the maps of a cohort take on disk, extrapolated from those of some cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Storage:
    """What the maps of a cohort take on disk.

    Parameters
    ----------
    cases : int
        Of the cohort.
    measured : int
        Cases that were measured.
    per_case, deviation : float
        Mean and standard deviation of the bytes of a measured case; NaN deviation for a single one.
    total : float
        Bytes of the cohort.
    raw : float
        Bytes of the cohort's maps as plain float16 arrays, without visits.
    """

    cases: int
    measured: int
    per_case: float
    deviation: float
    total: float
    raw: float


def estimate_storage(sizes: Sequence[int], shape: Sequence[int], cases: int) -> Storage:
    """Extrapolate measured sizes to a cohort.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of some cases, as of ``CaseMaps.sizes``.
    shape : sequence of int
        Of a typical volume.
    cases : int
        Of the cohort.

    Raises
    ------
    ValueError
        When nothing was measured.
    """
    if not sizes:
        raise ValueError("No case has a map yet, so there is nothing to extrapolate from; refresh some first.")
    mean = float(np.mean(sizes))
    deviation = float(np.std(sizes, ddof=1)) if len(sizes) > 1 else float("nan")
    raw = float(np.prod([float(size) for size in shape])) * np.dtype(np.float16).itemsize * cases
    return Storage(cases, len(sizes), mean, deviation, mean * cases, raw)
