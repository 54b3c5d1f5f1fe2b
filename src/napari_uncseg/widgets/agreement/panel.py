"""*Two reviewers*: how often two people said the same of the same studies, and where they differ."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.review.agreement import About, Agreement, Answers, agreement_on, answers_of, merge_logs, reviewers_of
from napari_uncseg.review.verdict_table import export_answers
from napari_uncseg.review.verdicts import LOG_NAME, Log, StudyVerdict, latest, log_path, read_log
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.widgets.agreement.table import AnswersTable
from napari_uncseg.widgets.common import fill_panel, narrow, note_label, row_label, show_failure, show_note
from napari_uncseg.widgets.connections import Ties
from napari_uncseg.widgets.study_choice import FolderRow

EMPTY = (
    f"Choose the log of a reviewer, {LOG_NAME} in the folder of results, and below it that of another one. "
    "One log will do when both wrote into it."
)
CLOSED = "Open the panel Case browser with the folder of results first; it opens the studies."
PANEL_HEIGHT = 320

_KAPPA = {About.DIFFICULTY: "weighted kappa"}
_COUNTED = {About.VERDICT: "studies", About.DIFFICULTY: "studies", About.FINDING: "findings"}


class LogRow(FolderRow):
    """Line for a log of verdicts, or for the folder of results that holds one."""

    @property
    def log(self) -> Path | None:
        """The log, or None while the line is empty."""
        path = self.path
        return log_path(path) if path is not None and path.is_dir() else path

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Log of verdicts", self.line.text(), "Logs (*.jsonl)")
        if chosen:
            self.line.setText(chosen)


class ReviewersWidget(QWidget):
    """Panel that compares the logs of two reviewers; it changes neither.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose case browser opens the studies.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._log = Log()
        self._answers: tuple[Answers, ...] = ()
        self.logs = (
            LogRow("", placeholder="log of verdicts, or its folder"),
            LogRow("", placeholder="another one, if there are two"),
        )
        self.people = (narrow(QComboBox()), narrow(QComboBox()))
        for box in self.people:  # two in a row
            box.setMinimumContentsLength(4)
        self.summary, self.message, self.failure = note_label(), note_label(), note_label()
        self.hint = note_label(EMPTY)
        self.only_different = QCheckBox("Only where they differ")
        self.only_different.setChecked(True)
        self.table = AnswersTable()
        self.open_button, self.csv_button = QPushButton("Open"), QPushButton("Export CSV…")
        self._body = QWidget()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.refresh)
        for row in self.logs:
            row.line.editingFinished.connect(self.refresh)
            row.line.textChanged.connect(self._on_text)
        for box in self.people:
            box.currentIndexChanged.connect(self._compare)
        self.only_different.toggled.connect(self._list)
        self.table.requested.connect(self.open)
        self.open_button.clicked.connect(self._open_chosen)
        self.csv_button.clicked.connect(self._on_export)
        self._ties = Ties(self)
        self._ties.connect(self._session.verdicts_changed, self._on_verdicts)
        self._on_verdicts()

    @property
    def reviewers(self) -> tuple[str, str]:
        """Who are compared; empty while nobody is chosen."""
        return self.people[0].currentText(), self.people[1].currentText()

    def show_logs(self, *logs: Path) -> None:
        """Compare the reviewers of one or two logs."""
        for row, log in zip(self.logs, (*logs, ""), strict=False):
            row.line.setText(str(log))
        self.refresh()

    def refresh(self) -> None:
        """Read the logs again."""
        self._timer.stop()
        paths = [row.log for row in self.logs if row.log is not None]
        self.failure.hide()
        try:
            missing = next((path for path in paths if not path.is_file()), None)
            if missing is not None:
                raise StudyError(f"{missing} is no file; choose a log of verdicts ({LOG_NAME}) or the folder it is in.")
            logs = [read_log(path) for path in paths]
        except UncsegError as error:
            self._log = Log()
            show_failure(self.failure, str(error))
        else:
            records = merge_logs(*(log.records for log in logs))
            self._log = Log(tuple(records), tuple(problem for log in logs for problem in log.problems))
            self._tell_who_is_missing(bool(paths))
        show_note(self.message, "\n".join(f"⚠ {problem}" for problem in self._log.problems))
        self._offer(reviewers_of(self._log.records))
        self.hint.setVisible(not paths)

    def open(self, answers: Answers) -> None:
        """Have the case browser open a study, at the finding if it is about one."""
        if len(self._session.study_requested):
            self.failure.hide()
            self._session.study_requested.emit(answers.study, answers.voxel)
        else:
            show_failure(self.failure, CLOSED)

    def export(self, path: str = "") -> None:
        """Write all answers, the equal ones too, as CSV; asks where, unless told."""
        log = self.logs[0].log
        proposed = str((log.parent if log is not None else Path()) / f"{'-'.join(self.reviewers)}.csv")
        chosen = path or QFileDialog.getSaveFileName(self, "Export comparison", proposed, "CSV (*.csv)")[0]
        if not chosen:
            return
        try:
            export_answers(self._answers, *self.reviewers, Path(chosen))
        except UncsegError as error:
            show_failure(self.failure, str(error))
            return
        show_note(self.message, f"Saved as {chosen}")

    def event(self, event: QEvent | None) -> bool:
        """Let go of the session when napari takes the panel out of its dock, which it does without deleting it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._ties.let_go()
        return super().event(event)

    def _tell_who_is_missing(self, any_log: bool) -> None:
        names = reviewers_of(self._log.records)
        if not any_log or len(names) > 1:
            return
        who = f"Only {names[0]} has" if names else "Nobody has"
        show_failure(
            self.failure,
            f"{who} verdicts here; choose the log of another reviewer. Two people who share one name cannot be told "
            "apart: each writes theirs into Reviewer, in the panel Verdict.",
        )

    def _offer(self, names: list[str]) -> None:
        """Offer the reviewers; keep those that were chosen, if they are two."""
        first, second = self.reviewers
        if first == second or not {first, second} <= set(names):
            first, second = (names * 2)[:2] if names else ("", "")
        for box, chosen in zip(self.people, (first, second), strict=True):
            box.blockSignals(True)
            box.clear()
            box.addItems(names)
            box.setCurrentText(chosen)
            box.blockSignals(False)
        self._body.setVisible(len(names) > 1)
        self._compare()

    def _compare(self, _index: int = 0) -> None:
        first, second = self.reviewers
        self._answers = answers_of(self._log.records, first, second) if first != second else ()
        if first == second:
            self.summary.setText("Choose two different reviewers.")
        else:
            lines = [_tell(agreement_on(about, self._answers)) for about in About]
            self.summary.setText("\n".join([*lines, *self._unshared()]))
        self.csv_button.setEnabled(bool(self._answers))
        self._list()

    def _unshared(self) -> list[str]:
        """What only one of the two decided on, and verdicts on two results, a sentence each."""
        first, second = (
            {
                each.study
                for each in latest(self._log.records)
                if isinstance(each, StudyVerdict) and each.reviewer == who
            }
            for who in self.reviewers
        )
        alone = [
            f"{count} by {who} alone"
            for who, count in zip(self.reviewers, (len(first - second), len(second - first)), strict=True)
            if count
        ]
        other = sum(each.about is About.VERDICT and not each.same_result for each in self._answers)
        return [
            *([f"Studies decided {' and '.join(alone)} are not compared."] if alone else []),
            *([f"⚠ {other} verdicts are on two different results of one study (*)."] if other else []),
        ]

    def _list(self, _checked: bool = False) -> None:
        shown = [each for each in self._answers if not (each.same and self.only_different.isChecked())]
        self.table.present(shown, *self.reviewers)
        self.table.setVisible(bool(shown))
        self.open_button.setEnabled(bool(shown))

    def _open_chosen(self) -> None:
        chosen = self.table.chosen()
        if chosen is not None:
            self.open(chosen)

    def _on_verdicts(self) -> None:
        """Follow the review: its log is the first one, unless another was chosen."""
        results = self._session.results
        if not self.logs[0].line.text() and results is not None and log_path(results).is_file():
            self.logs[0].line.setText(str(results))
        self.refresh()

    def _on_text(self, _text: str) -> None:
        """A log was browsed for: lines that have no focus were not typed into."""
        if not any(row.line.hasFocus() for row in self.logs):
            self._timer.start()

    def _on_export(self, _checked: bool = False) -> None:
        self.export()

    def _lay_out(self) -> None:
        self.open_button.setToolTip("Open the study of the chosen row in the case browser (double click, Enter)")
        self.csv_button.setToolTip("Save all answers, the equal ones too, as a table")
        for label in (self.message, self.failure):
            label.hide()
        content = QWidget()
        outer = QVBoxLayout(content)
        outer.setContentsMargins(8, 4, 8, 8)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        for title, row in zip(("Log", "Second log"), self.logs, strict=True):
            form.addRow(row_label(title), row)
        outer.addLayout(form)
        layout = QVBoxLayout(self._body)
        layout.setContentsMargins(0, 0, 0, 0)
        people = QHBoxLayout()
        people.addWidget(row_label("Reviewers"))
        for box in self.people:
            people.addWidget(box, 1)
        layout.addLayout(people)
        layout.addWidget(self.summary)
        layout.addWidget(self.only_different)
        layout.addWidget(self.table)
        buttons = QHBoxLayout()
        for button in (self.open_button, self.csv_button):
            buttons.addWidget(button)
        layout.addLayout(buttons)
        outer.addWidget(self._body)
        for label in (self.failure, self.message, self.hint):
            outer.addWidget(label)
        outer.addStretch(1)
        fill_panel(self, content, PANEL_HEIGHT)


def _tell(agreement: Agreement) -> str:
    """An agreement in one line, with its count."""
    title = {About.VERDICT: "Verdicts", About.DIFFICULTY: "Difficulty", About.FINDING: "Findings"}[agreement.about]
    kappa = _KAPPA.get(agreement.about, "Cohen's kappa")
    if agreement.count == 0:
        return f"{title}: {kappa} is undefined, because {agreement.why_undefined}."
    same = f"the same for {agreement.agreed} of {agreement.count} {_COUNTED[agreement.about]} ({agreement.share:.0%})"
    why = agreement.why_undefined
    return f"{title}: {same}; {kappa} {f'is undefined, because {why}' if why else f'{agreement.kappa:.2f}'}."
