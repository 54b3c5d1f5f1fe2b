"""The list of studies a reviewer works through: what is known of each before any volume is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_uncseg.errors import StudyError
from napari_uncseg.io.command import find_inputs
from napari_uncseg.io.discovery import StudyFiles, find_studies
from napari_uncseg.io.files import is_dir
from napari_uncseg.io.provenance import made_by
from napari_uncseg.io.results import JSON_SUFFIX, find_results, read_result
from napari_uncseg.labels import Region
from napari_uncseg.review import verdicts
from napari_uncseg.review.verdicts import Log, Record, Status, StudyVerdict
from napari_uncseg.uncertainty.expected_dice import Estimate, expected_dice_of

_NOT_MAPS = ("segmentation", "probabilities")
_DECIDED = {Status.NEEDS_CORRECTION: 1, Status.REJECTED: 2, Status.ACCEPTED: 3}
"""What a reviewer has decided on comes after what is open, in this order."""


@dataclass(frozen=True)
class ListedCase:
    """One study of the list.

    Parameters
    ----------
    id : str
        The study's id.
    files : StudyFiles, optional
        Its images, where they were found.
    result : Path, optional
        JSON of its result.
    maps : mapping of str to Path
        File of each map of the result, and of its segmentation.
    volumes_ml : mapping of Region to float
        Predicted volumes; empty without a result.
    triage_score : float, optional
        Mean entropy of the whole tumour inside the cancer mask, nats; None when nothing was predicted.
    expected_dice : Estimate, optional
        Of the whole tumour, where the result tells it.
    reasons : tuple of str
        Why the study needs review, a sentence each.
    status : Status
        Where the review of this result stands.
    reviewer : str
        Who decided last about this result; empty while nobody has.
    earlier : StudyVerdict, optional
        What was decided about an earlier result of the study, if nothing is decided about this one.
    problem : str
        Why its result or its images cannot be used, a sentence; empty when they can.
    note : str
        What else a reviewer should know: a partial result, for instance.
    made : str
        How its result came about: members and model.
    fingerprint : str
        Of its result (:func:`napari_uncseg.io.provenance.fingerprint`), which verdicts are bound to.
    """

    id: str
    files: StudyFiles | None = None
    result: Path | None = None
    maps: Mapping[str, Path] = field(default_factory=dict)
    volumes_ml: Mapping[Region, float] = field(default_factory=dict)
    triage_score: float | None = None
    expected_dice: Estimate | None = None
    reasons: tuple[str, ...] = ()
    status: Status = Status.NEW
    reviewer: str = ""
    earlier: StudyVerdict | None = None
    problem: str = ""
    note: str = ""
    made: str = ""
    fingerprint: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is a result in which nothing was predicted."""
        return self.result is not None and self.volumes_ml.get(Region.WT) == 0

    @property
    def is_open(self) -> bool:
        """Whether nobody has decided yet."""
        return self.status not in _DECIDED


