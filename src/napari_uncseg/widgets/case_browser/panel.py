"""*Case browser*: a folder of studies or results as a work list, one key from a case to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import QSettings, QTimer, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QCheckBox, QLineEdit, QWidget

from napari_uncseg.errors import UncsegError
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.opened_case import OpenedCase
from napari_uncseg.review.state import last_folders, recall_case, remember_case, state_folder
from napari_uncseg.review.verdicts import Status
from napari_uncseg.review.worklist import CaseList, ListedCase, list_cases, results_root, with_verdicts
from napari_uncseg.viewer.bindings import WORKLIST_KEYS
from napari_uncseg.viewer.cases import show_case
from napari_uncseg.viewer.corrections import leave_correction
from napari_uncseg.viewer.navigation import go_to_voxel, session_of
from napari_uncseg.viewer.orientation import study_notes
from napari_uncseg.viewer.tags import open_predictions
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.case_browser.reader import CaseReader
from napari_uncseg.widgets.case_browser.table import CaseTable
from napari_uncseg.widgets.common import Note, PathRow, button, choice, form, row, weakly
from napari_uncseg.widgets.compare.patients import PatientsWindow
from napari_uncseg.widgets.fold import Fold

EMPTY = (
    "Choose the folder that uncseg predict wrote, or a folder of studies. The images of results are found by "
    "themselves while they stand where they stood."
)
_ALL, _OPEN = "All", "Not decided"

READ_AHEAD_MS = 500
"""How long after a case was opened the next one is read: its findings are searched first."""

Voxel: TypeAlias = tuple[int, int, int]


class CaseBrowserWidget(Panel):
    """Panel with the list; it opens one case at a time in the main viewer. No model is ever loaded.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where cases are opened.
    host : Panel, optional
        As of :class:`Panel`.

    Attributes
    ----------
    counted : Signal
        How many studies of which status there are, in words.
    """

    counted = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer, host: Panel | None = None) -> None:
        super().__init__(viewer, host)
        self._session = session_of(viewer)
        self._state = state_folder()
        self.listed = CaseList(())
        """The list on show."""
        self._folders: tuple[Path | None, Path | None] = (None, None)
        self._wanted: ListedCase | None = None
        self._beside: tuple[str, str] | None = None
        self._voxel: Voxel | None = None
        self.patients_window: PatientsWindow | None = None
        """The window of six patients, while it is open."""
        place = "folder that uncseg predict wrote"
        self.results = PathRow("Folder of results", placeholder=place, changed=self._on_folders)
        place = "folder of images, if they moved"
        self.studies = PathRow("Folder of studies", placeholder=place, changed=self._on_folders)
        entries = [_ALL, _OPEN, *map(str, Status)]
        self.filter_choice = choice("Which studies of the list are shown", entries, self._on_filter, least=4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search")
        self.search.setToolTip("Only studies whose name holds these letters")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._on_filter)
        self.table = CaseTable()
        next_key, previous_key = WORKLIST_KEYS["next_study"], WORKLIST_KEYS["previous_study"]
        forth, back = weakly(self.step, 1), weakly(self.step, -1)
        self.previous_button = button("◀ Back", f"Open the study before ({previous_key})", back)
        self.open_button = button("Open", "Open the chosen study (double click)", self.open_chosen)
        self.next_button = button("Next ▶", f"Open the next study ({next_key})", forth)
        compare = "Compare the chosen studies, six at a time; all of them when one is chosen"
        self.patients_button = button("Six patients", compare, self.compare_patients)
        self.refresh_button = button("Refresh", "Look for new results", self.refresh)
        self._settings = QSettings("napari-uncseg", "napari-uncseg")
        self.blind = QCheckBox("Blind")
        self.blind.setToolTip("Open studies without their reference: no Dice and no errors are seen while judging")
        self.blind.setChecked(self._settings.value("blind", False, type=bool))
        self.blind.toggled.connect(self._on_blind)
        self.summary, self.notes, self.failure, self.hint = Note(), Note(), Note(), Note(EMPTY)
        self._buttons = QWidget()
        self._buttons.setLayout(row(self.previous_button, self.open_button, self.next_button, self.patients_button))
        top = row(self.search, self.filter_choice, self.blind, self.refresh_button, stretch=(1, 0, 0, 0))
        places = form(Results=self.results, Images=self.studies)
        self.folders = Fold("Folders", "Where results and images are", places, unfolded=host is None)
        content = (self.summary, top, self.table, self._buttons, self.notes, self.failure, self.hint)
        self.fill(*content if host else (self.folders, *content), *(self.folders,) * bool(host), stretched=self.table)
        self.table.requested.connect(self.open)
        self._reader = CaseReader(self)
        self._reader.opened.connect(self._on_opened)
        self._reader.failed.connect(self._on_failed)
        for key, go in ((next_key, forth), (previous_key, back)):
            shortcut = QShortcut(QKeySequence(key), host or self)  # PySide6 takes no callback for the second signal
            shortcut.activated.connect(go)
            shortcut.activatedAmbiguously.connect(go)  # two lists in one window share their keys: Qt asks one of them
        self._connections.connect(self._session.verdicts_changed, self._on_verdicts)
        self._connections.connect(self._session.study_requested, self._on_request)
        self._connections.connect(self._session.next_requested, self._go_to_undecided)
        self._show_list(CaseList(()))
        folders = last_folders(self._state)
        if any(folders):
            self.show_folders(*folders)

    @property
    def shown(self) -> str:
        """Id of the case that is open; empty while there is none. The next panel finds it when this one is closed."""
        return self._session.listed

    @property
    def reading(self) -> bool:
        """Whether a case is still to be shown."""
        return self._wanted is not None

    @property
    def reading_ahead(self) -> bool:
        """Whether a case is being read, wanted or not."""
        return self._reader.busy

    def show_folders(self, results: Path | None, studies: Path | None = None) -> None:
        """List the studies of one or two folders, and stand where the reviewer stopped."""
        self.results.line.setText(str(results or ""))
        self.studies.line.setText(str(studies or ""))
        self.refresh()

    def refresh(self) -> None:
        """Read the folders again."""
        results, studies = self.results.path, self.studies.path
        self.failure.hide()
        other, self._folders = (results, studies) != self._folders, (results, studies)
        listed = CaseList(())
        with self.failure.failing():
            if results is not None or studies is not None:
                found = list_cases(results, studies)
                if not open_predictions(self._viewer):  # the verdicts on a result that is open stay with it
                    self._open_log(results)
                listed = found
        self._show_list(listed)
        here = self._is_open(self.shown)
        self.table.mark(self.shown if here else "")
        if other and listed.cases:
            self.table.choose(self.shown if here else recall_case(self._state, results, studies))

    def expect(self, case: ListedCase, read: Callable[[], OpenedCase]) -> None:
        """Open a case, as soon as it is wanted, by waiting for what reads it already."""
        self._reader.expect(case, read)

    def open_chosen(self) -> None:
        """Open the case that is chosen in the table."""
        case = self.table.chosen()
        if case is not None:
            self.open(case)

    def step(self, by: int) -> None:
        """Open the next case of the list as it is sorted, or the one before."""
        cases = self.table.cases()
        there = self._place_beside([case.id for case in cases], by)
        if not cases:
            return
        if 0 <= there < len(cases):
            self.open(cases[there])
        else:
            self.notes.tell("This is the last study." if by > 0 else "This is the first study.", aloud=True)

    def _go_to_undecided(self) -> None:
        """Open the next case that nobody decided on, from the open one on and then from the top."""
        cases = self.table.cases()
        there = self._place_beside([case.id for case in cases], 1)
        rest = (case for case in (*cases[max(there, 0) :], *cases) if case.is_open and case.id != self.shown)
        case = next(rest, None)
        if case is not None:
            self.open(case)
        else:
            self.notes.tell("Every study of the list is decided.", aloud=True)

    def _place_beside(self, ids: list[str], by: int) -> int:
        """Place of the case beside the open one, as the list stood before a verdict moved the open one away."""
        if self._wanted is None and self._beside is not None:
            beside = self._beside[by > 0]
            return ids.index(beside) if beside in ids else -1 if by < 0 else len(ids)
        here = self.shown if self._wanted is None else self._wanted.id
        if here in ids:
            return ids.index(here) + by
        chosen = self.table.chosen()
        return ids.index(chosen.id) if chosen is not None and chosen.id in ids else 0

    def open(self, case: ListedCase, voxel: Voxel | None = None) -> None:
        """Read a case in a thread and show it in place of the one before, at a voxel if there is one."""
        try:
            kept = leave_correction(self._viewer, self.shown, self._session.results, self._session.reviewer)
        except UncsegError as error:
            self.failure.fail(error, aloud=True)
            return
        if kept:
            show_info(kept)
        self._wanted, self._voxel = case, voxel
        self.failure.hide()
        self.table.choose(case.id)
        self.notes.tell(f"Reading {case.id} …")
        self._reader.read(case)

    def compare_patients(self) -> None:
        """Open the chosen cases side by side, or all from the top when no more than one is chosen."""
        several = self.table.chosen_cases()
        chosen = several if len(several) > 1 else self.table.cases()
        if not chosen:
            return
        self.close_patients()
        self.patients_window = PatientsWindow(chosen)
        self.patients_window.closed.connect(self._on_patients_closed)
        self.patients_window.show()

    def close_patients(self) -> None:
        """Close the window of six patients if it is open."""
        if self.patients_window is not None:
            self.patients_window.close()

    def release(self) -> None:
        """Close the window too, and want no case any more."""
        super().release()
        self._wanted = None
        self._reader.drop()
        self.close_patients()

    def _read_ahead(self) -> None:
        """Have the case that comes next read, so that it is there when it is wanted."""
        cases = self.table.cases()
        there = self._place_beside([case.id for case in cases], 1)
        if self._wanted is None and 0 <= there < len(cases):
            self._reader.read_ahead(cases[there])

    def _on_failed(self, error: Exception) -> None:
        self._wanted = None
        self.notes.hide()
        self.failure.fail(error, aloud=True)

    def _on_opened(self, opened: OpenedCase) -> None:
        """Show a case in place of the one before."""
        case, self._wanted, self._beside = self._wanted, None, None
        if case is None:
            return
        before, self._session.listed = self.shown, case.id
        if self.blind.isChecked():
            opened = opened.blind
        study, prediction = opened.study, opened.prediction
        notes = list(opened.notes)
        try:
            self._open_log(self._folders[0])
        except UncsegError as error:
            notes.append(str(error))
        try:
            remember_case(self._state, *self._folders, case.id)
        except UncsegError as error:
            notes.append(f"Where you are in the list is not remembered: {error}")
        show_case(self._viewer, before, study, prediction)
        self.paint_picture()  # findings and lists take their time
        notes += study_notes(study) if study is not None else ()
        if prediction is not None:
            self._session.look_at(case.id, fingerprint(prediction.provenance))
        go_to_voxel(self._viewer, self.shown, self._voxel)
        self.table.mark(case.id)
        self.table.choose(case.id)
        self.notes.warn(notes, first=f"{case.id} is open.")
        self.focus_picture()
        QTimer.singleShot(READ_AHEAD_MS, self._read_ahead)

    def _on_blind(self, blind: bool) -> None:
        """Remember it, and open the study anew, with its reference or without."""
        self._settings.setValue("blind", blind)
        case = self.listed.case(self.shown)
        if case is not None and self._is_open(self.shown):
            self.open(case)

    def _is_open(self, study_id: str) -> bool:
        """Whether a study of this list is the open one; another folder may hold one of the same name."""
        results, _ = self._folders
        here = self.listed.case(study_id) is not None and study_id == self.shown != ""
        return here and (results is None or results_root(results) == self._session.results)

    def _open_log(self, results: Path | None) -> None:
        """Let verdicts and corrections go to the folder that a case comes from."""
        root = results_root(results) if results is not None else None
        if root != self._session.results:
            self._session.open_log(root)

    def _on_request(self, study_id: str, voxel: Voxel | None) -> None:
        """Open a study that another panel asks for; one that is open is only gone to."""
        case = self.listed.case(study_id)
        if case is None:
            self.failure.fail(f"{study_id} is not in this list; choose the folder of results that holds it.")
        elif self._is_open(study_id) and self._wanted is None:
            go_to_voxel(self._viewer, self.shown, voxel)
        else:
            self.open(case, voxel)

    def _on_verdicts(self) -> None:
        """Tell the status of all studies anew."""
        with self.failure.failing():
            listed = with_verdicts(self.listed)
            decided = listed.case(self.shown) if self._is_open(self.shown) else None
            if self._beside is None and decided is not None and not decided.is_open:
                ids = ["", *(case.id for case in self.table.cases()), ""]
                place = ids.index(self.shown) if self.shown in ids else 0
                self._beside = (ids[place - 1], ids[place + 1]) if place else ("", "")
            if listed.cases:
                self._show_list(listed)

    def _show_list(self, listed: CaseList) -> None:
        self.listed = listed
        self.table.show_list(listed)
        for widget in (self.table, self.search, self.filter_choice, self.blind, self.refresh_button, self._buttons):
            widget.setVisible(bool(listed.cases))
        self.summary.tell(listed.summary)
        self.counted.emit(self.summary.text())
        self.hint.setVisible(not listed.cases and not self.failure.isVisibleTo(self))
        if listed.problems:
            self.notes.warn(listed.problems)

    def _on_filter(self) -> None:
        text = self.filter_choice.currentText()
        only = Status(text) if text in tuple(Status) else None
        self.table.keep(only, open_only=text == _OPEN, named=self.search.text())

    def _on_folders(self) -> None:
        if (self.results.path, self.studies.path) != self._folders:
            self.refresh()

    def _on_patients_closed(self) -> None:
        self.patients_window = None
