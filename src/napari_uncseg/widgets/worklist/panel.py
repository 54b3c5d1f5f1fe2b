"""*Case browser*: a folder of studies or results as a work list, one key from a case to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import napari
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.errors import SaveError, UncsegError
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.opened_case import OpenedCase, open_case
from napari_uncseg.review.state import last_folders, recall_case, remember_case
from napari_uncseg.review.verdicts import Status
from napari_uncseg.review.worklist import (
    CaseList,
    ListedCase,
    list_cases,
    results_root,
    with_verdicts,
)
from napari_uncseg.viewer.close_case import holds_unsaved_correction, leave_case
from napari_uncseg.viewer.layers import add_prediction, add_study, study_notes
from napari_uncseg.viewer.navigation import go_to, session_of, state_folder, world_of
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.base import worker_for
from napari_uncseg.widgets.common import fill_panel, note_label, row_label, show_failure, show_note
from napari_uncseg.widgets.compare.patients import PatientsWindow
from napari_uncseg.widgets.connections import Ties
from napari_uncseg.widgets.segment.run import failure_sentence
from napari_uncseg.widgets.study_choice import FolderRow
from napari_uncseg.widgets.worklist.view import CaseView

EMPTY = (
    "Choose the folder that uncseg predict wrote, or a folder of studies. The images of results are found by "
    "themselves while they stand where they stood."
)
NEXT_KEY, PREVIOUS_KEY = "Ctrl+PgDown", "Ctrl+PgUp"
"""None of napari's own, and none of the review's."""

_ALL, _OPEN = "All", "Still open"
_HEIGHT = 380

Voxel: TypeAlias = tuple[int, int, int]


class OpenTask:
    """Reading a case, as a task that napari can name when it closes."""

    def __init__(self, case: ListedCase) -> None:
        self._case = case

    def __call__(self) -> tuple[ListedCase, OpenedCase | Exception]:
        """Read it; an error is part of the answer, which says what case it belongs to."""
        try:
            return self._case, open_case(self._case)
        except Exception as error:
            return self._case, error

    def __str__(self) -> str:
        return f"reading {self._case.id}"


class CaseBrowserWidget(QWidget):
    """Panel with the list; it opens one case at a time in the main viewer. No model is ever loaded.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where cases are opened.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._state = state_folder()
        self._list = CaseList(())
        self._folders: tuple[Path | None, Path | None] = (None, None)
        self._wanted = ""
        self._beside: tuple[str, str] | None = None
        self._voxel: Voxel | None = None
        self._patients: PatientsWindow | None = None
        self.results = FolderRow("Folder of results", placeholder="folder that uncseg predict wrote")
        self.studies = FolderRow("Folder of studies", placeholder="folder of images, if they moved")
        self.filter_choice = QComboBox()
        self.filter_choice.addItems([_ALL, _OPEN, *(str(status) for status in Status)])
        self.filter_choice.currentTextChanged.connect(self._on_filter)
        self.view = CaseView()
        self.previous_button, self.next_button = QPushButton("◀ Previous"), QPushButton("Next ▶")
        self.open_button, self.patients_button = QPushButton("Open"), QPushButton("Six patients")
        self.refresh_button = QPushButton("Refresh")
        self._buttons = QWidget()
        self.summary, self.notes, self.failure = note_label(), note_label(), note_label()
        self.hint = note_label(EMPTY)
        self._lay_out()
        for row in (self.results, self.studies):
            row.line.editingFinished.connect(self._on_folders)
            row.line.textChanged.connect(self._on_text)
        self.open_button.clicked.connect(self.open_chosen)
        self.view.requested.connect(self.open)
        self.previous_button.clicked.connect(self._go_back)
        self.next_button.clicked.connect(self._go_on)
        self.patients_button.clicked.connect(self.compare_patients)
        self.refresh_button.clicked.connect(self.refresh)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_folders)
        self._keys = [self._key(NEXT_KEY, self._go_on), self._key(PREVIOUS_KEY, self._go_back)]
        self._ties = Ties(self)
        self._ties.connect(self._session.verdicts_changed, self._on_verdicts)
        self._ties.connect(self._session.study_requested, self._on_request)
        self._show_list(CaseList(()))
        folders = last_folders(self._state)
        if any(folders):
            self.show_folders(*folders)

    @property
    def listed(self) -> CaseList:
        """The list on show."""
        return self._list

    @property
    def shown(self) -> str:
        """Id of the case that is open; empty while there is none. The next panel finds it when this one is closed."""
        return self._session.listed

    @property
    def patients_window(self) -> PatientsWindow | None:
        """The window of six patients, while it is open."""
        return self._patients

    def show_folders(self, results: Path | None, studies: Path | None = None) -> None:
        """List the studies of one or two folders, and stand where the reviewer stopped."""
        self.results.line.setText(str(results or ""))
        self.studies.line.setText(str(studies or ""))
        self.refresh()

    def refresh(self) -> None:
        """Read the folders again."""
        results, studies = self.results.path, self.studies.path
        self.failure.hide()
        if results is None and studies is None:
            self._folders = (None, None)
            self._show_list(CaseList(()))
            return
        try:
            listed = list_cases(results, studies)
            if not open_predictions(self._viewer):  # the verdicts on a result that is open stay with it
                self._open_log(results)
        except UncsegError as error:
            self._folders = (results, studies)
            self._show_list(CaseList(()))
            show_failure(self.failure, str(error))
            return
        other = (results, studies) != self._folders
        self._folders = (results, studies)
        self._show_list(listed)
        here = self._is_open(self.shown)
        self.view.table.mark(self.shown if here else "")
        if other:
            self.view.choose(self.shown if here else recall_case(self._state, results, studies))

    def open_chosen(self) -> None:
        """Open the case that is chosen in the table."""
        case = self.view.chosen()
        if case is not None:
            self.open(case)

    # Bound methods: a panel whose connections hold it would be left to the garbage collector.

    def _go_on(self, _checked: bool = False) -> None:
        self.step(1)

    def _go_back(self, _checked: bool = False) -> None:
        self.step(-1)

    def step(self, by: int) -> None:
        """Open the next case of the list as it is sorted, or the one before."""
        count = self.view.order.rowCount()
        if count == 0:
            return
        there = self._row_beside(by)
        if not 0 <= there < count:
            show_note(self.notes, "This is the last study." if by > 0 else "This is the first study.")
            return
        self.open(self.view.order.cases()[there])

    def _row_beside(self, by: int) -> int:
        """Row of the case after or before the open one, as the list stood before a verdict moved the open one away."""
        order = self.view.order
        row = order.row_of(self._wanted or self.shown)
        if self._beside is not None and not self._wanted:
            before, after = self._beside
            beside = order.row_of(after if by > 0 else before)
            if beside >= 0:
                return beside
            return -1 if by < 0 else order.rowCount()
        return row + by if row >= 0 else self.view.currentIndex().row()

    def open(self, case: ListedCase, voxel: Voxel | None = None) -> None:
        """Read a case in a thread and show it in place of the one before, at a voxel if there is one."""
        if self.shown and holds_unsaved_correction(self._viewer, self.shown, self._session.results):
            show_failure(
                self.failure,
                f"The correction of {self.shown} is not saved; save it in the panel Verdict, or delete its layer, "
                "then go on.",
            )
            return
        self._wanted, self._voxel = case.id, voxel
        self.failure.hide()
        self.view.choose(case.id)
        show_note(self.notes, f"Reading {case.id} …")
        worker = worker_for(OpenTask(case))
        worker.returned.connect(self._on_answer)
        worker.start()

    def compare_patients(self) -> None:
        """Open the chosen cases side by side, or all from the top when no more than one is chosen."""
        several = self.view.chosen_cases()
        chosen = several if len(several) > 1 else self.view.order.cases()
        if not chosen:
            return
        self.close_patients()
        window = PatientsWindow(chosen)
        window.closed.connect(self._on_patients_closed)
        self._patients = window
        window.show()

    def close_patients(self) -> None:
        """Close the window of six patients if it is open."""
        if self._patients is not None:
            self._patients.close()

    def event(self, event: QEvent | None) -> bool:
        """Close the window when napari takes the panel out of its dock, which it does without deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._wanted = ""
            self._ties.let_go()
            self.close_patients()
        return super().event(event)

    def _on_answer(self, answer: tuple[ListedCase, OpenedCase | Exception]) -> None:
        case, opened = answer
        if case.id != self._wanted:  # the reviewer went on meanwhile, or the panel is gone
            return
        if isinstance(opened, OpenedCase):
            self._present(case, opened)
        else:
            self._wanted = ""
            self.notes.hide()
            show_failure(self.failure, failure_sentence(opened))

    def _present(self, case: ListedCase, opened: OpenedCase) -> None:
        """Show a case in place of the one before."""
        if self.shown:
            leave_case(self._viewer, self.shown)
        self._wanted, self._beside, self._session.listed = "", None, case.id
        notes = list(opened.notes)
        try:
            self._open_log(self._folders[0])
        except UncsegError as error:
            notes.append(str(error))
        if opened.study is not None:
            add_study(self._viewer, opened.study)
            notes += study_notes(opened.study)
        if opened.prediction is not None:
            add_prediction(self._viewer, opened.prediction)
            self._session.look_at(case.id, fingerprint(opened.prediction.provenance))
        self._look(self._voxel)
        self.view.table.mark(case.id)
        self.view.choose(case.id)
        try:
            remember_case(self._state, *self._folders, case.id)
        except SaveError as error:
            notes.append(str(error))
        show_note(self.notes, "\n".join([f"{case.id} is open.", *(f"⚠ {note}" for note in notes)]))

    def _is_open(self, study_id: str) -> bool:
        """Whether a study of this list is the open one; another folder may hold one of the same name."""
        results, _ = self._folders
        here = self._list.case(study_id) is not None and study_id == self.shown != ""
        return here and (results is None or results_root(results) == self._session.results)

    def _open_log(self, results: Path | None) -> None:
        """Let verdicts and corrections go to the folder that a case comes from."""
        root = results_root(results) if results is not None else None
        if root != self._session.results:
            self._session.open_log(root)

    def _on_request(self, study_id: str, voxel: Voxel | None) -> None:
        """Open a study that another panel asks for; one that is open is only gone to."""
        case = self._list.case(study_id)
        if case is None:
            show_failure(self.failure, f"{study_id} is not in this list; choose the folder of results that holds it.")
        elif self._is_open(study_id) and not self._wanted:
            self._look(voxel)
        else:
            self.open(case, voxel)

    def _look(self, voxel: Voxel | None) -> None:
        """Go to a voxel of the case that is open."""
        result = open_predictions(self._viewer).get(self.shown)
        if voxel is not None and result is not None:
            go_to(self._viewer, world_of(voxel, result.segmentation.shape, result.affine))

    def _on_verdicts(self) -> None:
        """Tell the status of all studies anew."""
        if self._list.cases:
            try:
                listed = with_verdicts(self._list)
                decided = listed.case(self.shown) if self._is_open(self.shown) else None
                if self._beside is None and decided is not None and not decided.is_open:
                    self._beside = self._neighbours()
                self._show_list(listed)
            except UncsegError as error:
                show_failure(self.failure, str(error))

    def _neighbours(self) -> tuple[str, str]:
        """Ids of the cases before and after the open one; empty where there is none."""
        ids = ["", *(case.id for case in self.view.order.cases()), ""]
        row = ids.index(self.shown) if self.shown in ids else 0
        return (ids[row - 1], ids[row + 1]) if row else ("", "")

    def _show_list(self, listed: CaseList) -> None:
        chosen = self.view.chosen()
        self._list = listed
        self.view.table.show_list(listed)
        self.view.choose(chosen.id if chosen is not None else "")
        counts = ", ".join(f"{count} {status}" for status, count in listed.counts().items())
        self.summary.setText(f"{len(listed.cases)} studies: {counts}" if listed.cases else "")
        self.hint.setVisible(not listed.cases and not self.failure.isVisibleTo(self))
        for widget in (self.view, self.summary, self.filter_choice, self.refresh_button, self._buttons):
            widget.setVisible(bool(listed.cases))
        if listed.problems:
            show_note(self.notes, "\n".join(f"⚠ {problem}" for problem in listed.problems))

    def _on_filter(self, text: str) -> None:
        only = Status(text) if text in tuple(Status) else None
        self.view.order.keep(only, open_only=text == _OPEN)

    def _on_folders(self) -> None:
        if (self.results.path, self.studies.path) != self._folders:
            self.refresh()

    def _on_text(self, _text: str) -> None:
        """A folder was browsed for: lines that have no focus were not typed into."""
        if not (self.results.line.hasFocus() or self.studies.line.hasFocus()):
            self._timer.start()

    def _on_patients_closed(self) -> None:
        self._patients = None

    def _key(self, key: str, go: Callable[[], None]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(go)
        return shortcut

    def _lay_out(self) -> None:
        self.filter_choice.setToolTip("Which studies of the list are shown")
        for button, tip in (
            (self.next_button, f"Open the next study ({NEXT_KEY})"),
            (self.previous_button, f"Open the study before ({PREVIOUS_KEY})"),
            (self.open_button, "Open the chosen study (double click)"),
            (self.refresh_button, "Look for new results"),
            (self.patients_button, "Compare the chosen studies, six at a time; all of them when one is chosen"),
        ):
            button.setToolTip(tip)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for label in (self.notes, self.failure):
            label.hide()
        content = QWidget()
        inner = QVBoxLayout(content)
        inner.setContentsMargins(8, 4, 8, 8)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(row_label("Results"), self.results)
        form.addRow(row_label("Images"), self.studies)
        inner.addLayout(form)
        inner.addWidget(self.summary)
        top = QHBoxLayout()
        top.addWidget(self.filter_choice, 1)
        top.addWidget(self.refresh_button)
        inner.addLayout(top)
        inner.addWidget(self.view, 100)
        buttons = QHBoxLayout(self._buttons)
        buttons.setContentsMargins(0, 0, 0, 0)
        for button in (self.previous_button, self.open_button, self.next_button, self.patients_button):
            buttons.addWidget(button)
        inner.addWidget(self._buttons)
        for label in (self.notes, self.failure, self.hint):
            inner.addWidget(label)
        inner.addStretch(1)
        fill_panel(self, content, _HEIGHT)
