"""Inter-rater agreement of two logs: where reviewers differ, and how much more often than by chance they agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from napari_uncseg.review.verdicts import FindingVerdict, Record, latest

_Question = tuple[str, int, str, str, tuple[int, int, int] | None, str]


class About(StrEnum):
    """What reviewers are asked."""

    VERDICT = "verdict"
    DIFFICULTY = "difficulty"
    FINDING = "finding"


@dataclass(frozen=True)
class Answers:
    """A question that two reviewers answered.

    Parameters
    ----------
    about : About
    study : str
        The study's id.
    first, second : str
        What each answered: a decision, a difficulty from 1 to 5, or a judgement.
    first_comment, second_comment : str
    same_result : bool
        Whether both looked at one result; of another network or run, the same study may deserve another verdict.
    map, region : str
        Of a finding: the map it was cut out of and the region that speaks of.
    voxel : tuple of int, optional
        Of a finding, in the file's order.
    """

    about: About
    study: str
    first: str
    second: str
    first_comment: str = ""
    second_comment: str = ""
    same_result: bool = True
    map: str = ""
    region: str = ""
    voxel: tuple[int, int, int] | None = None

    @property
    def same(self) -> bool:
        """Whether both answers are equal."""
        return self.first == self.second

    @property
    def question(self) -> str:
        """What was asked, in words, without the study."""
        if self.voxel is None:
            return str(self.about)
        return f"{self.about} in {self.map} ({self.region}) at {' '.join(str(index) for index in self.voxel)}"


@dataclass(frozen=True)
class Agreement:
    """How two reviewers answered the same questions.

    Parameters
    ----------
    about : About
    count : int
        Questions that both answered.
    agreed : int
        Questions to which both gave the same answer.
    kappa : float
        Cohen's kappa (:func:`cohen_kappa`), of difficulties the weighted one; nan where it is undefined.
    table : mapping of (str, str) to int
        Answer of the first, answer of the second -> questions.
    """

    about: About
    count: int
    agreed: int
    kappa: float
    table: dict[tuple[str, str], int]

    @property
    def share(self) -> float:
        """Share of the questions to which both gave the same answer; nan without a question."""
        return self.agreed / self.count if self.count else math.nan

    @property
    def why_undefined(self) -> str:
        """Why there is no kappa, a clause; empty when there is one."""
        if not math.isnan(self.kappa):
            return ""
        if self.count == 0:
            return f"there is no {self.about} that both gave"
        return f"both always said “{next(iter(self.table))[0]}”, so chance alone would always agree"


def merge_logs(*logs: Iterable[Record]) -> list[Record]:
    """Records of several logs by time, each once; of one time, in the order of the logs."""
    merged = dict.fromkeys(record for log in logs for record in log)
    return sorted(merged, key=lambda record: record.time)


def reviewers_of(records: Iterable[Record]) -> list[str]:
    """Who has a record, in the order of their first one."""
    return list(dict.fromkeys(record.reviewer for record in records))


def answers_of(records: Sequence[Record], first: str, second: str) -> tuple[Answers, ...]:
    """All questions that two reviewers both answered.

    Parameters
    ----------
    records : sequence of StudyVerdict or FindingVerdict
        Of one log, or of several (:func:`merge_logs`).
    first, second : str
        Reviewers.

    Returns
    -------
    tuple of Answers
        Study by study in the order of their names: the verdict, the difficulty where both gave one, the findings.

    Notes
    -----
    Only what stands counts (:func:`~napari_uncseg.review.verdicts.latest`). A finding is the same when study, result,
    map, region and voxel are: it may have been seen at two thresholds.
    """
    standing = latest(records)
    mine, theirs = (
        {key: (answer, record) for record in standing if record.reviewer == who for key, answer in _answers(record)}
        for who in (first, second)
    )
    answers = []
    for key in sorted(mine.keys() & theirs.keys()):
        study, about, map_, region, voxel, _ = key
        (one, my_record), (two, their_record) = mine[key], theirs[key]
        pair = (one, two, my_record.comment, their_record.comment, my_record.result == their_record.result)
        answers.append(Answers(tuple(About)[about], study, *pair, map_, region, voxel))
    return tuple(answers)


def _answers(record: Record) -> Iterator[tuple[_Question, str]]:
    """What a record answers: the question, in the order in which questions are listed, and the answer."""
    if isinstance(record, FindingVerdict):
        yield (record.study, 2, record.map, record.region, record.voxel, record.result), str(record.judgement)
        return
    yield (record.study, 0, "", "", None, ""), str(record.decision)
    if record.difficulty is not None:
        yield (record.study, 1, "", "", None, ""), str(record.difficulty)


def agreement_on(about: About, answers: Iterable[Answers]) -> Agreement:
    """How often two reviewers agree, for one kind of questions."""
    pairs = [(each.first, each.second) for each in answers if each.about is about]
    weight = squared_distance if about is About.DIFFICULTY else differ
    agreed = sum(one == other for one, other in pairs)
    return Agreement(about, len(pairs), agreed, cohen_kappa(pairs, weight), dict(Counter(pairs)))


def differ(one: str, other: str) -> float:
    """Weight of a disagreement between names: all count the same."""
    return float(one != other)


def squared_distance(one: str, other: str) -> float:
    """Weight of a disagreement between grades: the square of their distance."""
    return float(int(one) - int(other)) ** 2


def cohen_kappa(pairs: Sequence[tuple[str, str]], weight: Callable[[str, str], float] = differ) -> float:
    """Agreement of two raters beyond chance.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Answers of the first and the second rater to the same questions.
    weight : callable
        How much a disagreement counts; 0 for two equal answers.

    Returns
    -------
    float
        ``1 - d_o / d_e``, with ``d_o`` the mean weight observed and ``d_e`` that of independent raters with these
        frequencies of answers: 1 for perfect agreement, 0 for that of chance, negative below it. nan without a pair,
        and when both always gave one and the same answer.

    References
    ----------
    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960), 37-46.
    Cohen, "Weighted kappa", Psychological Bulletin 70 (1968), 213-220: for grades, with squared distances.
    """
    if not pairs:
        return math.nan
    count = len(pairs)
    observed = sum(weight(one, other) for one, other in pairs) / count
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(weight(one, other) * ones[one] * others[other] for one in ones for other in others) / count**2
    return 1 - observed / expected if expected > 0 else math.nan
