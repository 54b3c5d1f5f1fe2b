"""A run of the panel: what is asked for, and how it is done in a thread.

torch is imported in the thread, when a model runs, so that opening the panel costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from napari_uncseg.errors import Cancelled
from napari_uncseg.inference.ensemble_spec import SINGLE, EnsembleSpec
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.uncertainty.recalibration.io import Calibration
from napari_uncseg.viewer.layers import study_notes
from napari_uncseg.widgets.base import STOPPED, Report


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
        Ensembling or test-time augmentation method.
    calibration : NamedCalibration, optional
        What the mean probability shall go through.
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


class Predict(Protocol):
    """What turns a study into a prediction; see :func:`predict`."""

    def __call__(self, study: Study, request: Request, report: Report) -> Prediction:
        """Prediction of the study."""


def predict(study: Study, request: Request, report: Report) -> Prediction:
    """Run a model on a study.

    Returns
    -------
    Prediction
        Of the members that are done, when it was stopped after the first of several.

    Raises
    ------
    UncsegError
        When the model, the device or the study do not do; Cancelled when stopped.
    """
    report.tell(0, 0, "Loading the model")
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.models.model import load_model

    model = load_model(request.model_folder or request.members.stand_in)
    return Predictor(model, device=request.device, notify=report.notify).predict(
        study,
        members=request.members,
        calibration=None if request.calibration is None else request.calibration.calibration,
        progress=report.tell,
        cancelled=report.cancelled,
    )


def run(request: Request, predict: Predict, report: Report) -> Outcome:
    """Read the study, then predict; called in a thread.

    Raises
    ------
    UncsegError
        As :func:`predict`.
    """
    report.tell(0, 0, "Reading the study")
    study = request.load()
    for note in study_notes(study):
        report.notify(note)
    if report.cancelled():
        raise Cancelled(STOPPED)
    return Outcome(study, predict(study, request, report), request)
