"""From the numbers in a reference file to the package's labels: which BraTS year's coding is it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import StudyError
from napari_uncseg.io.nifti import Volume
from napari_uncseg.labels import CODINGS, Coding, Label

_WORDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (Label.ED, ("edema", "oedema", "peritumoral", "snfh")),
    (0, ("background", "resection", "cavity")),
    (Label.NCR, ("necro", "non-enhanc", "nonenhanc", "non enhanc", "non_enhanc", "ncr")),
    (Label.ET, ("enhanc", "active")),
)
_SHORT = {"ed": Label.ED, "net": Label.NCR, "netc": Label.NCR, "et": Label.ET, "rc": 0}


def choose_coding(values: Iterable[int], implied: Coding | None, *, name: str) -> Coding:
    """The coding of a reference, from its values and what the naming of its files implies.

    {1,2,3} is BraTS 2023, {1,2,3,4} BraTS 2024 and a 4 without a 3 BraTS <= 2021, unless files are named as of 2023:
    then that 4 may be enhancing tumour or, in 2024, a resection cavity, and nobody can tell.

    Parameters
    ----------
    values : iterable of int
        Values in the file; 0 is ignored.
    implied : Coding or None
        What names imply: the ``dataset.json`` of nnU-Net or the Decathlon, or the file naming of a BraTS year.
    name : str
        The file, for messages.

    Returns
    -------
    Coding

    Raises
    ------
    StudyError
        When the values fit no coding, or more than one.
    """
    found = set(values) - {0}
    if implied is Coding.DECATHLON:
        _check_values(found, Coding.DECATHLON, name)
        return Coding.DECATHLON
    if not found <= {1, 2, 3, 4}:
        raise StudyError(
            f"{name} holds the label values {_listing(found)}, which no BraTS coding knows; "
            "expected some of 1, 2, 3, 4: give another file or take this one out of the study."
        )
    if 4 not in found:
        # A subset such as {1, 2} means the same in every year; what the naming says is the better name for it.
        return implied if implied is not None and found <= set(CODINGS[implied]) else Coding.BRATS2023
    if 3 in found or implied is Coding.BRATS2024:
        return Coding.BRATS2024
    if implied is Coding.BRATS2023:
        raise StudyError(
            f"{name} holds the label values {_listing(found)} under a name of BraTS 2023 or later, where 4 may be "
            "enhancing tumour (brats2021) or a resection cavity (brats2024); say which with --coding."
        )
    return Coding.BRATS2021


def decode_reference(
    values: npt.NDArray[np.floating] | npt.NDArray[np.integer],
    *,
    implied: Coding | None,
    asked: Coding | None,
    undecided: str | None,
    name: str,
) -> tuple[npt.NDArray[np.uint8], Coding, tuple[str, ...]]:
    """Labels of a reference in the package's own coding.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        What the file holds.
    implied : Coding or None
        What the naming implies.
    asked : Coding or None
        What the user says; it rules.
    undecided : str or None
        Why the naming leaves the coding open although it should not, a sentence; then the user has to say.
    name : str
        The file, for messages.

    Returns
    -------
    labels : ndarray of uint8, shape (x, y, z)
        Values of :class:`Label`.
    coding : Coding
        The one they were read by.
    warnings : tuple of str
        A sentence each.

    Raises
    ------
    StudyError
        When values are not whole numbers, or fit no coding or several.
    """
    nonzero = values != 0
    present = np.unique(values[nonzero])
    if not np.isfinite(present).all() or (np.abs(present - np.rint(present)) > 1e-3).any():
        shown = ", ".join(f"{value:g}" for value in present[:5])
        raise StudyError(
            f"{name} holds values that are not whole numbers ({shown} …) where labels are expected; take it "
            "out of the study."
        )
    if present.size and np.abs(present).max() > 2**31:
        raise StudyError(f"{name} holds label values up to {present.max():g}, which no BraTS coding knows.")
    found = {int(np.rint(value)) for value in present} - {0}
    if asked is not None:
        _check_values(found, asked, name)
        coding = asked
    elif undecided is not None and found:
        raise StudyError(undecided)
    else:
        coding = choose_coding(found, implied, name=name)
    labels = np.zeros(values.shape, dtype=np.uint8)
    rounded = np.rint(values[nonzero]).astype(np.int64)
    table = np.zeros(max(found, default=0) + 1, dtype=np.uint8)
    for value in found:
        table[value] = CODINGS[coding][value]
    labels[nonzero] = table[rounded]
    if coding is Coding.BRATS2024 and 4 in found:
        return labels, coding, (f"{name} marks a resection cavity (4), which belongs to no region and was left out.",)
    return labels, coding, ()


def labels_of(
    volume: Volume, what: str, *, implied: Coding | None, asked: Coding | None, undecided: str | None
) -> tuple[npt.NDArray[np.uint8], Coding, tuple[str, ...]]:
    """As :func:`decode_reference`, of a file that was read; a StudyError when it holds several volumes."""
    if volume.channels > 1:
        raise StudyError(f"{volume.path} is 4-D with {volume.channels} volumes; a {what} is one 3-D label map.")
    plain = volume.data.dtype.kind in "iu" and (volume.slope, volume.intercept) == (1.0, 0.0)
    values = np.ascontiguousarray(volume.data) if plain else volume.values(dtype=np.float64)
    return decode_reference(values, implied=implied, asked=asked, undecided=undecided, name=str(volume.path))


def coding_of_names(names: Mapping[object, object]) -> Coding | None:
    """The coding that the ``labels`` of a ``dataset.json`` spell out, or None when they cannot be read.

    Parameters
    ----------
    names : mapping
        ``{"1": "edema", ...}`` as in the Decathlon, ``{"edema": 1, ...}`` as in nnU-Net v2, or nnU-Net's regions,
        ``{"whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}``.

    Returns
    -------
    Coding or None
    """
    meant: dict[int, int] = {}
    regions: dict[str, set[int]] = {}
    for key, value in names.items():
        if isinstance(value, list):
            if not all(isinstance(number, int) for number in value):
                return None
            regions[str(key).lower()] = set(value)
            continue
        name, number = (value, key) if isinstance(value, str) else (key, value)
        try:
            index = int(str(number))
        except ValueError:
            return None
        if index == 0:
            continue
        label = _label_of_name(str(name))
        if label is None:
            return None
        meant[index] = int(label)
    if regions:
        from_regions = _labels_of_regions(regions)
        if from_regions is None:
            return None
        meant.update(from_regions)
    for coding, mapping in CODINGS.items():
        if meant == {value: int(label) for value, label in mapping.items()}:
            return coding
    return None


def _label_of_name(name: str) -> int | None:
    name = name.strip().lower()
    if name in _SHORT:
        return int(_SHORT[name])
    for label, words in _WORDS:
        if any(word in name for word in words):
            return int(label)
    return None


def _labels_of_regions(regions: Mapping[str, set[int]]) -> dict[int, int] | None:
    """Value -> label when the nested regions of BraTS are spelt out."""
    sets: dict[str, set[int]] = {}
    for name, numbers in regions.items():
        if "whole" in name or name == "wt":
            sets["wt"] = numbers
        elif "core" in name or name == "tc":
            sets["tc"] = numbers
        elif "enhanc" in name or name == "et":
            sets["et"] = numbers
    if set(sets) != {"wt", "tc", "et"} or not sets["et"] <= sets["tc"] <= sets["wt"]:
        return None
    labels = dict.fromkeys(sets["et"], int(Label.ET))
    labels.update(dict.fromkeys(sets["tc"] - sets["et"], int(Label.NCR)))
    labels.update(dict.fromkeys(sets["wt"] - sets["tc"], int(Label.ED)))
    return labels


def _check_values(found: set[int], coding: Coding, name: str) -> None:
    known = set(CODINGS[coding])
    if not found <= known:
        raise StudyError(
            f"{name} holds the label values {_listing(found)}, but the coding {coding} knows only {_listing(known)}; "
            "give another one with --coding."
        )


def _listing(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in sorted(values)) or "none"
