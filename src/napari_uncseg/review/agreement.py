"""Two reviewers' logs side by side: how often they agree, and how much more often than by chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_uncseg.review.verdict import FindingVerdict, Record, StudyVerdict, latest


@dataclass(frozen=True)
class Agreement:
    """How two reviewers answered the same questions.

    Parameters
    ----------
    count : int
        Questions that both answered.
    agreed : int
        Questions to which both gave the same answer.
    kappa : float
        Cohen's kappa; nan where it is undefined: without a question, or when chance alone would always agree.
    table : mapping of (str, str) to int
        Answer of the first, answer of the second -> questions.
    disagreements : tuple of str
        The questions to which they differ.
    """

    count: int
    agreed: int
    kappa: float
    table: dict[tuple[str, str], int]
    disagreements: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the questions to which both gave the same answer; nan without a question."""
        return self.agreed / self.count if self.count else math.nan


def merge_logs(*logs: Iterable[Record]) -> list[Record]:
    """Records of several logs by time, each once; of one time, in the order of the logs."""
    merged = dict.fromkeys(record for log in logs for record in log)
    return sorted(merged, key=lambda record: record.time)


def reviewers_of(records: Iterable[Record]) -> list[str]:
    """Who has a record, in the order of their first one."""
    return list(dict.fromkeys(record.reviewer for record in records))


def study_agreement(records: Sequence[Record], first: str, second: str) -> Agreement:
    """How two reviewers decided about the studies that both decided about.

    Parameters
    ----------
    records : sequence of StudyVerdict or FindingVerdict
        Of one log, or of several (:func:`merge_logs`).
    first, second : str
        Reviewers.

    Returns
    -------
    Agreement
    """
    answers: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for record in latest(records):
        for reviewer, of in zip((first, second), answers, strict=True):
            if isinstance(record, StudyVerdict) and record.reviewer == reviewer:
                of[record.study] = str(record.decision)
    return _compare(*answers)


def finding_agreement(records: Sequence[Record], first: str, second: str) -> Agreement:
    """How two reviewers judged the findings that both judged; as :func:`study_agreement`.

    Notes
    -----
    A finding is the same when study, result, map, region and voxel are: it may have been seen at two thresholds.
    """
    answers: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for record in latest(records):
        for reviewer, of in zip((first, second), answers, strict=True):
            if isinstance(record, FindingVerdict) and record.reviewer == reviewer:
                voxel = " ".join(str(index) for index in record.voxel)
                result = f" of {record.result[:8]}" if record.result else ""
                of[f"{record.study}{result}: {record.map} ({record.region}) at {voxel}"] = str(record.judgement)
    return _compare(*answers)


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement of two raters beyond chance.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Answers of the first and the second rater to the same questions.

    Returns
    -------
    float
        ``(p_o - p_e) / (1 - p_e)``, with ``p_o`` the share of equal answers and ``p_e`` what independent raters with
        these frequencies of answers would have: 1 for perfect agreement, 0 for that of chance, negative below it. nan
        without a pair, and when both always gave one and the same answer.

    References
    ----------
    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960), 37-46.
    """
    if not pairs:
        return math.nan
    count = len(pairs)
    observed = sum(one == other for one, other in pairs) / count
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(ones[answer] * others[answer] for answer in ones) / count**2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def _compare(first: dict[str, str], second: dict[str, str]) -> Agreement:
    both = [question for question in first if question in second]
    pairs = [(first[question], second[question]) for question in both]
    different = tuple(question for question in both if first[question] != second[question])
    return Agreement(
        count=len(both),
        agreed=len(both) - len(different),
        kappa=cohen_kappa(pairs),
        table=dict(Counter(pairs)),
        disagreements=different,
    )
