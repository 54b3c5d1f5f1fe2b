"""Read, predict and save: what ``uncseg predict``, ``uncseg demo`` and the window share. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_uncseg.errors import Cancelled, StudyError, UncsegError
from napari_uncseg.inference.ensemble_spec import AUTO, EnsembleSpec
from napari_uncseg.io.command import command_line, option_words
from napari_uncseg.io.discovery import StudyFiles, find_studies, study_files
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.saving import State, check_target, save_prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, Coding
from napari_uncseg.maps import Measure
from napari_uncseg.models.identity import BUNDLED, find_calibration

if TYPE_CHECKING:
    from napari_uncseg.inference.predictor import Predictor

FROM_LAYERS = "napari: Segment with uncertainty, on open layers without files of their own"
"""What stands for a command when there is none."""

Progress = Callable[[int, int, str], None]
"""Called with what is done, the total (0 when it is not known yet) and what is going on."""


def make_predictor(model: Path | None, device: str, notify: Callable[[str], None]) -> Predictor:
    """Predictor of a model folder (``None``: the bundled one) on a device; loads torch.

    Raises
    ------
    ModelError, DeviceError
        When the model or the device cannot be used.
    """
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.models.model import load_model

    return Predictor(load_model(model), device=device, notify=notify)


@dataclass(frozen=True)
class Settings:
    """How the studies of one run are read and saved.

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
    members : EnsembleSpec
        What the probabilities are the mean of.
    maps : tuple of str, optional
        Maps to make; ``None`` for the usual ones.
    calibration : Path, optional
        File of a calibration that the mean probability goes through, or ``bundled``.
    """

    out: Path
    overwrite: bool = False
    resample: bool = False
    coding: Coding | None = None
    members: EnsembleSpec = AUTO
    maps: tuple[str, ...] | None = None
    calibration: Path | None = None

    def options(self, device: str, model: Path | None) -> list[str]:
        """Options that decide what comes out, as they are written on a command line; paths are absolute."""
        calibration = self.calibration
        if calibration is not None and str(calibration) != BUNDLED:
            calibration = calibration.absolute()
        members = self.members if self.members != AUTO else None
        maps = ",".join(self.maps) if self.maps is not None else None
        said = {"-o": self.out.absolute(), "--device": device, "--model": model.absolute() if model else None}
        said |= {"--members": members, "--maps": maps, "--calibration": calibration}
        return option_words({**said, "--resample": self.resample, "--coding": self.coding})

    def predict_kwargs(self) -> dict[str, Any]:
        """What a predictor is asked for besides the usual, by the names of its arguments.

        Raises
        ------
        UncsegError
            When the calibration cannot be read.
        """
        kwargs: dict[str, Any] = {"members": self.members} if self.members != AUTO else {}
        kwargs |= {"maps": self.maps} if self.maps is not None else {}
        if self.calibration is not None:
            kwargs["calibration"] = find_calibration(self.calibration)
        return kwargs


@dataclass(frozen=True)
class PredictionJob:
    """A study to predict and the command that makes its result again."""

    files: StudyFiles
    command: str


class Status(StrEnum):
    """What became of a job."""

    SAVED = "saved"
    PARTIAL = "saved in part"
    SKIPPED = "already there"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one study.

    Parameters
    ----------
    study_id : str
        The study's id, or the path that led to none.
    status : Status
        Saved (in part when the run was stopped after some of its members), already there, or failed.
    seconds : float
        From the first file read to the last one written.
    folder : Path, optional
        Where the result is.
    provenance : mapping
        What the result's JSON says; empty after a failure.
    error : Exception, optional
        Why it failed.
    """

    study_id: str
    status: Status
    seconds: float = 0.0
    folder: Path | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None


def find_jobs(paths: Sequence[Path], options: Sequence[str]) -> tuple[list[PredictionJob], list[Outcome]]:
    """Studies in the given folders and files.

    Parameters
    ----------
    paths : sequence of Path
        Studies, or folders of studies.
    options : sequence of str
        What followed the studies on the command line.

    Returns
    -------
    tuple of list of PredictionJob and list of Outcome
        Each study once, in the order given, and a failure for each path that holds none.

    Raises
    ------
    StudyError
        When two different studies have the same id, for they would share a folder.
    """
    jobs: dict[str, PredictionJob] = {}
    failures = []
    for path in paths:
        try:
            found = find_studies(path)
        except UncsegError as error:
            failures.append(Outcome(str(path), Status.FAILED, error=error))
            continue
        for files in found:
            # Absolute, so that the command makes the result again, and its images are found, from any folder.
            own = _own_path(files, path, len(found)).absolute()
            job = PredictionJob(files, command_line("predict", own, *options))
            known = jobs.setdefault(files.id, job)
            if not known.files.same_images(files):
                what = f"Two studies are called {files.id} ({known.files.folder} and {files.folder})"
                raise StudyError(f"{what}; predict them in two runs with different output folders.")
    return list(jobs.values()), failures


