"""Making the report of a study in a thread of its own."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.review.corrections import Correction
from napari_uncseg.review.findings import Findings
from napari_uncseg.review.verdicts import Record
from napari_uncseg.widgets.base import worker_for


@dataclass(frozen=True, eq=False)
class ReportRequest:
    """What a report is made of, see :class:`napari_uncseg.reporting.study_report.Material`, and where it goes."""

    study: Study
    prediction: Prediction
    findings: Findings | None
    records: tuple[Record, ...]
    correction: Correction | None
    folder: Path


class ReportTask:
    """Makes one report; ``str()`` is what napari shows of it when it closes."""

    def __init__(self, request: ReportRequest) -> None:
        self._request = request

    def __call__(self) -> list[Path]:
        """Write the files."""
        from napari_uncseg.reporting.study_report import Material, write_study_report  # loads matplotlib

        asked = self._request
        material = Material(asked.study, asked.prediction, asked.findings, asked.records, asked.correction)
        return write_study_report(material, asked.folder)

    def __str__(self) -> str:
        return "the report of a study"


class ReportMaker(QObject):
    """Makes reports, one at a time.

    Attributes
    ----------
    made : Signal
        Paths of the files.
    failed : Signal
        The exception.
    """

    made = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._worker: Any = None

    @property
    def busy(self) -> bool:
        """Whether a report is being made."""
        return self._worker is not None

    def make(self, request: ReportRequest) -> None:
        """Start; while another report is being made nothing happens."""
        if self.busy:
            return
        worker = worker_for(ReportTask(request))
        alive = weakref.ref(self)
        worker.returned.connect(partial(_tell, alive, "made"))
        worker.errored.connect(partial(_tell, alive, "failed"))
        self._worker = worker
        # Drawing makes much garbage. Collected in its thread, widgets that happen to be in it would be destroyed there,
        # which Qt does not survive: none is left to it, and none is collected until it is done.
        gc.collect()
        gc.disable()
        worker.start()

    def _finish(self, signal: str, result: object) -> None:
        self._worker = None
        getattr(self, signal).emit(result)


def _tell(maker: weakref.ref[ReportMaker], signal: str, result: object) -> None:
    gc.enable()
    alive = maker()
    if alive is not None:
        alive._finish(signal, result)
