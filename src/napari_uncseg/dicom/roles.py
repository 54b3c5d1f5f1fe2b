"""Which series is which modality: told by how it was acquired, and by its name where that is not enough.

Every series gets a role or a reason why it has none. Descriptions are read in the languages of the scanners' consoles
and of those who name protocols: English, German, French, Italian, Spanish, Portuguese, Dutch, Polish, Czech and the
Scandinavian ones, and what is commonest in Russian, Chinese, Japanese and Korean.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from napari_uncseg.dicom.series import Examination, Series, is_mri
from napari_uncseg.errors import DicomError, MissingSeries
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES

COVERED_MM = 100.0
"""What a series covers at the least along each axis; a head is longer along all of them."""

_FEWEST = 10
"""Slices of a series of the head; localisers have fewer."""


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Any of some words, as a whole word."""
    whole = (f"(?<![a-z0-9]){word}" if word[0].isascii() and word[0].isalnum() else word for word in words)
    return re.compile(f"(?:{'|'.join(whole)})(?![a-z])")


_WORDS = tomllib.loads(Path(__file__).with_name("series_words.toml").read_text(encoding="utf-8"))
_LEFT_OUT = {what: _pattern(words) for what, words in _WORDS["left_out"].items()}
_WITHOUT, _WITH = (_pattern(_WORDS["contrast"][which]) for which in ("without", "with"))
_FLAIR, _T1, _T2, _MPR = (_pattern(_WORDS["weighting"][which]) for which in ("flair", "t1", "t2", "reformatted"))

_NO_AGENT = ("no", "none", "n", "nil", "n/a", "na", "aucun", "0", "-")
"""What stands for no contrast agent where a header names it."""


@dataclass(frozen=True)
class Verdict:
    """What a series is, and why.

    Parameters
    ----------
    series : Series
    role : str, optional
        A modality; None when it is left out.
    why : str
        A phrase.
    contrast : bool, optional
        Of T1: whether contrast agent was given before; None when nothing says so.
    """

    series: Series
    role: str | None
    why: str
    contrast: bool | None = None


@dataclass(frozen=True, eq=False)
class Chosen:
    """A series for each modality.

    Parameters
    ----------
    series : mapping of str to Series
        Modality -> series; those that were found.
    verdicts : tuple of Verdict
        One per series of the examination, with the role it has in the end.
    problems : mapping of str to DicomError
        Modality -> why it is missing.
    """

    series: Mapping[str, Series]
    verdicts: tuple[Verdict, ...]
    problems: Mapping[str, DicomError]

    def complete(self) -> Mapping[str, Series]:
        """The four series; the first problem is raised when one is missing."""
        for problem in self.problems.values():
            raise problem
        return self.series


def choose_series(examination: Examination, asked: Mapping[str, str] | None = None) -> Chosen:
    """Give every series its role, and take of several the one with the best resolution and coverage.

    Parameters
    ----------
    examination : Examination
    asked : mapping of str to str, optional
        Modality -> label, number or UID of a series that a user chose.

    Returns
    -------
    Chosen

    Raises
    ------
    MissingSeries
        When there is no series of a name that was asked for.
    """
    by_user = {role: _named(examination, label) for role, label in (asked or {}).items()}
    scans = [series.header for series in examination.series if is_mri(series.header)]
    always = all(map(_agent, scans))  # typed in before the patient was scanned, it tells nothing
    verdicts = []
    for series in examination.series:
        role = next((role for role, each in by_user.items() if each is series), None)
        verdicts.append(Verdict(series, role, "chosen by you") if role else judge(series, agent_tells=not always))
    verdicts = _with_contrast(verdicts)
    chosen: dict[str, Series] = {}
    problems: dict[str, DicomError] = {}
    for role in MODALITIES:
        candidates = [verdict for verdict in verdicts if verdict.role == role]
        if role in by_user:
            candidates = [verdict for verdict in candidates if verdict.series is by_user[role]]
        sound = [verdict.series for verdict in candidates if verdict.series.problem is None]
        if sound:
            chosen[role] = max(sound, key=_quality)
        else:
            problems[role] = _why_missing(examination, role, candidates)
    return Chosen(chosen, tuple(_settled(verdict, chosen) for verdict in verdicts), problems)


def _settled(verdict: Verdict, chosen: Mapping[str, Series]) -> Verdict:
    """A verdict without its role where the series is no volume, or another one was chosen."""
    best, series = chosen.get(verdict.role or ""), verdict.series
    if verdict.role and series.problem is not None:
        return replace(verdict, role=None, why=str(series.problem))
    if verdict.role and best is not None and best is not series:
        better = f"{MODALITY_TITLES[verdict.role]}, but series {best.label} is {_better(best, series)}"
        return replace(verdict, role=None, why=better)
    return verdict