@dataclass(frozen=True)
class CaseList:
    """Studies in the order in which to review them.

    Parameters
    ----------
    cases : tuple of ListedCase
        See :func:`in_order`.
    log : Path, optional
        The log of verdicts; None without a folder of results.
    problems : tuple of str
        What could not be read, a sentence each.
    images_problem : str
        Why the folder of images could not be used, which is one of the problems; empty when it could.
    """

    cases: tuple[ListedCase, ...]
    log: Path | None = None
    problems: tuple[str, ...] = ()
    images_problem: str = ""

    def case(self, study_id: str) -> ListedCase | None:
        """The case of a study, if it is on the list."""
        return next((case for case in self.cases if case.id == study_id), None)

    def counts(self) -> dict[Status, int]:
        """Studies of each status, in the order of :class:`Status`; without those there are none of."""
        counts = {status: sum(case.status is status for case in self.cases) for status in Status}
        return {status: count for status, count in counts.items() if count}

    @property
    def summary(self) -> str:
        """How many studies there are, and of which status; empty where there is none."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        what = "1 study" if len(self.cases) == 1 else f"{len(self.cases)} studies"
        return f"{what}: {counts}" if self.cases else ""


def list_cases(results: Path | None, studies: Path | None = None, reviewer: str | None = None) -> CaseList:
    """List the studies of a folder of results, of a folder of images, or of both.

    Only names, JSON files and the log of verdicts are read, no volume. Without a folder of images, or with one that
    cannot be used, those that the results say they were made from are looked for.

    Parameters
    ----------
    results : Path, optional
        What ``uncseg predict -o`` wrote, a folder per study; or the folder of one study in it.
    studies : Path, optional
        A folder of studies, as :func:`find_studies` takes it.
    reviewer : str, optional
        Whose verdicts decide the status; by default those of whoever decided last.

    Returns
    -------
    CaseList

    Raises
    ------
    StudyError
        When no folder is given, one does not exist, or neither holds anything.
    """
    if results is None and studies is None:
        raise StudyError("No folder is chosen; choose the folder that uncseg predict wrote, or one of studies.")
    cases: dict[str, ListedCase] = {}
    for case in _results(results) if results is not None else ():
        other = cases.setdefault(case.id, case)
        if other is not case:
            twice = f"{case.id} has two results, {other.result} and {case.result}; keep one in this folder."
            cases[case.id] = replace(other, problem=other.problem or twice)
    images, problem = _images(studies, cases)
    if images is None:
        searched: dict[Path, dict[str, StudyFiles]] = {}
        for case in tuple(cases.values()):
            if case.result is not None and not case.problem:
                cases[case.id] = replace(case, files=find_inputs(case.id, case.result, searched))
    for files in images or ():
        known = cases.get(files.id, ListedCase(files.id))
        cases[files.id] = replace(known, files=files, problem=known.problem or files.problem or "")
    if results is not None and not cases:
        raise StudyError(_without_results(results))
    log = verdicts.log_path(results_root(results)) if results is not None else None
    return with_verdicts(CaseList(tuple(cases.values()), log, images_problem=problem), reviewer)


def results_root(folder: Path) -> Path:
    """Folder with a folder per study, where verdicts and corrections go, when the result of one study may be chosen.

    Parameters
    ----------
    folder : Path
        What ``uncseg predict -o`` wrote, or ``OUT/<id>`` in it.

    Returns
    -------
    Path
        The parent of ``OUT/<id>``; any other folder as it is.
    """
    own = folder.absolute()
    return own.parent if find_results(own) == [own / f"{own.name}{JSON_SUFFIX}"] else folder


def with_verdicts(listed: CaseList, reviewer: str | None = None) -> CaseList:
    """The list with the log read anew: status and order follow it; no folder is searched again.

    Parameters
    ----------
    listed : CaseList
    reviewer : str, optional
        As for :func:`list_cases`.

    Raises
    ------
    StudyError
        When there is a log that cannot be read.
    """
    log = verdicts.read_log(listed.log) if listed.log is not None else Log()
    judged = [_judged(case, log.records, reviewer) for case in listed.cases]
    own = (listed.images_problem,) if listed.images_problem else ()
    return replace(listed, cases=in_order(judged), problems=(*own, *log.problems))


def in_order(cases: Sequence[ListedCase]) -> tuple[ListedCase, ...]:
    """Cases in the order in which to review them.

    Parameters
    ----------
    cases : sequence of ListedCase

    Returns
    -------
    tuple of ListedCase
        What nobody decided on comes first: among these a prediction that found nothing, then by rising expected Dice,
        then, of results that do not tell it, by falling triage score,
        then results without a score, then studies without a result; names break ties.
    """
    return tuple(sorted(cases, key=_urgency))


def _urgency(case: ListedCase) -> tuple[int, int, float, str]:
    told = (case.expected_dice, case.triage_score, case.result)
    kind = 0 if case.is_empty else next((place for place, each in enumerate(told, 1) if each is not None), 4)
    score = case.expected_dice.value if case.expected_dice is not None else -(case.triage_score or 0.0)
    return _DECIDED.get(case.status, 0), kind, score, case.id


def _results(folder: Path) -> list[ListedCase]:
    """Results of a folder: ``OUT/<id>/<id>_uncseg.json``, or that of the folder itself."""
    if not is_dir(folder):
        raise StudyError(f"{folder} is no folder; choose the folder given to `uncseg predict -o`.")
    found = find_results(folder)
    below = [path for path in found if path.parent != folder]
    return [_result(path) for path in below or found]


def _images(studies: Path | None, cases: Mapping[str, ListedCase]) -> tuple[Sequence[StudyFiles] | None, str]:
    """Studies of a folder of images; or none, and why, when there are results that can be listed without."""
    if studies is None:
        return None, ""
    try:
        return find_studies(studies), ""
    except StudyError as error:
        if not cases:
            raise
        return None, f"Images: {error} The results are listed without this folder."


def _without_results(folder: Path) -> str:
    """Why a folder of results that holds none cannot be listed, and what to do."""
    try:
        find_studies(folder)
    except StudyError:
        return f"{folder} holds no result; choose the folder given to `uncseg predict -o`."
    return (
        f"{folder} holds studies, no results: choose it as Images, and as Results the folder given to "
        "`uncseg predict -o`, or none."
    )


def _result(path: Path) -> ListedCase:
    study_id = path.name.removesuffix(JSON_SUFFIX)
    try:
        result = read_result(path)
    except StudyError as error:  # one damaged result does not hide the others
        return ListedCase(study_id, result=path, problem=str(error))
    content, partial = result.provenance, result.partial
    volumes: Mapping[str, float | None] = content.get("volumes_ml") or {}
    return ListedCase(
        result.study_id,
        result=path,
        maps=result.files,
        volumes_ml={Region(name): ml for name, ml in volumes.items() if ml is not None},
        triage_score=content.get("triage_score"),
        expected_dice=expected_dice_of(content).get(Region.WT),
        reasons=tuple(str(reason.get("text")) for reason in content.get("needs_review") or ()),
        note=f"Partial result: {partial.done} of {partial.wanted} members." if partial is not None else "",
        made=made_by(content),
        fingerprint=result.fingerprint,
    )


def map_names(case: ListedCase) -> tuple[str, ...]:
    """Names of the maps of a case's result."""
    return tuple(name for name in case.maps if name not in _NOT_MAPS)


def _judged(case: ListedCase, records: Sequence[Record], reviewer: str | None) -> ListedCase:
    # Without a readable result there is none that a verdict could be bound to.
    result = case.fingerprint if case.maps else None
    verdict = verdicts.verdict_of(records, case.id, reviewer, result=result)
    earlier = None
    if verdict is None and result is not None:
        earlier = verdicts.earlier_verdict(records, case.id, result, reviewer)
    return replace(
        case,
        status=verdicts.status_of(records, case.id, reviewer, result=result),
        reviewer=verdict.reviewer if verdict is not None else "",
        earlier=earlier,
    )
