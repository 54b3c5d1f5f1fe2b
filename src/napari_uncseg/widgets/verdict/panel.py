"""*Verdict*: what becomes of a result, its correction, and the report of the study."""

from __future__ import annotations

import getpass
from pathlib import Path

import napari
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.review.verdict_table import export_csv
from napari_uncseg.review.verdicts import DIFFICULTIES, STATUS_OF, Decision, earlier_verdict, status_of
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.viewer.region_maps import results_folder_of
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.common import (
    LayerWatch,
    fill_panel,
    heading,
    narrow,
    note_label,
    row_label,
    show_failure,
    show_note,
)
from napari_uncseg.widgets.connections import Ties
from napari_uncseg.widgets.preferences import read_preferences
from napari_uncseg.widgets.segment.run import failure_sentence
from napari_uncseg.widgets.study_choice import FolderRow
from napari_uncseg.widgets.verdict.correction import CorrectionBox
from napari_uncseg.widgets.verdict.report_task import ReportMaker, ReportRequest

EMPTY = "No result is open. Run Segment with uncertainty and save, or open the folder that uncseg predict wrote."
PANEL_HEIGHT = 320
_DECISIONS = {Decision.ACCEPT: "Accept", Decision.NEEDS_CORRECTION: "Needs correction", Decision.REJECT: "Reject"}
_DECISION_TIPS = {
    Decision.ACCEPT: "The segmentation can be used as it is",
    Decision.NEEDS_CORRECTION: "The segmentation can be used once it is corrected",
    Decision.REJECT: "The segmentation cannot be used",
}
_COMMENT_LINES = 4


