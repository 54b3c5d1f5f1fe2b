"""Many studies: each measured by one pure function in a process of its own, kept on disk, and all put together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_uncseg import __version__
from napari_uncseg.cluster import as_completed, cluster
from napari_uncseg.errors import Cancelled, EvaluationError, SaveError, UncsegError
from napari_uncseg.evaluation.cache import SCHEMA, Record, is_current, read_record, record_path, write_record
from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, metric_of_key, metrics_for
from napari_uncseg.evaluation.loading import input_hashes, read_case
from napari_uncseg.evaluation.matching import Pair
from napari_uncseg.inference.progress import Progress
from napari_uncseg.io.files import sha256_of_json
from napari_uncseg.io.provenance import plain
from napari_uncseg.labels import Coding
from napari_uncseg.maps import UNCERTAINTIES

KNOWN_MAPS = tuple(map(str, UNCERTAINTIES))
"""Maps whose default metrics every run measures where it finds them."""


_RETIRED = ('"metric":"spatial"', '"metric":"aggregates"')
"""Metrics that records of earlier versions hold and that this one no longer reads."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How the studies of one run are read and where they are kept.

    Parameters
    ----------
    out : Path
        Output folder.
    overwrite : bool
        Whether statistics of other files or settings may be replaced.
    coding, prediction_coding : Coding, optional
        How references, and label files of another tool, number their labels; by default names and values tell.
    """

    out: Path
    overwrite: bool = False
    coding: Coding | None = None
    prediction_coding: Coding | None = None


@dataclass(frozen=True)
class Measured:
    """A study whose statistics are on disk.

    Parameters
    ----------
    study : str
        The study's id.
    path : Path
        JSON of its statistics.
    kept : bool
        Whether they were there already.
    """

    study: str
    path: Path
    kept: bool


@dataclass(frozen=True)
class Failure:
    """A study that could not be evaluated, and why."""

    study: str
    error: Exception

    @property
    def why(self) -> str:
        """What to tell a reader."""
        return str(self.error) if isinstance(self.error, UncsegError) else f"unexpected {self.error!r}"


@dataclass(frozen=True, eq=False)
class Cohort(Evaluation):
    """What was measured on many studies.

    Parameters
    ----------
    metrics : tuple of Metric
        Fed with all studies.
    records : tuple of Record
        One per study.
    failures : tuple of Failure
        Studies that could not be evaluated.
    unpredicted : tuple of str
        References that no prediction was made for.
    """

    records: tuple[Record, ...] = ()
    failures: tuple[Failure, ...] = ()
    unpredicted: tuple[str, ...] = ()

    def without(self, studies: set[str]) -> Cohort:
        """The cohort less some studies."""
        metrics = (metric.without(studies) for metric in self.metrics)
        records = tuple(record for record in self.records if record.study not in studies)
        return replace(self, records=records, metrics=tuple(metric for metric in metrics if metric.cases))


def evaluate_study(pair: Pair, settings: EvaluationSettings) -> Measured:
    """Measure one study and keep its statistics, unless the same ones are there.

    Parameters
    ----------
    pair : Pair
    settings : EvaluationSettings

    Returns
    -------
    Measured

    Raises
    ------
    UncsegError
        When files cannot be read or do not fit together, or other statistics stand there; then nothing was written.
    """
    start = time.monotonic()
    if pair.problem is not None:
        raise EvaluationError(pair.problem)
    path, inputs = record_path(settings.out, pair.id), input_hashes(pair)
    Record.check_replaceable(path, damaged=True)
    codings: dict[str, str | None] = {"coding": settings.coding, "prediction_coding": settings.prediction_coding}
    decisive: dict[str, Any] = {"schema": SCHEMA, "version": __version__, "study": pair.id, "inputs": inputs}
    decisive["settings"] = {**codings, "metrics": sorted(metric.key for metric in default_metrics(KNOWN_MAPS))}
    own = sha256_of_json(plain(decisive))
    record = Record(study=pair.id, fingerprint=own, inputs=inputs, brain="none", codings=codings)
    if not settings.overwrite and is_current(path, record):
        return Measured(pair.id, path, kept=True)
    read = read_case(pair, coding=settings.coding, prediction_coding=settings.prediction_coding)
    statistics = {metric.key: metric.measure(read.case) for metric in metrics_for(read.case)}
    seconds = round(time.monotonic() - start, 2)
    brain = "images" if read.case.brain.any() else "none"
    told = {"brain": brain, "notes": read.notes, "checks": read.checks, "seconds": seconds}
    write_record(record.model_copy(update=told), statistics, settings.out)
    return Measured(pair.id, path, kept=False)


def evaluate_pairs(
    pairs: Sequence[Pair],
    settings: EvaluationSettings,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[list[Measured], list[Failure]]:
    """Measure many studies at the same time; one that fails does not stop the others.

    Parameters
    ----------
    pairs : sequence of Pair
    settings : EvaluationSettings
    workers : int, optional
        Processes, 2 by default if there are so many cores; 1 stays in this process.
    scheduler : str, optional
        Address of a ``dask.distributed`` scheduler whose workers do the work instead; they must see the same folders
        under the same names.
    progress : callable, optional
        Told the studies done, all studies, and what became of the last one.
    cancelled : callable, optional
        Once true, studies under way are finished and no other is started.

    Returns
    -------
    tuple of list of Measured and list of Failure
        In the order of the pairs.

    Raises
    ------
    Cancelled
        When ``cancelled()`` became true before the last study; what was measured is kept.
    EvaluationError
        When the scheduler cannot be reached.
    SaveError
        When the disk cannot take a study; what was measured before is kept.
    """
    results: dict[str, Measured | Failure] = {}
    count = min(workers if workers is not None else min(2, os.cpu_count() or 1), len(pairs))
    with closing(_finished(pairs, settings, count, scheduler)) as finished:
        for result in finished:
            if result is None:
                if cancelled is not None and cancelled():
                    raise Cancelled(f"Stopped after {len(results)} of {len(pairs)} studies; what was measured is kept.")
                continue
            if isinstance(result, Failure) and isinstance(result.error, SaveError):
                raise result.error  # a full disk is that of the next study, too
            results[result.study] = result
            if progress is not None:
                kept = isinstance(result, Measured) and result.kept
                done = "was there already" if kept else "measured" if isinstance(result, Measured) else "failed"
                progress(len(results), len(pairs), f"{result.study}: {done}")
    ordered = [results[pair.id] for pair in pairs]
    failures = [result for result in ordered if isinstance(result, Failure)]
    return [result for result in ordered if isinstance(result, Measured)], failures


def merge(measured: Sequence[Measured], failures: Sequence[Failure] = (), unpredicted: Sequence[str] = ()) -> Cohort:
    """Put the statistics of many studies together.

    Parameters
    ----------
    measured : sequence of Measured
    failures : sequence of Failure
    unpredicted : sequence of str
        References that no prediction was made for.

    Returns
    -------
    Cohort

    Raises
    ------
    EvaluationError
        When statistics are missing or damaged.
    """
    metrics = {metric.key: metric for metric in default_metrics(KNOWN_MAPS)}
    records = []
    for study in measured:
        record, statistics = read_record(study.path)
        records.append(record)
        for key, statistic in statistics.items():
            if not any(kind in key for kind in _RETIRED):
                metrics.setdefault(key, metric_of_key(key)).put(record.study, statistic)
    fed = tuple(metric for metric in metrics.values() if metric.cases)
    return Cohort(fed, tuple(records), tuple(failures), tuple(unpredicted))


def _finished(
    pairs: Sequence[Pair], settings: EvaluationSettings, count: int, scheduler: str | None
) -> Generator[Measured | Failure | None, None, None]:
    """What became of the studies, in the order they are finished; None whenever a run may be stopped."""
    if scheduler is None and count <= 1:
        for pair in pairs:
            yield None
            yield _outcome(pair, partial(evaluate_study, pair, settings))
        return
    with (
        _executor(count, scheduler) as executor,
        closing(as_completed(executor, evaluate_study, pairs, settings)) as ended,
    ):
        for end in ended:
            yield None if end is None else _outcome(pairs[end[0]], end[1].result)


def _outcome(pair: Pair, result: Callable[[], Measured]) -> Measured | Failure:
    """What became of a study; a bad one does not stop the others."""
    try:
        return result()
    except BrokenProcessPool:
        sentence = f"{pair.id} was lost with a process that died, perhaps for want of memory; try --workers 1."
        return Failure(pair.id, EvaluationError(sentence))
    except Exception as error:
        return Failure(pair.id, error)


@contextmanager
def _executor(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """Processes of this machine, or the workers of a cluster."""
    if scheduler is None:
        # Forking a process with threads may hang; a fresh interpreter costs two seconds once.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupt) as pool:
            yield pool
        return
    with cluster(scheduler) as executor:
        yield executor


def _ignore_interrupt() -> None:
    """Ctrl-C goes to all processes of a terminal; only the first one decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
