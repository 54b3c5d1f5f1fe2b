"""*Six patients*: one map for six patients side by side, each cut where it has most predicted tumour."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QComboBox, QLabel

from napari_uncseg.compare.data import SEGMENTATION, Material
from napari_uncseg.compare.layout import Pane, PaneView
from napari_uncseg.compare.patients import patient_material, patient_view
from napari_uncseg.errors import UncsegError
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.review.worklist import ListedCase, map_names
from napari_uncseg.widgets.base import worker_for
from napari_uncseg.widgets.common import narrow
from napari_uncseg.widgets.compare.base import ComparisonWindow
from napari_uncseg.widgets.segment.run import failure_sentence

PATIENTS = 6
_FIRST_MAPS = ("unc_output", "entropy", "variance")
"""What is shown first, where there is one of them."""


@dataclass(frozen=True)
class Page:
    """Six patients and what is shown of them."""

    cases: tuple[ListedCase, ...]
    modality: str
    map_name: str

    def __call__(self) -> tuple[Page, tuple[PaneView, ...]]:
        """Read the volumes; called in a thread, two patients at a time. The answer says what page it belongs to."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            return self, tuple(pool.map(self._view, self.cases))

    def __str__(self) -> str:
        return "reading patients"

    def _view(self, case: ListedCase) -> PaneView:
        material: Material | None = None
        failure = case.problem or f"{case.id} has no result yet."
        if case.result is not None and not case.problem:
            try:
                material, failure = patient_material(case, self.modality, self.map_name), ""
            except UncsegError as error:
                failure = str(error)
        return patient_view(case, self.modality, self.map_name, material, failure)


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
        self._wanted: Page | None = None
        self.image_choice = QComboBox()
        for modality in MODALITIES:
            self.image_choice.addItem(MODALITY_TITLES[modality], modality)
        self.map_choice = narrow(QComboBox())
        self.map_choice.addItem("Segmentation", SEGMENTATION)
        names = dict.fromkeys(name for case in self._cases for name in map_names(case))
        for name in names:
            self.map_choice.addItem(name, name)
        start = next((name for name in _FIRST_MAPS if name in names), SEGMENTATION)
        self.map_choice.setCurrentIndex(self.map_choice.findData(start))
        self.image_choice.setToolTip("Image of all patients")
        self.map_choice.setToolTip("Map that lies on the images of all patients")
        self.pages = QLabel()
        self.bar.addWidget(QLabel(" Image "))
        self.bar.addWidget(self.image_choice)
        self.bar.addWidget(QLabel(" Map "))
        self.bar.addWidget(self.map_choice)
        self.bar.addSeparator()
        back = self.add_key("Ctrl+PgUp", "the six before", self._back, "◀")
        self.bar.addAction(back)
        self.bar.addWidget(self.pages)
        forth = self.add_key("Ctrl+PgDown", "the next six", self._forth, "▶")
        self.bar.addAction(forth)
        self.bar.addSeparator()
        self.finish_bar()
        self.image_choice.activated.connect(self._load)
        self.map_choice.activated.connect(self._load)
        self.setWindowTitle("Six patients · research use only")
        self._load()

    @property
    def cases_shown(self) -> tuple[ListedCase, ...]:
        """Cases of this page."""
        return self._cases[self._first : self._first + PATIENTS]

    def _back(self, _checked: bool = False) -> None:
        self.turn_page(-1)

    def _forth(self, _checked: bool = False) -> None:
        self.turn_page(1)

    def turn_page(self, by: int) -> None:
        """Go to the next six patients or to those before."""
        first = self._first + by * PATIENTS
        if 0 <= first < len(self._cases):
            self._first = first
            self._load()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Want nothing any more of a thread that still reads."""
        self._wanted = None
        self.canvas.forget()
        super().closeEvent(event)

    def _load(self, _index: int = 0) -> None:
        cases = self.cases_shown
        page = Page(cases, self.image_choice.currentData(), self.map_choice.currentData())
        last = self._first + len(cases)
        self.pages.setText(f" {self._first + 1} to {last} of {len(self._cases)} ")
        self._wanted = page
        self.show_message("Reading …")
        worker = worker_for(page)
        worker.returned.connect(self._take)
        worker.errored.connect(self._on_error)
        worker.start()

    def _take(self, answer: tuple[Page, tuple[PaneView, ...]]) -> None:
        page, views = answer
        if self._wanted is not page:  # the reader went on meanwhile
            return
        before = {view.heading: view for view in self.canvas.sheet.views}
        # A patient that was scrolled alone stays where it is when only the map changes.
        kept = (
            replace(view, origin=before[view.heading].origin)
            if view.heading in before and before[view.heading].material is not None
            else view
            for view in views
        )
        # The last row is filled up, so that pages do not differ in more than rows.
        empty = (PaneView(Pane(""), None) for _ in range(-len(views) % self.canvas.sheet.columns))
        self.canvas.forget()
        self.canvas.show_sheet(replace(self.canvas.sheet, views=(*kept, *empty)))
        self.show_message("")

    def _on_error(self, error: Exception) -> None:
        self.show_message(failure_sentence(error))