class VerdictWidget(QWidget):
    """Panel of a verdict; what is typed is remembered at once, what is saved is on disk before the panel says so.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its predictions can be judged.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._judged = ""
        self.study_choice = narrow(QComboBox())
        self.hint = note_label(EMPTY)
        self.status = heading("")
        self.folder = FolderRow("Folder of results", placeholder="holds a folder per study")
        self.reviewer = QLineEdit()
        self.reviewer.setPlaceholderText("name or initials")
        self.decision_buttons = {decision: QPushButton(title) for decision, title in _DECISIONS.items()}
        self.difficulty = QComboBox()
        self.comment = QPlainTextEdit()
        self.save_button = QPushButton("Save verdict")
        self.withdraw_button = QPushButton("Take back")
        self.message = note_label()
        self.correction = CorrectionBox(viewer, self._session)
        self.report_button = QPushButton("Make report")
        self.csv_button = QPushButton("Export CSV…")
        self.output_message = note_label()
        self.report = ReportMaker(self)
        self._lay_out()
        self._connect()
        if not self._session.reviewer:
            self._session.reviewer = _user()
        self.reviewer.setText(self._session.reviewer)
        if self._session.problem:
            show_failure(self.message, self._session.problem)
        self._watch = LayerWatch(viewer, self, self.refresh)
        self.refresh()

    @property
    def prediction(self) -> Prediction | None:
        """The result under review."""
        return open_predictions(self._viewer).get(self.study_choice.currentText())

    def refresh(self) -> None:
        """Offer the studies that have a result; stay at the one under review."""
        ids = list(open_predictions(self._viewer))
        self.study_choice.blockSignals(True)
        self.study_choice.clear()
        self.study_choice.addItems(ids)
        if self._session.study in ids:
            self.study_choice.setCurrentText(self._session.study)
        self.study_choice.blockSignals(False)
        self.hint.setVisible(not ids)
        self._body.setVisible(bool(ids))
        self._on_study()

    def event(self, event: QEvent | None) -> bool:
        """Let go of the session when napari takes the panel out of its dock, which it does without deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._ties.let_go()
            self._watch.let_go()
            self.correction.let_go()
        return super().event(event)

    # The verdict

    def save(self) -> None:
        """Give the verdict that the form shows."""
        draft = self._session.draft
        if draft.decision is None:
            show_failure(self.message, "Nothing is decided yet; choose Accept, Needs correction or Reject.")
            return
        try:
            record = self._session.decide(draft.decision, draft.difficulty, draft.comment.strip())
        except UncsegError as error:
            show_failure(self.message, str(error))
            return
        self._fill()
        show_note(self.message, f"Saved: {record.decision}, by {record.reviewer}. Take back undoes it.")

    def withdraw(self) -> None:
        """Take the standing verdict back; it stays in the log as taken back, and fills the form."""
        standing = self._session.verdict()
        if standing is None:
            return
        try:
            self._session.decide(None)
        except UncsegError as error:
            show_failure(self.message, str(error))
            return
        self._session.redraft(decision=standing.decision, difficulty=standing.difficulty, comment=standing.comment)
        self._fill()
        show_note(self.message, "Taken back; the form holds what it said.")

    def _on_study(self, _index: int = 0) -> None:
        prediction = self.prediction
        if prediction is None:
            return
        other = self._session.study != prediction.study_id
        if self._judged != prediction.study_id:
            self._judged = prediction.study_id
            for label in (self.message, self.output_message):
                label.hide()
        self._session.look_at(prediction.study_id, fingerprint(prediction.provenance))
        if other or self._session.results is None:
            self._find_folder(prediction)
        self.folder.line.setText(str(self._session.results or ""))
        self._fill()
        self.correction.present(prediction)

    def _on_other_study(self, study_id: str) -> None:
        if study_id != self.study_choice.currentText() and self.study_choice.findText(study_id) >= 0:
            self.study_choice.setCurrentText(study_id)

    def _find_folder(self, prediction: Prediction) -> None:
        """The folder that the result was opened from; if that is not known, the one of the preferences."""
        folder = results_folder_of(self._viewer, prediction.study_id)
        if folder is None and self._session.results is None:
            preferred = read_preferences().output_folder
            folder = Path(preferred) if preferred else None
        if folder is not None and folder != self._session.results:
            self._open_log(folder)

    def _on_folder(self) -> None:
        folder = self.folder.path
        if folder != self._session.results:
            self._open_log(folder)

    def _open_log(self, folder: Path | None) -> None:
        try:
            self._session.open_log(folder)
        except UncsegError as error:
            show_failure(self.message, str(error))
            return
        show_note(self.message, " ".join(self._session.log.problems))

    def _on_reviewer(self) -> None:
        self._session.reviewer = self.reviewer.text()
        self._fill()

    def _on_decision(self, button: QPushButton) -> None:
        chosen = next(decision for decision, each in self.decision_buttons.items() if each is button)
        self._session.redraft(decision=chosen if button.isChecked() else None)
        self._update_buttons()

    def _on_difficulty(self, index: int) -> None:
        self._session.redraft(difficulty=self.difficulty.itemData(index))

    def _on_comment(self) -> None:
        self._session.redraft(comment=self.comment.toPlainText())

    def _on_verdicts(self) -> None:
        if not self.folder.line.hasFocus():  # another panel may have chosen the folder
            self.folder.line.setText(str(self._session.results or ""))
        self._tell_status()

    def _fill(self) -> None:
        """Show the draft, and what stands."""
        draft = self._session.draft
        self._group.setExclusive(False)  # an exclusive group lets nobody uncheck its last button
        for decision, button in self.decision_buttons.items():
            button.setChecked(decision is draft.decision)
        self._group.setExclusive(True)
        self.difficulty.blockSignals(True)
        self.difficulty.setCurrentIndex(max(self.difficulty.findData(draft.difficulty), 0))
        self.difficulty.blockSignals(False)
        if self.comment.toPlainText() != draft.comment:
            self.comment.blockSignals(True)
            self.comment.setPlainText(draft.comment)
            self.comment.blockSignals(False)
        self._tell_status()
        self._update_buttons()

    def _tell_status(self) -> None:
        standing = self._session.verdict()
        if standing is None or standing.decision is None:
            self.status.setText(f"{self._session.study}: {self._status()}")
        else:
            hard = f", difficulty {standing.difficulty}" if standing.difficulty else ""
            said = f" “{standing.comment}”" if standing.comment else ""
            self.status.setText(f"{standing.study}: {standing.decision}{hard}.{said}")
        self._update_buttons()

    def _status(self) -> str:
        """Where the review of the result stands, and what was said of the one that stood in its place."""
        session = self._session
        told = session.log.records, session.study, session.reviewer
        status = str(status_of(*told, result=session.result))
        before = earlier_verdict(session.log.records, session.study, session.result, session.reviewer)
        if before is None or before.decision is None:
            return status
        return f"{status}; an earlier result was {STATUS_OF[before.decision]}"

    def _update_buttons(self) -> None:
        self.save_button.setEnabled(self._session.draft.decision is not None)
        self.withdraw_button.setEnabled(self._session.verdict() is not None)
        self.csv_button.setEnabled(bool(self._session.log.records))

    def _study_folder(self) -> Path | None:
        """Folder of the study's result, where its correction and report go."""
        results, prediction = self._session.results, self.prediction
        return results / prediction.study_id if results is not None and prediction is not None else None

    # What is handed on

    def make_report(self) -> None:
        """Write the report of the study beside its result."""
        prediction = self.prediction
        if prediction is None:
            return
        study = open_studies(self._viewer).get(prediction.study_id)
        folder = self._study_folder()
        if study is None:
            show_failure(self.output_message, f"The images of {prediction.study_id} are not open; open its folder too.")
        elif folder is None:
            show_failure(self.output_message, "No folder of results is chosen; choose it above.")
        else:
            show_note(self.output_message, "Making the report …")
            self.report_button.setEnabled(False)
            session = self._session
            request = ReportRequest(
                study, prediction, session.findings, session.log.records, self.correction.changes, folder
            )
            self.report.make(request)

    def export(self, path: str = "") -> None:
        """Write all verdicts of the log as CSV; asks where, unless told."""
        proposed = str((self._session.results or Path()) / "uncseg-verdicts.csv")
        chosen = path or QFileDialog.getSaveFileName(self, "Export verdicts", proposed, "CSV (*.csv)")[0]
        if not chosen:
            return
        try:
            export_csv(self._session.log.records, Path(chosen))
        except UncsegError as error:
            show_failure(self.output_message, str(error))
            return
        show_note(self.output_message, f"Saved as {chosen}")

    def _on_export(self, _checked: bool = False) -> None:
        self.export()

    def _on_report(self, paths: list[Path]) -> None:
        self.report_button.setEnabled(True)
        show_note(self.output_message, f"Saved as {' and '.join(str(path) for path in paths)}")

    def _on_report_failed(self, error: Exception) -> None:
        self.report_button.setEnabled(True)
        show_failure(self.output_message, failure_sentence(error))

    def _connect(self) -> None:
        self.study_choice.currentIndexChanged.connect(self._on_study)
        self.folder.line.editingFinished.connect(self._on_folder)
        self.folder.browse.clicked.connect(self._on_folder)
        self.reviewer.editingFinished.connect(self._on_reviewer)
        self._group.buttonClicked.connect(self._on_decision)
        self.difficulty.currentIndexChanged.connect(self._on_difficulty)
        self.comment.textChanged.connect(self._on_comment)
        self.save_button.clicked.connect(self.save)
        self.withdraw_button.clicked.connect(self.withdraw)
        self.report_button.clicked.connect(self.make_report)
        self.csv_button.clicked.connect(self._on_export)
        self.report.made.connect(self._on_report)
        self.report.failed.connect(self._on_report_failed)
        self._ties = Ties(self)
        self._ties.connect(self._session.study_changed, self._on_other_study)
        self._ties.connect(self._session.verdicts_changed, self._on_verdicts)

    def changeEvent(self, event: QEvent | None) -> None:
        """Room for as many lines of a comment in another size of letters."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit_comment()

    def _fit_comment(self) -> None:
        self.comment.setFixedHeight(_COMMENT_LINES * self.comment.fontMetrics().height() + 8)

    def _lay_out(self) -> None:
        for label in (self.message, self.output_message):
            label.hide()
        for widget, tip in (
            (self.study_choice, "The result under review"),
            (self.reviewer, "Who reviews: name or initials, written into every verdict"),
            (self.difficulty, "How hard it was to decide"),
            (self.comment, "Goes into the log with the verdict; remembered while it is typed"),
            (self.save_button, "Write the verdict into the log beside the results"),
            (self.withdraw_button, "Take the standing verdict back; the log keeps both"),
            (self.report_button, "Write a page on this study, as PDF and HTML, beside its result"),
            (self.csv_button, "Write all verdicts of these results into a table"),
        ):
            widget.setToolTip(tip)
        for decision, tip in _DECISION_TIPS.items():
            self.decision_buttons[decision].setToolTip(tip)
        self.comment.setPlaceholderText("Comment (optional)")
        self._fit_comment()
        self.comment.setTabChangesFocus(True)
        # napari's style gives such a field no frame of its own.
        self.comment.setStyleSheet("QPlainTextEdit { border: 1px solid palette(mid); border-radius: 3px; }")
        self.difficulty.addItem("not said", None)
        names = {1: "1 · easy", 3: "3 · medium", 5: "5 · hard"}
        for number in DIFFICULTIES:
            self.difficulty.addItem(names.get(number, str(number)), number)
        self._group = QButtonGroup(self)
        decisions = QHBoxLayout()
        for button in self.decision_buttons.values():
            button.setCheckable(True)
            self._group.addButton(button)
            decisions.addWidget(button)
        content = QWidget()
        outer = QVBoxLayout(content)
        outer.setContentsMargins(8, 4, 8, 8)
        outer.addWidget(self.hint)
        self._body = QWidget()
        layout = QVBoxLayout(self._body)
        layout.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow(row_label("Study"), self.study_choice)
        form.addRow(row_label("Results"), self.folder)
        form.addRow(row_label("Reviewer"), self.reviewer)
        layout.addLayout(form)
        layout.addWidget(self.status)
        layout.addLayout(decisions)
        more = QFormLayout()
        more.setContentsMargins(0, 0, 0, 0)
        more.addRow(row_label("Difficulty"), self.difficulty)
        layout.addLayout(more)
        layout.addWidget(self.comment)
        layout.addLayout(_row(self.save_button, self.withdraw_button))
        layout.addWidget(self.message)
        layout.addWidget(heading("Correction"))
        layout.addWidget(self.correction)
        layout.addWidget(heading("Report"))
        layout.addLayout(_row(self.report_button, self.csv_button))
        layout.addWidget(self.output_message)
        outer.addWidget(self._body)
        outer.addStretch(1)
        fill_panel(self, content, PANEL_HEIGHT)


def _row(*buttons: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    for button in buttons:
        row.addWidget(button)
    return row


def _user() -> str:
    """Login name; empty where the system tells none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
