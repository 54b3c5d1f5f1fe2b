"""Finding in a thread: the slider never waits, and only the last threshold asked for is answered."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.maps import MapName
from napari_uncseg.review.findings import Findings, find
from napari_uncseg.review.watershed import Watershed, build_watershed
from napari_uncseg.widgets.base import Job, Report

THROTTLE_MS = 25
"""How long the slider may go on before a search starts."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be found.

    Parameters
    ----------
    prediction : Prediction
    key : MapName
    threshold : float
        In the map's unit.
    within : ndarray of bool, shape (x, y, z), optional
        Voxels that count.
    brain : ndarray of bool, shape (x, y, z), optional
        As the study knows it.
    """

    prediction: Prediction
    key: MapName
    threshold: float
    within: npt.NDArray[np.bool_] | None = None
    brain: npt.NDArray[np.bool_] | None = None

    def about(self, prediction: Prediction | None, key: MapName, brain: npt.NDArray[np.bool_] | None) -> bool:
        """Whether a watershed of these answers it."""
        return self.prediction is prediction and self.key == key and self.brain is brain


class Finder(QObject):
    """Searches for findings, one question at a time; questions that were overtaken are not answered.

    Attributes
    ----------
    found : Signal
        The question and its :class:`Findings`.
    failed : Signal
        The exception of a search.
    """

    found = Signal(object, object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: Question | None = None
        self._watershed: tuple[weakref.ref[Prediction], weakref.ref[Any] | None, Watershed] | None = None
        self._job = Job(self, "a search for findings")
        self._job.returned.connect(self._on_found)
        self._job.failed.connect(self.failed)
        self._job.finished.connect(self._start)
        self._soon = QSignalThrottler(parent=self)
        self._soon.setTimeout(THROTTLE_MS)
        self._soon.triggered.connect(self._start)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._job.running or self._wanted is not None

    def ask(self, question: Question) -> None:
        """Ask; an earlier question that is not yet answered is dropped."""
        self._wanted = question
        self._soon.throttle()

    def drop(self) -> None:
        """Drop what was asked; what is being searched is not told."""
        self._wanted = None
        self._job.drop()

    def _start(self) -> None:
        question = self._wanted
        if question is None or self._job.running:
            return
        self._wanted = None
        self._job.start(partial(_search, question, self._known(question)))

    def _known(self, question: Question) -> Watershed | None:
        if self._watershed is None:
            return None
        prediction, brain, watershed = self._watershed
        return (
            watershed if question.about(prediction(), watershed.key, brain() if brain is not None else None) else None
        )

    def _on_found(self, answer: tuple[Question, Watershed, Findings]) -> None:
        question, watershed, findings = answer
        brain = weakref.ref(question.brain) if question.brain is not None else None
        self._watershed = (weakref.ref(question.prediction), brain, watershed)
        newer = self._wanted
        if newer is None or newer.about(question.prediction, question.key, question.brain):
            self.found.emit(question, findings)


def _search(asked: Question, watershed: Watershed | None, _report: Report) -> tuple[Question, Watershed, Findings]:
    """Find; builds the watershed when there is none."""
    watershed = watershed if watershed is not None else build_watershed(asked.prediction, asked.key, asked.brain)
    return asked, watershed, find(watershed, asked.threshold, asked.within)
