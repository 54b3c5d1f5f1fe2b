"""*Six patients*: one map for six patients side by side, each cut where it has most predicted tumour."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QLabel

from napari_uncseg.compare.data import SEGMENTATION
from napari_uncseg.compare.layout import Pane, PaneView
from napari_uncseg.compare.patients import patient_view
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.review.worklist import ListedCase, map_names
from napari_uncseg.widgets.common import choice, weakly
from napari_uncseg.widgets.compare.window import ComparisonWindow
from napari_uncseg.widgets.job import Job, Report

PATIENTS = 6
_FIRST_MAPS = ("unc_output", "entropy", "variance")
"""What is shown first, where there is one of them."""


class PatientsWindow(ComparisonWindow):
    """Six linked panes, one patient in each; further patients are a page away.

    Parameters
    ----------
    cases : sequence of ListedCase
        In the order of the list.
    """

    def __init__(self, cases: Sequence[ListedCase]) -> None:
        super().__init__(headings=True, separate=True)
        self._cases = tuple(cases)
        self._first = 0
        self._job = Job(self, "reading patients")
        self._job.returned.connect(self._take)
        self._job.failed.connect(self.show_message)
        self.image_choice = choice("Image of all patients", {name: MODALITY_TITLES[name] for name in MODALITIES})
        names = dict.fromkeys(name for case in self._cases for name in map_names(case))
        maps = {SEGMENTATION: "Segmentation", **{name: name for name in names}}
        self.map_choice = choice("Map that lies on the images of all patients", maps)
        start = next((name for name in _FIRST_MAPS if name in names), SEGMENTATION)
        self.map_choice.setCurrentIndex(list(maps).index(start))
        self.pages = QLabel()
        self.add("Image", self.image_choice, "Map", self.map_choice)
        self.add_key("previous_page", weakly(self.turn_page, -1), "◀")
        self.add(self.pages)
        self.add_key("next_page", weakly(self.turn_page, 1), "▶")
        self.finish_bar()
        self.image_choice.activated.connect(self._load)
        self.map_choice.activated.connect(self._load)
        self.setWindowTitle("Six patients · research use only")
        self._load()

    @property
    def cases_shown(self) -> tuple[ListedCase, ...]:
        """Cases of this page."""
        return self._cases[self._first : self._first + PATIENTS]

    def turn_page(self, by: int) -> None:
        """Go to the next six patients or to those before."""
        first = self._first + by * PATIENTS
        if 0 <= first < len(self._cases):
            self._first = first
            self._load()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Want nothing any more of a thread that still reads."""
        self._job.drop()
        self.canvas.forget()
        super().closeEvent(event)

    def _load(self, _index: int = 0) -> None:
        cases = self.cases_shown
        self.pages.setText(f" {self._first + 1} to {self._first + len(cases)} of {len(self._cases)} ")
        self.show_message("Reading …")
        self._job.start(partial(_read, cases, self.image_choice.currentData(), self.map_choice.currentData()))

    def _take(self, views: list[PaneView]) -> None:
        state = self.canvas.state
        before = {view.heading: view for view in state.views if view.data is not None}
        # A patient that was scrolled alone stays where it is when only the map changes.
        kept = (replace(view, origin=before[view.heading].origin) if view.heading in before else view for view in views)
        # The last row is filled up, so that pages do not differ in more than rows.
        empty = (PaneView(Pane(""), None) for _ in range(-len(views) % state.columns))
        self.canvas.forget()
        self.canvas.show_state(replace(state, views=(*kept, *empty)))
        self.show_message("")


def _read(cases: Sequence[ListedCase], modality: str, map_name: str, _report: Report) -> list[PaneView]:
    """Read the volumes, two patients at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda case: patient_view(case, modality, map_name), cases))
