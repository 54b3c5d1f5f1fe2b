"""*Inter-rater agreement*: how often two people said the same of the same studies, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import napari
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QCheckBox, QHeaderView, QWidget

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import is_dir, is_file
from napari_uncseg.review.agreement import About, Agreement, Answers, agreement_on, answers_of, merge_logs, reviewers_of
from napari_uncseg.review.verdict_table import export_answers
from napari_uncseg.review.verdicts import LOG_NAME, Log, StudyVerdict, latest, log_path, read_log
from napari_uncseg.viewer.navigation import session_of
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.common import (
    Note,
    PathRow,
    RowLabel,
    button,
    choice,
    column,
    form,
    offer,
    row,
    weakly,
)
from napari_uncseg.widgets.table import Row, Table, save_table

EMPTY = (
    f"Choose the log of a reviewer, {LOG_NAME} in the folder of results, and below it that of another one. "
    "One log will do when both wrote into it."
)
CLOSED = "Open the panel Case browser with the folder of results first; it opens the studies."

_WORDS = {
    About.VERDICT: ("Verdicts", "studies", "Cohen's kappa"),
    About.DIFFICULTY: ("Difficulty", "studies", "weighted kappa"),
    About.FINDING: ("Findings", "findings", "Cohen's kappa"),
}
"""What they were asked, of what, and how their agreement is told."""

_COLUMNS = {
    "Study": "Name of the study",
    "About": "What they were asked; * marks two different results of the study",
    "first": "What the first reviewer said",
    "second": "What the second reviewer said",
}
_ROWS_SHOWN = (6, 1000)
_LONGEST_NAME = 24
"""Characters of a study's name that there is room for; longer ones are elided, and told as a tip."""


