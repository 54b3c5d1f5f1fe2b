"""Finding in a thread of its own: the slider never waits, and only the last threshold asked for is answered."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.maps import MapName
from napari_uncseg.review.findings import Findings, find
from napari_uncseg.review.watershed import Watershed, build_watershed
from napari_uncseg.widgets.base import worker_for

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


class Search:
    """Answers one question; ``str()`` is what napari shows of it when it closes.

    Parameters
    ----------
    question : Question
    watershed : Watershed, optional
        Of the question's map, if it was built before.
    """

    def __init__(self, question: Question, watershed: Watershed | None) -> None:
        self._question = question
        self._watershed = watershed

    def __call__(self) -> tuple[Question, Watershed, Findings]:
        """Find; builds the watershed when there is none."""
        asked = self._question
        watershed = (
            self._watershed
            if self._watershed is not None
            else build_watershed(asked.prediction, asked.key, asked.brain)
        )
        return asked, watershed, find(watershed, asked.threshold, asked.within)

    def __str__(self) -> str:
        return "a search for findings"


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
        self._worker: Any = None
        self._number = 0
        self._watershed: tuple[weakref.ref[Prediction], weakref.ref[Any] | None, Watershed] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(THROTTLE_MS)
        self._timer.timeout.connect(self._start)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._worker is not None or self._wanted is not None

    def ask(self, question: Question) -> None:
        """Ask; an earlier question that is not yet answered is dropped."""
        self._wanted = question
        if not self._timer.isActive():
            self._timer.start()

    def drop(self) -> None:
        """Drop what was asked; what is being searched is not told."""
        self._wanted = None
        self._timer.stop()
        self._worker = None
        self._number += 1

    def _start(self) -> None:
        question = self._wanted
        if question is None or self._worker is not None:
            return
        self._wanted = None
        worker = worker_for(Search(question, self._known(question)))
        # The thread may outlive this object: whoever hears of its end asks first whether anyone still listens.
        # It is told by its number: a worker that knew itself would be left to the garbage collector, in any thread.
        self._number += 1
        alive = weakref.ref(self)
        worker.returned.connect(partial(_tell, alive, self._number, "_on_found"))
        worker.errored.connect(partial(_tell, alive, self._number, "_on_error"))
        self._worker = worker
        worker.start()

    def _known(self, question: Question) -> Watershed | None:
        if self._watershed is None:
            return None
        prediction, brain, watershed = self._watershed
        return (
            watershed if question.about(prediction(), watershed.key, brain() if brain is not None else None) else None
        )

    def _on_found(self, answer: tuple[Question, Watershed, Findings]) -> None:
        question, watershed, findings = answer
        self._worker = None
        brain = weakref.ref(question.brain) if question.brain is not None else None
        self._watershed = (weakref.ref(question.prediction), brain, watershed)
        newer = self._wanted
        overtaken = newer is not None and not newer.about(question.prediction, question.key, question.brain)
        if not overtaken:
            self.found.emit(question, findings)
        if self._wanted is not None:
            self._start()

    def _on_error(self, error: Exception) -> None:
        self._worker = None
        self.failed.emit(error)
        if self._wanted is not None:
            self._start()


def _tell(finder: weakref.ref[Finder], number: int, method: str, result: Any) -> None:
    alive = finder()
    if alive is not None and alive._number == number:
        getattr(alive, method)(result)