def job_of_files(files: Mapping[str, Path], study_id: str | None, options: Sequence[str]) -> PredictionJob:
    """PredictionJob of one study whose files are named one by one.

    Parameters
    ----------
    files : mapping of str to Path
        A file for each modality, and perhaps one for ``reference``.
    study_id : str, optional
        The study's id; ``None`` takes what the names have in common.
    options : sequence of str
        What followed the files on the command line.

    Raises
    ------
    StudyError
        When one file is named twice.
    """
    study = study_files(**files, id=study_id)
    return PredictionJob(study, command_line("predict", *_file_words(files, study.id), *options))


def _own_path(files: StudyFiles, given: Path, found: int) -> Path:
    """Path that stands for one study: the given one, or for one of many its own folder if it holds nothing else."""
    with suppress(StudyError):
        if found > 1 and files.folder != given and [other.id for other in find_studies(files.folder)] == [files.id]:
            return files.folder
    return given


def predict_job(
    job: PredictionJob, predictor: Predictor, settings: Settings, *, progress: Progress, cancelled: Callable[[], bool]
) -> Outcome:
    """Read, predict and save one study, unless the same result is there.

    A run of several members that is stopped after the first of them saves those that are done; the next run replaces
    them by all.

    Raises
    ------
    UncsegError
        When the study cannot be read, predicted or saved; then nothing was written.
    """
    start = time.monotonic()
    progress(0, 0, "Reading the images")
    study = load_study(job.files, resample=settings.resample, coding=settings.coding)
    if cancelled():
        raise Cancelled("Stopped before the study was finished; nothing of it was written.")
    kwargs = settings.predict_kwargs()
    provenance = predictor.provenance(study, job.command, **kwargs)
    target = check_target(settings.out, study.id, provenance, (*Measure, *(settings.maps or ())))
    if target.state is State.SAME and target.result is not None:
        return Outcome(study.id, Status.SKIPPED, time.monotonic() - start, target.folder, target.result.provenance)
    target.refuse(overwrite=settings.overwrite)
    prediction = predict_study(study, predictor, settings, progress=progress, cancelled=cancelled, command=job.command)
    progress(0, 0, "Saving")
    outcome = save_study(prediction, settings)
    return replace(outcome, seconds=time.monotonic() - start)


def predict_study(
    study: Study,
    predictor: Predictor,
    settings: Settings,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    command: str | None = None,
) -> Prediction:
    """Predict a study that was read, as the settings say; where the result will go does not matter yet.

    Raises
    ------
    UncsegError
        As :meth:`napari_uncseg.inference.predictor.Predictor.predict`.
    """
    kwargs = settings.predict_kwargs()
    return predictor.predict(study, progress=progress, cancelled=cancelled, command=command, **kwargs)


def save_study(prediction: Prediction, settings: Settings, command: str | None = None) -> Outcome:
    """Save a prediction where the settings say, with the command that remakes it unless it holds that already.

    Raises
    ------
    SaveError
        As :func:`napari_uncseg.io.saving.save_prediction`.
    """
    if command is not None:
        prediction = replace(prediction, provenance={**prediction.provenance, "command": command})
    saved = save_prediction(prediction, settings.out, overwrite=settings.overwrite)
    status = Status.SKIPPED if saved.skipped else Status.PARTIAL if prediction.partial else Status.SAVED
    return Outcome(prediction.study_id, status, folder=saved.folder, provenance=prediction.provenance)


def command_of(study: Study, options: Sequence[str]) -> str:
    """The command that makes a result of a study again, which was read without one.

    Parameters
    ----------
    study : Study
    options : sequence of str
        What follows the study on the command line (:meth:`Settings.options`).

    Returns
    -------
    str
        ``uncseg predict …`` with the folder that holds the study and no other, or else its files one by one;
        :data:`FROM_LAYERS` for a study that was not read from files.
    """
    files = {source.role: source.path.absolute() for source in study.sources}
    if not set(MODALITIES) <= set(files):
        return FROM_LAYERS
    if len({files[modality] for modality in MODALITIES}) == 1:  # volumes of one file cannot be named one by one
        return command_line("predict", files["t1c"], *options)
    try:
        found = [(other.id, _paths(other)) for other in find_studies(files["t1c"].parent)]
    except UncsegError:
        found = []
    alone = found == [(study.id, files)]
    return command_line("predict", *([files["t1c"].parent] if alone else _file_words(files, study.id)), *options)


def _paths(files: StudyFiles) -> dict[str, Path]:
    """Absolute path of each file, by role."""
    named = {**files.paths, **({"reference": files.reference} if files.reference is not None else {})}
    return {role: path.absolute() for role, path in named.items()}


def _file_words(files: Mapping[str, Path], study_id: str) -> list[str]:
    return option_words({**{f"--{role}": path.absolute() for role, path in files.items()}, "--id": study_id})