def judge(series: Series, *, agent_tells: bool = True) -> Verdict:
    """Role of one series by itself; of T1 the role ``t1n`` or ``t1c``, with what is known of contrast agent.

    Parameters
    ----------
    series : Series
    agent_tells : bool
        Whether an agent in its header means that it had been given.
    """
    header, frame = series.header, series.frames[0]
    if not is_mri(header):
        colour = int(header.get("SamplesPerPixel") or 1) > 1
        kind = "a colour image" if colour else f"no MR acquisition ({header.get('Modality') or 'unknown modality'})"
        return Verdict(series, None, f"it is {kind}")
    text = _text(series)
    types = set(frame.image_type[2:])
    for what, words in _WORDS["types"].items():
        if types & set(words):
            return Verdict(series, None, f"{what}, as its type says")
    if frame.image_type[:2] == ("DERIVED", "SECONDARY"):
        return Verdict(series, None, "derived from other series")
    if any(each.b_value for each in series.frames):
        return Verdict(series, None, "diffusion, as its b-value says")
    for what, pattern in _LEFT_OUT.items():
        if found := pattern.search(text):
            return Verdict(series, None, f"{what}, as its name says ({found[0]})")
    if _MPR.search(text) and not (frame.inversion and frame.image_type[:1] == ("ORIGINAL",)):
        return Verdict(series, None, "reformatted, as its name says (mpr)")
    if _is_echo_planar(header):
        return Verdict(series, None, "echo-planar, as its header says: diffusion, perfusion or function")
    if series.repeats > 2:
        return Verdict(series, None, f"{series.repeats} volumes at one place: a dynamic series")
    weighting, why = _weighting(series, text)
    if weighting is None:
        return Verdict(series, None, why)
    if len(series.frames) < _FEWEST and series.problem is None:
        return Verdict(series, None, f"only {len(series.frames)} slices")
    if weighting != "t1":
        return Verdict(series, weighting, why)
    contrast, told = _contrast(series, text, agent_tells=agent_tells)
    return Verdict(series, "t1c" if contrast else "t1n", f"{why}, {told}", contrast)


def _text(series: Series) -> str:
    """Names of a series in small letters without accents; that of the whole protocol only where it has none."""
    name = series.header.get("SeriesDescription") or series.header.get("ProtocolName")
    words = " ".join(str(part or "") for part in (name, *map(series.header.get, ("SequenceName", "PulseSequenceName"))))
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", words) if not unicodedata.combining(letter))
    plain = re.sub(r"\(([+-])\)", r" c\1 ", unicodedata.normalize("NFC", bare).casefold())
    return re.sub(r"[_,;:()\[\]\s]+", " ", plain).strip()


def _is_echo_planar(header: Dataset) -> bool:
    """Whether an image was read out as diffusion, perfusion and fMRI are, told by classic and by enhanced headers."""
    return "EP" in str(header.get("ScanningSequence") or "") or header.get("EchoPlanarPulseSequence") == "YES"


def _weighting(series: Series, text: str) -> tuple[str | None, str]:
    """``t1``, ``t2f`` or ``t2w`` of how it was acquired, and why; None when it is neither."""
    frame = series.frames[0]
    echo, repetition, inversion = frame.echo, frame.repetition, frame.inversion or 0.0
    sequence = [str(series.header.get(tag) or "") for tag in ("ScanningSequence", "EchoPulseSequence")]
    gradient = "GR" in sequence[0] or sequence[1] == "GRADIENT"
    named_flair, named_t1 = bool(_FLAIR.search(text)), bool(_T1.search(text))
    if echo is None or repetition is None:
        for name, pattern in (("t2f", _FLAIR), ("t1", _T1), ("t2w", _T2)):
            if (found := pattern.search(text)) and not (name == "t2f" and named_t1):
                return name, f"its name says {found[0].strip()}"
        return None, "neither times nor a name say what it shows"
    times = f"TR {repetition:.0f}, TE {echo:.0f}" + (f", TI {inversion:.0f}" if inversion else "") + " ms"
    if echo >= 60 and (inversion >= 1500 or (named_flair and not 0 < inversion < 1000)):
        return "t2f", times
    if echo >= 60 and repetition >= 1500:
        return (None, f"{times}: fat is suppressed by inversion") if 0 < inversion < 400 else ("t2w", times)
    if gradient and echo >= 15:
        return None, f"{times}: T2*-weighted"
    if echo <= 35 and (repetition <= 1300 or inversion or named_t1):
        return "t1", times
    if repetition > 1300 and echo < 60:
        return None, f"{times}: proton density"
    return None, f"{times}: neither T1, T2 nor FLAIR"


