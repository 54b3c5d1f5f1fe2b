"""Studies that an experiment judges by, and the Dice of their regions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import typer

from napari_uncseg.arrays import AnyInts
from napari_uncseg.errors import StudyError
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.metrics.overlap import dice, is_small


def usable(folder: Path) -> Iterator[Study]:
    """Studies of a folder with a reference, read one after the other; what cannot be used is named and left out.

    Parameters
    ----------
    folder : Path
        A study folder or a folder of studies.

    Raises
    ------
    StudyError
        When the folder holds no study, or at the end when none could be used.
    """
    used = 0
    for files in find_studies(folder):
        try:
            study = load_study(files)
        except StudyError as error:
            typer.echo(f"left out: {error}", err=True)
            continue
        if study.reference is None:
            typer.echo(f"left out: {study.id} has no reference.", err=True)
            continue
        used += 1
        yield study
    if not used:
        raise StudyError(f"{folder} holds no study with a reference; name another folder.")


def require_studies(*folders: Path | None) -> None:
    """Look whether folders hold a study to judge by, before hours go by.

    Raises
    ------
    StudyError
        When one does not; None asks for nothing.
    """
    for folder in folders:
        if folder is not None:
            next(usable(folder))


def region_dice(segmentation: AnyInts, reference: AnyInts, voxel_ml: float) -> dict[Region, float]:
    """Dice of every region of two label maps, NaN for one below 1 mL in the reference."""
    found = {}
    for region, ours, truth in zip(REGIONS, region_masks(segmentation), region_masks(reference), strict=True):
        found[region] = math.nan if is_small(float(truth.sum()) * voxel_ml) else dice(ours, truth)
    return found


def mean_dice(rows: Sequence[Mapping[Region, float]]) -> dict[str, tuple[float, int]]:
    """Mean Dice and number of studies per region, where it is defined."""
    frame = pd.DataFrame(rows, columns=list(REGIONS))
    return {str(region): (float(frame[region].mean()), int(frame[region].count())) for region in REGIONS}