class AnswersTable(Table):
    """Rows of answers; a double click or Enter asks for the study of a row."""

    def __init__(self) -> None:
        super().__init__(_COLUMNS, "Answers of two reviewers", QHeaderView.ResizeMode.Stretch, _ROWS_SHOWN)
        for place in (0, 1):
            self.header.setSectionResizeMode(place, QHeaderView.ResizeMode.ResizeToContents)
        self.fit()

    def fit(self) -> None:
        """Fit columns too."""
        super().fit()
        self.header.setMaximumSectionSize(_LONGEST_NAME * self.fontMetrics().averageCharWidth())

    def present(self, answers: Sequence[Answers], people: tuple[str, str]) -> None:
        """Show answers of two reviewers, in the order given; stay at the question that was stood on."""
        before = self.chosen()
        self.setHorizontalHeaderLabels([*list(_COLUMNS)[:2], *people])
        self.write([_row_of(each, people) for each in answers], left=range(4))
        asked = [(each.study, each.question) for each in answers]
        at = (before.study, before.question) if before is not None else None
        if asked:
            self.setCurrentCell(asked.index(at) if at in asked else 0, 0)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Enter asks for the study of the row."""
        chosen = self.chosen()
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and chosen is not None:
            self.requested.emit(chosen)
        else:
            super().keyPressEvent(event)


def _row_of(each: Answers, people: tuple[str, str]) -> Row:
    tip = [f"{each.study}: {each.question}"]
    said = ((each.first, each.first_comment), (each.second, each.second_comment))
    tip += [f"{who}: {' · '.join(filter(None, words))}" for who, words in zip(people, said, strict=True)]
    if not each.same_result and each.about is not About.FINDING:
        tip.append("They looked at two different results of this study.")
    texts = (each.study, f"{each.about}{'' if each.same_result else ' *'}", each.first, each.second)
    return Row(each, texts, "\n".join(tip))


def log_of(line: PathRow) -> Path | None:
    """The log that a line names, by itself or by the folder that holds it; None while the line is empty.

    Raises
    ------
    StudyError
        When nobody may look there.
    """
    path = line.path
    return log_path(path) if path is not None and is_dir(path) else path


class AgreementWidget(Panel):
    """Panel that compares the logs of two reviewers; it changes neither.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose case browser opens the studies.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._session = session_of(viewer)
        self._log, self._folder = Log(), Path()
        self._answers: tuple[Answers, ...] = ()
        line = partial(PathRow, files="Logs (*.jsonl)", changed=self.refresh)
        self.logs = (
            line("Log of verdicts", placeholder="log of verdicts, or its folder"),
            line("Second log of verdicts", placeholder="another one, if there are two"),
        )
        self.people = tuple(
            choice(f"{which} reviewer that is compared", changed=self._compare, least=4)  # two in a row
            for which in ("First", "Second")
        )
        self.summary, self.message, self.failure, self.hint = Note(), Note(), Note(), Note(EMPTY)
        self.only_different = QCheckBox("Only where they differ")
        self.only_different.setToolTip("Leave out what both said alike")
        self.only_different.setChecked(True)
        self.table = AnswersTable()
        tip = "Open the study of the chosen row in the case browser (double click, Enter)"
        self.open_button = button("Open", tip, self._open_chosen)
        self.csv_button = button("Export CSV…", "Save all answers, the equal ones too, as a table", weakly(self.export))
        self._body = QWidget()
        people = row(RowLabel("Reviewers"), *self.people, stretch=(0, 1, 1))
        buttons = row(self.open_button, self.csv_button)
        self._body.setLayout(column(people, self.summary, self.only_different, self.table, buttons))
        self.fill(form(Log=self.logs[0], Second_log=self.logs[1]), self._body, self.failure, self.message, self.hint)
        self.only_different.toggled.connect(self._list)
        self.table.requested.connect(self.open)
        self._connections.connect(self._session.verdicts_changed, self._on_verdicts)
        self._on_verdicts()

    @property
    def reviewers(self) -> tuple[str, str]:
        """Who are compared; empty while nobody is chosen."""
        return self.people[0].currentText(), self.people[1].currentText()

    def show_logs(self, *logs: Path) -> None:
        """Compare the reviewers of one or two logs."""
        for line, log in zip(self.logs, (*logs, ""), strict=False):
            line.line.setText(str(log))
        self.refresh()

    def refresh(self) -> None:
        """Read the logs again."""
        self.failure.hide()
        self._log, any_log = Log(), any(line.path is not None for line in self.logs)
        with self.failure.failing():
            paths = [path for line in self.logs if (path := log_of(line)) is not None]
            self._folder = paths[0].parent if paths else Path()
            missing = next((path for path in paths if not is_file(path)), None)
            if missing is not None:
                raise StudyError(f"{missing} is no file; choose a log of verdicts ({LOG_NAME}) or the folder it is in.")
            logs = [read_log(path) for path in paths]
            records = merge_logs(*(log.records for log in logs))
            self._log = Log(tuple(records), tuple(problem for log in logs for problem in log.problems))
            names = reviewers_of(records)
            if paths and len(names) < 2:
                self.failure.fail(_who_is_missing(names))
        self.message.warn(self._log.problems)
        self._offer(reviewers_of(self._log.records))
        self.hint.setVisible(not any_log)

    def open(self, answers: Answers) -> None:
        """Have the case browser open a study, at the finding if it is about one."""
        if len(self._session.study_requested):
            self.failure.hide()
            self._session.study_requested.emit(answers.study, answers.voxel)
        else:
            self.failure.fail(CLOSED)

    def export(self, path: str = "") -> None:
        """Write all answers, the equal ones too, as CSV; asks where, unless told."""
        proposed = self._folder / f"{'-'.join(self.reviewers)}.csv"
        write = partial(export_answers, self._answers, *self.reviewers)
        save_table(self.message, "Export comparison", proposed, write, path)

    def _offer(self, names: list[str]) -> None:
        """Offer the reviewers; keep those that were chosen, if they are two, or take the pair that shares most."""
        pair = self.reviewers
        if pair[0] == pair[1] or not set(pair) <= set(names):
            pairs = combinations(names, 2)
            pair = max(pairs, key=lambda two: len(answers_of(self._log.records, *two)), default=("", ""))
        for box, chosen in zip(self.people, pair, strict=True):
            offer(box, names, chosen, or_first=True)
        self._body.setVisible(len(names) > 1)
        self._compare()

    def _compare(self, _index: int = 0) -> None:
        first, second = self.reviewers
        self._answers = answers_of(self._log.records, first, second) if first != second else ()
        if first == second:
            self.summary.tell("Choose two different reviewers.")
        else:
            lines = [_tell(agreement_on(about, self._answers)) for about in About]
            self.summary.tell("\n".join([*lines, *self._unshared()]))
        self.csv_button.setEnabled(bool(self._answers))
        self._list()

    def _unshared(self) -> list[str]:
        """What only one of the two decided on, and verdicts on two results, a sentence each."""
        said = [record for record in latest(self._log.records) if isinstance(record, StudyVerdict)]
        first, second = ({record.study for record in said if record.reviewer == who} for who in self.reviewers)
        counts = zip(self.reviewers, (len(first - second), len(second - first)), strict=True)
        alone = " and ".join(f"{count} by {who} alone" for who, count in counts if count)
        other = sum(each.about is About.VERDICT and not each.same_result for each in self._answers)
        return [
            *([f"Studies decided {alone} are not compared."] if alone else []),
            *([f"⚠ {other} verdicts are on two different results of one study (*)."] if other else []),
        ]

    def _list(self, _checked: bool = False) -> None:
        shown = [each for each in self._answers if not (each.same and self.only_different.isChecked())]
        self.table.present(shown, self.reviewers)
        self.table.setVisible(bool(shown))
        self.open_button.setEnabled(bool(shown))

    def _open_chosen(self) -> None:
        chosen = self.table.chosen()
        if chosen is not None:
            self.open(chosen)

    def _on_verdicts(self) -> None:
        """Follow the review: its log is the first one, unless another was chosen."""
        results = self._session.results
        with self.failure.failing():
            if self.logs[0].path is None and results is not None and is_file(log_path(results)):
                self.logs[0].line.setText(str(results))
        self.refresh()


def _who_is_missing(names: Sequence[str]) -> str:
    return (
        f"{f'Only {names[0]} has' if names else 'Nobody has'} verdicts here; choose the log of another reviewer. Two "
        "people who share one name cannot be told apart: each writes theirs into Reviewer, in the panel Verdict."
    )


def _tell(agreement: Agreement) -> str:
    """An agreement in one line, with its count."""
    title, counted, kappa = _WORDS[agreement.about]
    if agreement.count == 0:
        return f"{title}: {kappa} is undefined, because {agreement.why_undefined}."
    same = f"the same for {agreement.agreed} of {agreement.count} {counted} ({agreement.share:.0%})"
    why = agreement.why_undefined
    return f"{title}: {same}; {kappa} {f'is undefined, because {why}' if why else f'{agreement.kappa:.2f}'}."