def _contrast(series: Series, text: str, *, agent_tells: bool) -> tuple[bool | None, str]:
    """Whether contrast agent was given before a T1 series, and what says so."""
    if found := _WITHOUT.search(text):
        return False, f"its name says without contrast agent ({found[0].strip()})"
    if found := _WITH.search(text):
        return True, f"its name says contrast agent ({found[0].strip()})"
    agent = _agent(series.header) if agent_tells else None
    if agent is None:
        return None, "nothing says whether contrast agent was given"
    return agent, f"its header says {'' if agent else 'no '}contrast agent"


def _agent(header: Dataset) -> bool | None:
    """Whether a header names a contrast agent; None when it says nothing."""
    agent = str(header.get("ContrastBolusAgent") or "").strip().lower()
    if not agent and not header.get("ContrastBolusAgentSequence"):
        return None
    return agent not in _NO_AGENT and not _WITHOUT.search(agent)


def _with_contrast(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Roles of T1 series that do not say it: those after the first with contrast agent have it, or else the last."""
    t1 = [verdict for verdict in verdicts if verdict.role in ("t1c", "t1n") and verdict.why != "chosen by you"]
    unknown = [verdict for verdict in t1 if verdict.contrast is None]
    when = _times([verdict.series for verdict in t1])
    known = [when[verdict.series] for verdict in t1 if verdict.contrast]
    fixed = {verdict.role for verdict in verdicts if verdict.why == "chosen by you"}
    changed: dict[Series, Verdict] = {}
    for verdict in unknown:
        if known and when[verdict.series] > min(known):
            why = f"{verdict.why}, but it came after a series with it"
            changed[verdict.series] = replace(verdict, role="t1c", contrast=True, why=why)
    rest = [verdict for verdict in unknown if verdict.series not in changed]
    if rest and not known and "t1c" not in fixed and len(set(when.values())) > 1:
        last = max(rest, key=lambda verdict: when[verdict.series])
        if when[last.series] == max(when.values()):
            why = f"{last.why}; taken for T1c because it was acquired last"
            changed[last.series] = replace(last, role="t1c", why=why)
    return [changed.get(verdict.series, verdict) for verdict in verdicts]


def _times(several: Sequence[Series]) -> dict[Series, tuple[str, int]]:
    """When each series was acquired; scanners count them up, where the times were taken out or are all the same."""
    told = {series.acquired for series in several}
    timed = len(told) > 1 and "" not in told
    return {series: (series.acquired, 0) if timed else ("", series.number) for series in several}


def _named(examination: Examination, name: str) -> Series:
    """The series that a user means by a label, a number or a UID."""
    for found in (
        [each for each in examination.series if name in (each.label, each.uid)],
        [each for each in examination.series if str(each.header.get("SeriesNumber")) == name],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            labels = ", ".join(each.label for each in found)
            raise MissingSeries(f"{examination.path} has {len(found)} volumes of series {name}; name one of {labels}.")
    labels = ", ".join(each.label for each in examination.series)
    raise MissingSeries(f"{examination.path} has no series {name}; its series are {labels}.")


def _quality(series: Series) -> tuple[object, ...]:
    """What makes a series better than another of its kind: it covers the head, then resolution, then the later one."""
    covers = min(series.extent) >= COVERED_MM
    original = series.frames[0].image_type[:1] != ("DERIVED",)
    return covers, -round(max(series.spacing), 1), -round(series.voxel_ml, 5), original, series.acquired


def _better(best: Series, other: Series) -> str:
    """In what one series is better than another, in words."""
    words = ("of wider coverage", "of thinner slices", "of smaller voxels", "original", "later")
    different = zip(words, _quality(best), _quality(other), strict=True)
    return next((word for word, one, two in different if one != two), "as good")


def _why_missing(examination: Examination, role: str, candidates: Sequence[Verdict]) -> DicomError:
    """The error when a modality has no series that can be used."""
    for verdict in candidates:
        if verdict.series.problem is not None:
            kind = type(verdict.series.problem)
            return kind(f"{MODALITY_TITLES[role]} of {examination.path}: {verdict.series.problem}")
    title = MODALITY_TITLES[role]
    what = f"No series in {examination.path} is {title}"
    return MissingSeries(f"{what}; `uncseg series` tells what each one is, and --{role} SERIES names one.")
