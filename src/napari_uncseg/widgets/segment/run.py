"""A run in a thread of its own: what it does, and how it reports and stops.

torch is imported in the thread, when a model runs, so that opening the panel costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from napari_uncseg.errors import Cancelled, UncsegError
from napari_uncseg.inference.ensemble_spec import SINGLE, EnsembleSpec
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.viewer.layers import study_notes

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


class Predict(Protocol):
    """What turns a study into a prediction; see :func:`predict`."""

    def __call__(
        self,
        study: Study,
        model_folder: Path | None,
        device: str,
        *,
        members: EnsembleSpec,
        calibration: Calibration | None,
        progress: Progress,
        notify: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """Prediction of the study."""


@dataclass(frozen=True)
class NamedCalibration:
    """A calibration with its name: a file, or ``bundled``."""

    name: Path
    calibration: Calibration


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Parameters
    ----------
    load : callable
        Reads or builds the study.
    model_folder : Path or None
        Folder of a model; None for the bundled one.
    device : str
        ``auto``, ``cuda`` or ``cpu``.
    members : EnsembleSpec
        What the probabilities shall be the mean of.
    calibration : NamedCalibration, optional
        What the mean shall go through.
    """

    load: Callable[[], Study]
    model_folder: Path | None
    device: str
    members: EnsembleSpec = SINGLE
    calibration: NamedCalibration | None = None


@dataclass(frozen=True)
class Outcome:
    """A study with its prediction and what was asked for, whatever is selected in the viewer by now."""

    study: Study
    prediction: Prediction
    request: Request


def predict(
    study: Study,
    model_folder: Path | None,
    device: str,
    *,
    members: EnsembleSpec = SINGLE,
    calibration: Calibration | None = None,
    progress: Progress,
    notify: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> Prediction:
    """Run a model on a study.

    Parameters
    ----------
    study : Study
        The images.
    model_folder : Path or None
        Folder of a model; None for the bundled one.
    device : str
        ``auto``, ``cuda`` or ``cpu``.
    members : EnsembleSpec
        What the probabilities shall be the mean of.
    calibration : Calibration, optional
        What the mean shall go through.
    progress : callable
        Called with done, total and a message.
    notify : callable
        Called with sentences the user should read.
    cancelled : callable
        Whether to stop.

    Returns
    -------
    Prediction
        Of the members that are done, when it was stopped after the first of several.

    Raises
    ------
    UncsegError
        When the model, the device or the study do not do; Cancelled when stopped.
    """
    progress(0, 0, "Loading the model")
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.models.model import load_model

    predictor = Predictor(load_model(model_folder or members.stand_in), device=device, notify=notify)
    return predictor.predict(study, members=members, calibration=calibration, progress=progress, cancelled=cancelled)


class Report:
    """What a running thread tells, and the flag that stops it.

    The panel looks at it every now and then: nothing in the thread ever reaches for a widget, which may be gone.
    """

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.progress: tuple[int, int, str] = (0, 0, "Waiting to start")
        self.notices: tuple[str, ...] = ()

    def tell_progress(self, done: int, total: int, message: str) -> None:
        """Take note of what is done; a total of 0 means that nobody knows."""
        self.progress = (done, total, message)

    def tell_notice(self, sentence: str) -> None:
        """Take note of a sentence the user should read."""
        self.notices = (*self.notices, sentence)


class Run:
    """One run: reads the study, then predicts. Called in a thread; ``str()`` is what napari shows of it when it closes.

    Parameters
    ----------
    request : Request
        What to do.
    predict : Predict
        How to do it.
    report : Report
        Where to tell, and whether to stop.
    """

    def __init__(self, request: Request, predict: Predict, report: Report) -> None:
        self._request = request
        self._predict = predict
        self._report = report

    def __call__(self) -> Outcome:
        """Do it; raises Cancelled when stopped."""
        report = self._report
        report.tell_progress(0, 0, "Reading the study")
        study = self._request.load()
        report.notices = (*report.notices, *study_notes(study))
        if report.cancel.is_set():
            raise Cancelled("Stopped; nothing was changed.")
        prediction = self._predict(
            study,
            self._request.model_folder,
            self._request.device,
            members=self._request.members,
            calibration=None if self._request.calibration is None else self._request.calibration.calibration,
            progress=report.tell_progress,
            notify=report.tell_notice,
            cancelled=report.cancel.is_set,
        )
        return Outcome(study, prediction, self._request)

    def __str__(self) -> str:
        return "a segmentation"


class Stopper:
    """A running thread, kept apart from its panel so that it can be stopped when the panel is gone.

    ``report`` is that of the thread, or None when nothing runs.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self._worker: Any = None

    def start(self, report: Report, worker: Any) -> None:
        """Take charge of a thread and its report."""
        self.report, self._worker = report, worker

    def clear(self) -> None:
        """Forget a thread that has finished."""
        self.report = self._worker = None

    def ask(self) -> None:
        """Ask the thread to stop, if one runs; what it gives back nevertheless is welcome."""
        if self.report is not None:
            self.report.cancel.set()

    def stop(self, _object: object = None) -> None:
        """Tell the thread to stop, if one runs, and drop whatever it gives back."""
        if self.report is not None:
            self.report.cancel.set()
            self._worker.quit()


def failure_sentence(error: BaseException) -> str:
    """One sentence for the user; what is no error of theirs goes to the log with its traceback."""
    if isinstance(error, UncsegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory of this computer does not suffice for this study; close other programs and run again."
    logger.error("A run failed unexpectedly.", exc_info=error)
    return f"The run failed unexpectedly ({type(error).__name__}: {error}); the log holds the details."
