"""The review as it stands: the one object that panels and views share and change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_uncseg.errors import SaveError, StudyError
from napari_uncseg.review import verdicts
from napari_uncseg.review.findings import Finding, Findings
from napari_uncseg.review.state import Draft, ReviewState, read_states, write_states
from napari_uncseg.review.verdicts import Decision, FindingVerdict, Judgement, Log, Record, StudyVerdict, now


class Session:
    """Current study, map, threshold, findings and verdicts: changes are signalled, and remembered on disk.

    Parameters
    ----------
    state : Path, optional
        Folder for ``review.json``, which remembers states and drafts; without it nothing is remembered.

    Attributes
    ----------
    study : str
        Id of the study under review; empty without one.
    listed : str
        Id of the case that was opened from a list; whoever opens the next one takes it out.
    findings : Findings or None
        Those of the current study at the current threshold; None while there are none.
    current : Finding or None
        The finding that is looked at.
    results : Path or None
        Folder of results, where the log of verdicts lies; None until one is chosen.
    log : Log
        The log as read last.
    problem : str
        Why the state could not be read or written, a sentence; empty when all is well.
    current_changed : Signal
        Another finding became the current one: views go there.
    verdicts_changed : Signal
        A verdict was given or withdrawn, or another log is read.
    study_changed : Signal
        Another study is under review.
    study_requested : Signal
        A study, by its id, is to be opened, at a voxel unless that is None; whoever has the list opens it.
    next_requested : Signal
        The study that comes next is to be opened; whoever has the list opens it.
    """

    study_changed = Signal(str)
    study_requested = Signal(str, object)
    next_requested = Signal()
    current_changed = Signal(object)
    verdicts_changed = Signal()

    def __init__(self, state: Path | None = None) -> None:
        self._folder = state
        self._states: dict[str, ReviewState] = {}
        self._result = ""
        self._reviewer = ""
        self.study = ""
        self.listed = ""
        self.findings: Findings | None = None
        self.current: Finding | None = None
        self.results: Path | None = None
        self.log = Log()
        self.problem = ""
        if state is not None:
            try:
                self._reviewer, self._states = read_states(state)
            except StudyError as error:
                self.problem = str(error)

    # What is under review

    @property
    def state(self) -> ReviewState:
        """Where the review of the current study stands."""
        return self.state_of(self.study)

    def state_of(self, study: str) -> ReviewState:
        """Where the review of any study stands."""
        return self._states.get(study, ReviewState())

    @property
    def result(self) -> str | None:
        """Fingerprint of the result under review; None where it is not known."""
        return self._result or None

    @property
    def draft(self) -> Draft:
        """Verdict on the current study and result that is being written."""
        return self.state.draft(self._result)

    def look_at(self, study: str, result: str = "") -> None:
        """Make a study the one under review.

        Parameters
        ----------
        study : str
            The study's id.
        result : str
            Fingerprint of its result, which verdicts are bound to.
        """
        if (study, result) == (self.study, self._result):
            return
        other = study != self.study
        self.study, self._result = study, result
        self.findings = self.current = None
        if other:
            self.study_changed.emit(study)

    def change(self, **changes: Any) -> None:
        """Change fields of the current :class:`ReviewState`, and remember it.

        Parameters
        ----------
        **changes
            New values by the name of the field; ``threshold`` stands for that of the current map.
        """
        place = self.state
        if "threshold" in changes:
            name = changes.get("map", place.map)
            changes["thresholds"] = {**place.thresholds, name: float(changes.pop("threshold"))}
        changed = replace(place, **changes)
        if changed == place and self.study in self._states:
            return
        self._states.pop(self.study, None)
        self._states[self.study] = changed
        self._remember()

    def redraft(self, **changes: Any) -> None:
        """Change fields of the current :class:`Draft`, and remember it."""
        self.change(drafts=self.state.with_draft(self._result, replace(self.draft, **changes)).drafts)

    # Findings

    def present(self, findings: Findings | None) -> None:
        """Take over new findings; the current one stays current when its voxel still lies in one."""
        self.findings = findings
        voxel = self.current.voxel if self.current is not None else self.state.voxel
        self.current = findings.at(voxel) if findings is not None and voxel is not None else None

    def go_to(self, finding: Finding | None) -> None:
        """Make a finding the current one; views that listen go there."""
        self.current = finding
        if finding is not None:
            self.change(voxel=finding.voxel)
        self.current_changed.emit(finding)

    def step(self, by: int) -> None:
        """Go to the next finding (+1) or the previous one (-1); the last one is followed by the first."""
        items = self.findings.items if self.findings is not None else ()
        if items:
            first = 0 if by > 0 else -1
            at = first if self.current is None else self.current.rank - 1 + by
            self.go_to(items[at % len(items)])

    # Verdicts

    @property
    def reviewer(self) -> str:
        """Who reviews."""
        return self._reviewer

    @reviewer.setter
    def reviewer(self, name: str) -> None:
        name = name.strip()
        if name != self._reviewer:
            self._reviewer = name
            self._remember()
            self.verdicts_changed.emit()

    def open_log(self, results: Path | None) -> None:
        """Read the log of a folder of results, and write verdicts there from now on.

        Raises
        ------
        StudyError
            When there is a log that cannot be read.
        """
        self.log = verdicts.read_log(verdicts.log_path(results)) if results is not None else Log()
        self.results = results
        self.verdicts_changed.emit()

    def judge(self, finding: Finding, judgement: Judgement | None) -> FindingVerdict:
        """Judge a finding, or withdraw its judgement with None; on disk before this returns.

        Raises
        ------
        SaveError
            When no folder is chosen, no reviewer is named, or the disk cannot take it.
        """
        threshold = self.findings.threshold if self.findings is not None else 0.0
        seen: dict[str, Any] = {name: getattr(finding, name) for name in ("voxel", "volume_ml", "peak")}
        seen |= {"map": finding.map.measure, "region": str(finding.region), "threshold": threshold}
        record = FindingVerdict(self.study, self._named(), now(), judgement, result=self._result, **seen)
        self._write(record)
        return record

    def decide(self, decision: Decision | None, difficulty: int | None = None, comment: str = "") -> StudyVerdict:
        """Decide about the current study, or withdraw the decision with None; as :meth:`judge`."""
        record = StudyVerdict(self.study, self._named(), now(), decision, difficulty, comment, self._result)
        self._write(record)
        self.redraft(decision=None, difficulty=None, comment="")
        return record

    def judgements(self) -> dict[int, Judgement]:
        """Judgements of the present findings by the reviewer, by rank, at whatever threshold each was seen."""
        if self.findings is None:
            return {}
        whose = (self.study, self._reviewer)
        own = (record for record in self.log.records if (record.study, record.reviewer) == whose)
        standing = judged(self.findings, (record for record in own if verdicts.speaks_of(record, self.result)))
        return {rank: record.judgement for rank, record in standing if record.judgement is not None}

    def judgement_of(self, finding: Finding) -> Judgement | None:
        """The reviewer's judgement of one of the present findings."""
        return self.judgements().get(finding.rank)

    def verdict(self) -> StudyVerdict | None:
        """Verdict of the reviewer on the current study and result that stands."""
        return verdicts.verdict_of(self.log.records, self.study, self._reviewer, result=self.result)

    def check_reviewer(self) -> None:
        """Make sure that there is a name for what is written; SaveError without one."""
        if not self._reviewer:
            raise SaveError("No reviewer is named; write your name or initials into Reviewer first.")

    def _named(self) -> str:
        self.check_reviewer()
        if not self.study:
            raise SaveError("No study is under review; open a result first.")
        return self._reviewer

    def _write(self, record: Record) -> None:
        if self.results is None:
            raise SaveError("No folder for verdicts is chosen; choose the folder of the results first.")
        path = verdicts.log_path(self.results)
        verdicts.append(path, record)
        self.log = verdicts.read_log(path)
        self.verdicts_changed.emit()

    def _remember(self) -> None:
        if self._folder is None:
            return
        try:
            write_states(self._folder, self._reviewer, self._states)
            self.problem = ""
        except SaveError as error:
            self.problem = f"The state of the review is not remembered: {error}"


def judged(findings: Findings, records: Iterable[Record]) -> Iterator[tuple[int, FindingVerdict]]:
    """Ranks of the findings that standing records judge, at whatever threshold each was seen, and these records."""
    own = (findings.map.measure, str(findings.map.region))
    for record in verdicts.latest(records):
        if isinstance(record, FindingVerdict) and (record.map, record.region) == own:
            finding = findings.at(record.voxel)
            if finding is not None:
                yield finding.rank, record
