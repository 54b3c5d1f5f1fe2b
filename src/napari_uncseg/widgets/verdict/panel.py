"""*Verdict*: what becomes of a result, its correction, and the report of the study."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QButtonGroup, QLineEdit, QWidget
from superqt.utils import signals_blocked

from napari_uncseg.errors import UncsegError
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.review.corrections import Correction, last_changes
from napari_uncseg.review.verdict_table import export_csv
from napari_uncseg.review.verdicts import DIFFICULTIES, STATUS_OF, Decision, earlier_verdict, status_of
from napari_uncseg.viewer.bindings import CORRECTION_KEYS, VERDICT_KEYS
from napari_uncseg.viewer.navigation import review, session_of
from napari_uncseg.viewer.tags import open_predictions, open_studies
from napari_uncseg.widgets.base import Panel
from napari_uncseg.widgets.common import (
    Note,
    PathRow,
    button,
    choice,
    column,
    form,
    heading,
    key_button,
    offer,
    row,
    weakly,
)
from napari_uncseg.widgets.fold import Fold
from napari_uncseg.widgets.job import Job, Report
from napari_uncseg.widgets.preferences import read_preferences
from napari_uncseg.widgets.reviewer import ask_reviewer
from napari_uncseg.widgets.table import save_table
from napari_uncseg.widgets.verdict.comment import CommentField
from napari_uncseg.widgets.verdict.correction import CorrectionBox
from napari_uncseg.widgets.verdict.measures import MeasuresFold

EMPTY = "No result is open. Run Segment with uncertainty and save, or open the folder that uncseg predict wrote."
_DECISIONS = {
    Decision.ACCEPT: ("Accept", "The segmentation can be used as it is"),
    Decision.NEEDS_CORRECTION: ("Needs correction", "The segmentation can be used once it is corrected"),
    Decision.REJECT: ("Reject", "The segmentation cannot be used"),
}
_NAMES = {1: "1 · easy", 3: "3 · medium", 5: "5 · hard"}
_HARD: dict[int | None, str] = {None: "–", **{number: _NAMES.get(number, str(number)) for number in DIFFICULTIES}}


class VerdictWidget(Panel):
    """Panel of a verdict; what is typed is remembered at once, what is saved is on disk before the panel says so.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Its predictions can be judged.
    host : Panel, optional
        As of :class:`Panel`; what is not needed for each study is then folded away.
    """

    def __init__(self, viewer: napari.viewer.Viewer, host: Panel | None = None) -> None:
        super().__init__(viewer, host)
        self._session = session_of(viewer)
        self._judged = ""
        self.study_choice = choice("The result under review", changed=self._on_study)
        self.hint = Note(EMPTY)
        self.status = heading("")
        self.folder = PathRow("Folder of results", placeholder="holds a folder per study", changed=self._on_folder)
        self.reviewer = QLineEdit()
        self.reviewer.setPlaceholderText("name or initials")
        self.reviewer.setToolTip("Who reviews: name or initials, written into every verdict")
        self.decision_buttons = {
            decision: key_button(title, VERDICT_KEYS[_key_name(decision)], f"{tip}; the key saves that and goes on")
            for decision, (title, tip) in _DECISIONS.items()
        }
        self._group = QButtonGroup(self)
        for each in self.decision_buttons.values():
            each.setCheckable(True)
            self._group.addButton(each)
        self.difficulty = choice("How hard it was to decide", _HARD, self._on_difficulty)
        self.comment = CommentField()
        self.next_button = button("Save and next", "Save the verdict and open the next study", self.save_and_go_on)
        self.save_button = button("Save verdict", "Write the verdict into the log beside the results", self.save)
        tip = "Take the standing verdict back; the log keeps both"
        self.withdraw_button = button("Undo verdict", tip, self.withdraw)
        self.message, self.output_message = Note(), Note()
        self.correction = CorrectionBox(viewer, self._session)
        tip = "Write a page on this study, as PDF and HTML, beside its result"
        self.report_button = button("Make report", tip, self.make_report)
        self.csv_button = button("Export CSV…", "Write all verdicts of these results into a table", weakly(self.export))
        self.report = Job(self, "the report of a study")
        self.measures = MeasuresFold(viewer, unfolded=host is None)
        self._body = QWidget()
        self._lay_out(unfolded=host is None)
        self.fill(self.hint, self._body)
        self._connect(host or self)
        self.reviewer.setText(self._session.reviewer)
        if self._session.problem:
            self.message.fail(self._session.problem)
        self.watch_layers()
        self.refresh()

    def _lay_out(self, *, unfolded: bool) -> None:
        fold = partial(Fold, unfolded=unfolded)
        tip = "What goes into the log with the verdict"
        told = fold("Comment and difficulty", tip, form(Difficulty=self.difficulty), self.comment)
        tip = "Paint on a copy of the segmentation, and save it beside the original"
        self._correct = fold("Correction", tip, self.correction)
        places = form(Study=self.study_choice, Results=self.folder, Reviewer=self.reviewer)
        buttons = row(self.report_button, self.csv_button)
        tip = "Whose verdicts go where, and the page of the study"
        handed_on = fold("Report, log and reviewer", tip, places, buttons, self.output_message)
        decisions = row(*self.decision_buttons.values())
        verdict = row(self.next_button, self.save_button, self.withdraw_button)
        parts = (told, self._correct, self.measures, handed_on)
        self._body.setLayout(column(self.status, decisions, verdict, self.message, *parts))

    def _connect(self, keys_of: Panel) -> None:
        """Follow the form and the session, and bind the keys, which are those of a panel."""
        self.reviewer.editingFinished.connect(self._on_reviewer)
        self._group.buttonClicked.connect(self._on_decision)
        self.comment.textChanged.connect(self._on_comment)
        self.correction.measured.connect(self._on_measured)
        self.correction.wanted.connect(self._correct.unfold)
        self.report.returned.connect(self._on_report)
        self.report.failed.connect(self.output_message.fail)
        self.report.finished.connect(self._update_buttons)
        self._connections.connect(self._session.study_changed, self._on_other_study)
        self._connections.connect(self._session.verdicts_changed, self._on_verdicts)
        decide = {VERDICT_KEYS[_key_name(each)]: (self.decide_and_go_on, each) for each in Decision}
        change = {key: (self.correction.change_finding, what == "add") for what, key in CORRECTION_KEYS.items()}
        self._connections.bind_keys(self._viewer, keys_of, {**decide, **change})

    @property
    def prediction(self) -> Prediction | None:
        """The result under review."""
        return open_predictions(self._viewer).get(self.study_choice.currentText())

    def refresh(self) -> None:
        """Offer the studies that have a result; stay at the one under review."""
        ids = list(open_predictions(self._viewer))
        offer(self.study_choice, ids, self._session.study, or_first=True)
        self.hint.setVisible(not ids)
        self._body.setVisible(bool(ids))
        self._on_study()

    def release(self) -> None:
        """Let go of the correction too."""
        super().release()
        self.correction.release()

    # The verdict

    def save(self) -> bool:
        """Give the verdict that the form shows; returns whether it is on disk."""
        draft = self._session.draft
        if draft.decision is None:
            self.message.fail("Nothing is decided yet; choose Accept, Needs correction or Reject.", aloud=True)
            return False
        try:
            ask_reviewer(self._session, self)
            record = self._session.decide(draft.decision, draft.difficulty, draft.comment.strip())
        except UncsegError as error:
            self.message.fail(error, aloud=True)
            return False
        self._fill_form()
        self.message.tell(f"Saved: {record.decision}, by {record.reviewer}. Undo verdict takes it back.")
        return True

    def save_and_go_on(self) -> None:
        """Give the verdict that the form shows, save the correction with it, and have the next study opened."""
        study, corrected = self._session.study, self.correction.unsaved
        if corrected and not self.correction.save():
            return
        if self.save():
            with_it = " Its correction is saved too." if corrected else ""
            show_info(f"{study}: {self.message.text()}{with_it}")
            self._session.next_requested.emit()

    def decide_and_go_on(self, decision: Decision) -> None:
        """Give a verdict, with the difficulty and the comment of the form, and have the next study opened."""
        if self.prediction is None:
            self.message.fail(EMPTY, aloud=True)
            return
        self._session.redraft(decision=decision)
        self.save_and_go_on()

    def withdraw(self) -> None:
        """Take the standing verdict back; it stays in the log as taken back, and fills the form."""
        standing = self._session.verdict()
        if standing is None:
            return
        with self.message.failing():
            self._session.decide(None)
            self._session.redraft(decision=standing.decision, difficulty=standing.difficulty, comment=standing.comment)
            self._fill_form()
            self.message.tell("Undone; the form holds what it said.")

    def _on_study(self, _index: int = 0) -> None:
        prediction = self.prediction
        if prediction is None:
            return
        if self._judged != prediction.study_id:
            self._judged = prediction.study_id
            for note in (self.message, self.output_message):
                note.hide()
        before = self._session.results
        with self.message.failing():
            review(self._viewer, prediction, read_preferences().results)
            if self._session.results != before:
                self._tell_problems()
        self.folder.line.setText(str(self._session.results or ""))
        self._fill_form()
        self.correction.present(prediction)

    def _on_measured(self, changes: Correction | None) -> None:
        self.measures.present(self.prediction, changes)

    def _on_other_study(self, study_id: str) -> None:
        if study_id != self.study_choice.currentText() and self.study_choice.findText(study_id) >= 0:
            self.study_choice.setCurrentText(study_id)

    def _on_folder(self) -> None:
        if self.folder.path != self._session.results:
            with self.message.failing():
                self._session.open_log(self.folder.path)
                self._tell_problems()

    def _tell_problems(self) -> None:
        self.message.tell(" ".join(self._session.log.problems))

    def _on_reviewer(self) -> None:
        self._session.reviewer = self.reviewer.text()
        self._fill_form()

    def _on_decision(self) -> None:
        chosen = next((decision for decision, each in self.decision_buttons.items() if each.isChecked()), None)
        self._session.redraft(decision=chosen)
        self._update_buttons()

    def _on_difficulty(self, index: int) -> None:
        self._session.redraft(difficulty=self.difficulty.itemData(index))

    def _on_comment(self) -> None:
        self._session.redraft(comment=self.comment.toPlainText())

    def _on_verdicts(self) -> None:
        if not self.folder.line.hasFocus():  # another panel may have chosen the folder
            self.folder.line.setText(str(self._session.results or ""))
        self._tell_status()

    def _fill_form(self) -> None:
        """Show the draft, and what stands."""
        draft = self._session.draft
        self._group.setExclusive(False)  # an exclusive group lets nobody uncheck its last button
        for decision, each in self.decision_buttons.items():
            each.setChecked(decision is draft.decision)
        self._group.setExclusive(True)
        with signals_blocked(self.difficulty), signals_blocked(self.comment):
            self.difficulty.setCurrentIndex(list(_HARD).index(draft.difficulty))
            if self.comment.toPlainText() != draft.comment:
                self.comment.setPlainText(draft.comment)
        self._tell_status()

    def _tell_status(self) -> None:
        """Tell where the review of the result stands, and what was said of the one that stood in its place."""
        session, standing = self._session, self._session.verdict()
        if standing is not None and standing.decision is not None:
            hard = f", difficulty {standing.difficulty}" if standing.difficulty else ""
            status = f"{standing.decision}{hard}.{f' “{standing.comment}”' if standing.comment else ''}"
        else:
            status = str(status_of(session.log.records, session.study, session.reviewer, result=session.result))
            before = earlier_verdict(session.log.records, session.study, session.result, session.reviewer)
            if before is not None and before.decision is not None:
                status = f"{status}; an earlier result was {STATUS_OF[before.decision]}"
        self.status.setText(f"{session.study}: {status}")
        self._update_buttons()

    def _update_buttons(self) -> None:
        for each in (self.save_button, self.next_button):
            each.setEnabled(self._session.draft.decision is not None)
        self.withdraw_button.setEnabled(self._session.verdict() is not None)
        self.csv_button.setEnabled(bool(self._session.log.records))
        self.report_button.setEnabled(not self.report.running)

    # What is handed on

    def make_report(self) -> None:
        """Write the report of the study beside its result."""
        prediction, session = self.prediction, self._session
        if prediction is None:
            return
        study = open_studies(self._viewer).get(prediction.study_id)
        if study is None:
            self.output_message.fail(f"The images of {prediction.study_id} are not open; open its folder too.")
        elif session.results is None:
            self.output_message.fail("No folder of results is chosen; choose it above.")
        elif not self.report.running:
            self.output_message.tell("Making the report …")
            self.correction.present(prediction)  # with the last stroke
            told = (study, prediction, session.findings, session.log.records, self.correction.changes)
            self.report.start(partial(_write, session.results / study.id, told), hold_garbage=True)
            self._update_buttons()

    def export(self, path: str = "") -> None:
        """Write all verdicts of the log as CSV; asks where, unless told."""
        proposed, write = self._session.results or Path(), partial(export_csv, self._session.log.records)
        save_table(self.output_message, "Export verdicts", proposed / "uncseg-verdicts.csv", write, path)

    def _on_report(self, paths: list[Path]) -> None:
        self.output_message.tell(f"Saved as {' and '.join(str(path) for path in paths)}")


def _key_name(decision: Decision) -> str:
    return decision.replace(" ", "_")


def _write(folder: Path, told: tuple[Any, ...], _report: Report) -> list[Path]:
    from napari_uncseg.reporting.study_report import Material, write_study_report  # loads matplotlib

    material = Material(*told)
    if material.correction is None:
        material = replace(material, correction=last_changes(material.prediction, folder, material.findings))
    return write_study_report(material, folder)
