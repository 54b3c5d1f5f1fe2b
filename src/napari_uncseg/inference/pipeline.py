"""Read, predict and save: what ``uncseg predict``, ``uncseg demo`` and the window share. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_uncseg.errors import Cancelled
from napari_uncseg.inference.ensemble_spec import AUTO, EnsembleSpec
from napari_uncseg.inference.jobs import Outcome, PredictionJob, Status
from napari_uncseg.inference.progress import Progress, silent
from napari_uncseg.io.command import seen_from
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import State, check_target, save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Coding
from napari_uncseg.maps import Measure
from napari_uncseg.models.identity import BUNDLED, find_calibration

if TYPE_CHECKING:
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.uncertainty.recalibration.io import Calibration


def make_predictor(settings: PredictionSettings, notify: Callable[[str], None]) -> Predictor:
    """The predictor that settings ask for; loads torch.

    Raises
    ------
    ModelError, DeviceError
        When the model or the device cannot be used.
    """
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.models.model import load_model

    return Predictor(load_model(settings.model or settings.ensemble.stand_in), device=settings.device, notify=notify)


@dataclass(frozen=True)
class PredictionSettings:
    """How the studies of one run are read, predicted and saved.

    Parameters
    ----------
    out : Path
        Folder that takes one folder per study.
    overwrite : bool
        Whether results that stand there may be replaced.
    resample : bool
        Whether modalities on another grid are put on T1c's.
    coding : Coding, optional
        Label coding of the references; ``None`` takes it from the names.
    ensemble : EnsembleSpec
        What the probabilities are the mean of.
    maps : tuple of str, optional
        Maps to make; ``None`` for the usual ones.
    calibration : Path, optional
        File of a calibration that the mean probability goes through, or ``bundled``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:<number>``.
    model : Path, optional
        Folder of a model; ``None`` for the bundled one.
    """

    out: Path
    overwrite: bool = False
    resample: bool = False
    coding: Coding | None = None
    ensemble: EnsembleSpec = AUTO
    maps: tuple[str, ...] | None = None
    calibration: Path | None = None
    device: str = "auto"
    model: Path | None = None

    @property
    def options(self) -> dict[str, object]:
        """Options that decide what comes out, by their names on a command line; paths are absolute."""
        calibration = self.calibration
        if calibration is not None and str(calibration) != BUNDLED:
            calibration = calibration.absolute()
        return {
            "-o": self.out.absolute(),
            "--device": self.device,
            "--model": self.model.absolute() if self.model else None,
            "--members": self.ensemble if self.ensemble != AUTO else None,
            "--maps": ",".join(self.maps) if self.maps is not None else None,
            "--calibration": calibration,
            "--resample": self.resample,
            "--coding": self.coding,
        }

    def predict_kwargs(self) -> dict[str, Any]:
        """What a predictor is asked for besides the usual, by the names of its arguments.

        Raises
        ------
        UncsegError
            When the calibration cannot be read.
        """
        kwargs: dict[str, Any] = {"ensemble": self.ensemble} if self.ensemble != AUTO else {}
        kwargs |= {"maps": self.maps} if self.maps is not None else {}
        if self._calibration is not None:
            kwargs["calibration"] = self._calibration
        return kwargs

    @cached_property
    def _calibration(self) -> Calibration | None:
        """Read once: every study of a run has the same, whatever becomes of the file meanwhile."""
        return None if self.calibration is None else find_calibration(self.calibration)


def predict_jobs(
    jobs: Sequence[PredictionJob],
    make: Callable[[], Predictor],
    settings: PredictionSettings,
    *,
    progress: Callable[[int, PredictionJob], AbstractContextManager[Progress]],
    cancelled: Callable[[], bool],
) -> Iterator[Outcome]:
    """Predict studies one after the other; while the network runs, the next one is read and the last one saved.

    The first one is read while torch and the network are.

    A run of several members that is stopped after the first of them saves those that are done; the next run replaces
    them by all.

    Parameters
    ----------
    jobs : sequence of PredictionJob
    make : callable
        Gives the predictor.
    settings : PredictionSettings
    progress : callable
        Given a study's number from 1 on and its job, shows how far it is while the context lasts.
    cancelled : callable

    Yields
    ------
    Outcome
        Of each study in turn, failures among them.

    Raises
    ------
    Cancelled
        When the user stopped before the last study was done, after the outcomes of those that are.
    UncsegError
        When there is no such predictor.
    """
    ended = stopped = False
    waiting: tuple[PredictionJob, Future[Outcome]] | None = None
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as saver:
        reading = [reader.submit(_read, job, settings) for job in jobs[:1]]
        predictor = make()
        for number, job in enumerate(jobs, start=1):
            study, outcome = reading.pop(), Future[Outcome]()
            reading += [reader.submit(_read, following, settings) for following in jobs[number : number + 1]]
            try:
                with progress(number, job) as tell:
                    finish = _predict(job, predictor, settings, study.result, progress=tell, cancelled=cancelled)
                outcome = saver.submit(finish)
            except Cancelled:
                stopped = True
                break
            except Exception as error:  # a bad study does not stop the ones after it
                outcome.set_exception(error)
            if waiting is not None:
                yield _outcome_of(*waiting)
            waiting = job, outcome
            ended = number == len(jobs)
            if cancelled():
                break
        if waiting is not None:
            last = _outcome_of(*waiting)
            yield last
            stopped = stopped or (cancelled() and (not ended or last.status is Status.PARTIAL))
    if stopped:
        raise Cancelled("Stopped.")


def _outcome_of(job: PredictionJob, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except Exception as error:
        return Outcome(job.files.id, Status.FAILED, error=error)


def predict_job(job: PredictionJob, predictor: Predictor, settings: PredictionSettings) -> Outcome:
    """Read, predict and save one study, unless the same result is there.

    Raises
    ------
    UncsegError
        When the study cannot be read, predicted or saved; then nothing was written.
    """
    read = partial(_read, job, settings)
    return _predict(job, predictor, settings, read, progress=silent, cancelled=lambda: False)()


def _read(job: PredictionJob, settings: PredictionSettings) -> Study:
    return load_study(job.files, resample=settings.resample, coding=settings.coding)


def _predict(
    job: PredictionJob,
    predictor: Predictor,
    settings: PredictionSettings,
    read: Callable[[], Study],
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Callable[[], Outcome]:
    """Predict a study, unless the same result is there; what saves it comes back."""
    start = time.monotonic()
    progress(0, 0, "Reading the images")
    study = read()
    if cancelled():
        raise Cancelled("Stopped before the study was finished; nothing of it was written.")
    kwargs = settings.predict_kwargs()
    provenance = predictor.provenance(study, job.command, **kwargs)
    target = check_target(settings.out, study.id, provenance, (*Measure, *(settings.maps or ())))
    if target.state is State.SAME and target.result is not None:
        there = Outcome(study.id, Status.SKIPPED, time.monotonic() - start, target.folder, target.result.provenance)
        return lambda: there
    target.refuse(overwrite=settings.overwrite)
    prediction = predictor.predict(study, progress=progress, cancelled=cancelled, command=job.command, **kwargs)
    return lambda: replace(save_study(prediction, settings), seconds=time.monotonic() - start)


def save_study(prediction: Prediction, settings: PredictionSettings, command: str | None = None) -> Outcome:
    """Save a prediction where the settings say, with the command that remakes it unless it holds that already.

    The command of a raw study, which was prepared, names no folder above the results.

    Raises
    ------
    SaveError
        As :func:`napari_uncseg.io.saving.save_prediction`.
    """
    command = command or prediction.provenance.get("command")
    if command is not None:
        command = seen_from(settings.out.absolute(), command) if "preparation" in prediction.provenance else command
        prediction = replace(prediction, provenance={**prediction.provenance, "command": command})
    saved = save_prediction(prediction, settings.out, overwrite=settings.overwrite)
    status = Status.SKIPPED if saved.skipped else Status.PARTIAL if prediction.partial else Status.SAVED
    return Outcome(prediction.study_id, status, folder=saved.folder, provenance=prediction.provenance)
