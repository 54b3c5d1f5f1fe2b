"""What a file's name says: which modality it is, or that it is the reference, and whose."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.io.nifti import stem
from napari_uncseg.labels import Coding

REFERENCE = "reference"

_TOKENS: tuple[tuple[str, str], ...] = (
    (
        "t1c",
        # T1c, t1ce, T1Gd, T1POST, T1+C, T1_post_contrast ..., and BIDS
        r"t1w?[-_ +]?(?:c|ce|gd|gad|km|post|contrast)(?:[-_ ]?(?:gd|contrast))?|ce-[a-z0-9]+_t1w?",
    ),
    ("t2f", r"(?:t2w?[-_ ]?)?(?:flair|fla)|t2f"),
    ("t1n", r"t1w?[-_ ]?(?:pre(?:[-_ ]?(?:gd|contrast))?|native)|t1n|t1w?"),
    ("t2w", r"t2w?"),
    (REFERENCE, r"(?:tumou?r[-_ ])?seg(?:m|mentation)?"),
)
_PATTERNS = tuple(
    (role, re.compile(rf"(?P<prefix>.*?)(?P<separator>^|[-_. ])(?P<token>{token})", re.IGNORECASE | re.DOTALL))
    for role, token in _TOKENS
)
_CHANNEL = re.compile(r"(?P<prefix>.+)_(?P<number>\d{4})")


@dataclass(frozen=True)
class NamedFile:
    """A file whose name says what it is.

    Parameters
    ----------
    path : Path
        The file.
    role : str
        A modality or ``reference``.
    prefix : str
        What stands before the token; the same for all files of a study.
    separator : str
        What stands between the two.
    token : str
        The part of the name that tells, in lower case.
    """

    path: Path
    role: str
    prefix: str
    separator: str
    token: str


def read_name(path: Path) -> NamedFile | None:
    """What a file name says, or None when it names neither a modality nor a reference.

    The token has to end the name: ``UCSF-PDGM-0004_T1_bias.nii.gz`` and ``ms_lesions.nii.gz`` say nothing.
    """
    best: NamedFile | None = None
    for role, pattern in _PATTERNS:
        match = pattern.fullmatch(stem(path))
        # The shortest prefix leaves the longest token: "x_t2_flair" is FLAIR, not T2 of "x".
        if match and (best is None or len(match["prefix"]) < len(best.prefix)):
            best = NamedFile(path, role, match["prefix"], match["separator"], match["token"].lower())
    return best


def modality_of_name(name: str) -> str | None:
    """Modality that a channel of a ``dataset.json`` is called by, such as ``T1w``, ``t1gd`` or ``FLAIR``."""
    named = read_name(Path(name.strip()))
    return named.role if named is not None and named.prefix == "" and named.role != REFERENCE else None


def channel_of_name(path: Path) -> tuple[str, int] | None:
    """Case and channel number of an nnU-Net image file such as ``BRATS_001_0003.nii.gz``, or None."""
    match = _CHANNEL.fullmatch(stem(path))
    return (match["prefix"], int(match["number"])) if match else None


_NO_NAME = re.compile("[\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\x00-\\x1f\\x7f\\\\\ud800-\udfff]")
"""What is in no file name somewhere, or turns letters round: control characters, backslash, bytes that are no text."""


def plain_id(name: str) -> str:
    """An id as it is written everywhere, whatever system the name comes from.

    Letters with accents have two spellings, of which a Mac writes the other one; what some system takes in no file name
    becomes ``_``, and dots and spaces at the ends go.
    """
    return _NO_NAME.sub("_", unicodedata.normalize("NFC", name)).strip(" .") or name


_PLACE = r"anat|mri?|mris|images?|nii|nifti|scans?|raw|data|derivatives|processed|preprocessed"
"""Folders that tell what is in them, and not whose it is."""

_VISIT = (
    r"ses(?:sion)?[-_ ]?\w+|(?:pre|post)(?:[-_ ]?(?:op|operative|surgery|treatment|rt))?|baseline"
    r"|follow[-_ ]?up[-_ ]?\d*|(?:visit|scan|time[-_ ]?point|time|tp|day|week|month)[-_ ]?\d*"
    r"|(?:19|20)\d\d-?[01]\d-?[0-3]\d"
)
"""Folders that tell when it was, and not whose it is."""

_says_where = re.compile(_PLACE, re.IGNORECASE).fullmatch
_says_no_name = re.compile(f"{_PLACE}|{_VISIT}", re.IGNORECASE).fullmatch


def name_of_study(folder: Path, prefix: str = "") -> str:
    """Name of a study from the paths of its own files alone, whatever stands beside them.

    Parameters
    ----------
    folder : Path
        Where the files stand.
    prefix : str
        What their names have in common.

    Returns
    -------
    str
        The folder's name. Where that says nothing (``anat``, ``pre``) it is the prefix; where that says nothing either,
        folders above are added: the study in ``sub-01/ses-02/anat`` is ``sub-01_ses-02``.
    """
    folder, prefix = Path(os.path.abspath(folder)), prefix.strip("-_. ")
    if prefix and _says_no_name(folder.name) and not _says_no_name(prefix):
        return prefix
    parts: list[str] = []
    for place in (folder, *folder.parents):
        if not _says_where(place.name):
            parts.append(place.name)
        if not _says_no_name(place.name):
            break
    return "_".join(filter(None, reversed(parts))) or folder.name or "study"


def says_whose(name: str) -> bool:
    """Whether a name may be that of a patient or study, rather than ``anat`` or ``pre``."""
    return bool(name) and not _says_no_name(name)


def subject_of(prefix: str) -> str:
    """What the beginning of a file name says of patient and visit: of BIDS without its other entities."""
    return re.sub(r"_(?!ses-)[a-zA-Z]+-[a-zA-Z0-9]+", "", prefix) if prefix.startswith("sub-") else prefix


def implied_coding(files: list[NamedFile]) -> Coding | None:
    """Coding that the naming of a study's modalities implies.

    ``-t1c -t1n -t2f -t2w`` is how BraTS names files from 2023 on, ``_t1ce _t1 _flair _t2`` how it did up to 2021; other
    names leave the coding to the values.
    """
    images = [file for file in files if file.role != REFERENCE]
    separators = {file.separator for file in images}
    tokens = {file.token for file in images}
    if separators == {"-"} and tokens <= {"t1c", "t1n", "t2f", "t2w"}:
        return Coding.BRATS2023
    if separators == {"_"} and tokens <= {"t1ce", "t1", "flair", "t2"} and tokens & {"t1ce", "flair"}:
        return Coding.BRATS2021
    return None
