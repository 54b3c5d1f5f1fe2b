"""Refresh the maps of a training by plain predictions of whole volumes, so that every voxel is in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from napari_uncseg.arrays import AnyFloats, AnyInts
from napari_uncseg.uncertainty.measures import compute_prediction_failure
from uncseg_training.paper1.error_map import ErrorMaps
from uncseg_training.paper1.variance import VarianceMaps


class Inference(NamedTuple):
    """What a network in evaluation mode makes of a case; arrays of shape (x, y, z) on the preprocessed grid.

    Parameters
    ----------
    prediction, reference : ndarray of int
        Values of :class:`napari_uncseg.labels.Label`.
    whole_tumour : ndarray of float
        Probability.
    """

    prediction: AnyInts
    reference: AnyInts
    whole_tumour: AnyFloats


ERRORS, VARIANCES = "error_maps", "variance_maps"


def open_maps(
    folder: Path,
    preprocessing: str,
    shapes: Mapping[str, Sequence[int]],
    settings: Mapping[str, Any] | None = None,
) -> tuple[ErrorMaps, VarianceMaps]:
    """Maps of a run: begun when there are ``shapes`` of cases, and those of an earlier training go away; else opened.

    Parameters
    ----------
    folder : Path
        Of the run.
    preprocessing, shapes, settings
        As for :meth:`~uncseg_training.paper1.error_map.ErrorMaps.create`.

    Raises
    ------
    ValueError
        When they are of another preprocessing or other settings, or absent although there are no shapes.
    """
    places = folder / ERRORS, folder / VARIANCES
    if shapes:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        ErrorMaps.create(places[0], shapes, preprocessing, settings=settings)
        VarianceMaps.create(places[1], shapes, preprocessing, settings=settings)
    return (
        ErrorMaps.open(places[0], preprocessing, settings=settings),
        VarianceMaps.open(places[1], preprocessing, settings=settings),
    )


def due(cases: Iterable[str], every: int, sweep: int) -> list[str]:
    """The part of the cases that is refreshed in a sweep: each one once in ``every`` sweeps.

    Parameters
    ----------
    cases : iterable of str
        All of them, in any order.
    every : int
        In how many parts they take turns.
    sweep : int
        Counts the sweeps (not the epochs between them), from 0.

    Raises
    ------
    ValueError
        When ``every`` is below 1.
    """
    if every < 1:
        raise ValueError(f"Cases cannot take turns in {every} parts; give at least 1.")
    return sorted(cases)[sweep % every :: every]


def refresh_sweep(
    predict: Callable[[str], Inference],
    cases: Iterable[str],
    store: ErrorMaps,
    every: int,
    sweep: int,
    variances: VarianceMaps | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Predict the cases that are due, and update their maps.

    Parameters
    ----------
    predict : callable
        Name of a case -> :class:`Inference`, by the network as it is now, in evaluation mode and without gradients.
    cases : iterable of str
        All cases that take turns.
    store : ErrorMaps
        Error maps to update.
    every : int
        In how many parts the cases take turns.
    sweep : int
        Counts the sweeps, from 0.
    variances : VarianceMaps, optional
        Histories to update with the same predictions.
    tell : callable
        Told the name of each case after its update.

    Returns
    -------
    list of str
        The cases that were predicted. One that has had this sweep already, before its process was killed, is not
        visited twice.
    """
    done = []
    for case in due(cases, every, sweep):
        stale = _before(store.store.cases[case].epoch, sweep)
        stale_variance = variances is not None and _before(variances.store.cases[case].epoch, sweep)
        if not (stale or stale_variance):
            continue
        inference = predict(case)
        if stale:
            failure = compute_prediction_failure(inference.prediction, inference.reference, store.failure)
            store.update(case, failure.astype(bool), sweep)
        if variances is not None and stale_variance:
            variances.update(case, inference.whole_tumour, sweep)
        tell(case)
        done.append(case)
    return done


def _before(epoch: int | None, sweep: int) -> bool:
    return epoch is None or epoch < sweep
