"""From the numbers in a reference file to labels: which coding they have, by values, names or ``dataset.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_uncseg.arrays import AnyFloats, AnyInts, Labels
from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import read_json
from napari_uncseg.io.naming import modality_of_name
from napari_uncseg.io.nifti import Volume
from napari_uncseg.labels import CODINGS, MODALITIES, MODALITY_TITLES, Coding, Label, Region

DATASET_JSON = "dataset.json"
"""Where nnU-Net and the Medical Segmentation Decathlon tell the order of channels and the names of labels."""

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
        _check_values(found, implied, name)
        return implied
    if not found <= {1, 2, 3, 4}:
        raise StudyError(f"{name} holds the label values {_listing(found)}, which no coding knows; take the file out.")
    if 4 not in found:
        # A subset such as {1, 2} means the same in every year; what the naming says is the better name for it.
        return implied if implied is not None and found <= set(CODINGS[implied]) else Coding.BRATS2023
    if 3 in found or implied is Coding.BRATS2024:
        return Coding.BRATS2024
    if implied is Coding.BRATS2023:
        what = f"{name} holds a 4 under a name of BraTS 2023 or later: enhancing tumour (brats2021) or a resection"
        raise StudyError(f"{what} cavity (brats2024); say which with --coding.")
    return Coding.BRATS2021


def decode_reference(
    values: AnyFloats | AnyInts, *, implied: Coding | None, asked: Coding | None, undecided: str | None, name: str
) -> tuple[Labels, Coding, tuple[str, ...]]:
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
    if np.isnan(present).any():
        raise StudyError(f"{name} holds NaN where a label should be; write 0 for the background.")
    if not np.isfinite(present).all() or (np.abs(present - np.rint(present)) > 1e-3).any():
        raise StudyError(f"{name} holds values that are no labels, for they are not whole numbers; take it out.")
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
    table = np.array([CODINGS[coding].get(value, 0) for value in range(1 + max(found, default=0))], dtype=np.uint8)
    labels[nonzero] = table[np.rint(values[nonzero]).astype(np.int64)]
    cavity = f"{name} marks a resection cavity (4), which belongs to no region and was left out."
    return labels, coding, (cavity,) if coding is Coding.BRATS2024 and 4 in found else ()


def labels_of(
    volume: Volume, what: str, *, implied: Coding | None, asked: Coding | None, undecided: str | None
) -> tuple[Labels, Coding, tuple[str, ...]]:
    """As :func:`decode_reference`, of a file that was read; a StudyError when it holds several volumes."""
    if volume.channels > 1:
        raise StudyError(f"{volume.path} is 4-D with {volume.channels} volumes; a {what} is one 3-D label map.")
    plain = volume.data.dtype.kind in "iu" and (volume.slope, volume.intercept) == (1.0, 0.0)
    values = np.ascontiguousarray(volume.data) if plain else volume.values(dtype=np.float64)
    return decode_reference(values, implied=implied, asked=asked, undecided=undecided, name=str(volume.path))


@dataclass(frozen=True)
class Dataset:
    """What a ``dataset.json`` says.

    Parameters
    ----------
    channels : mapping of str to int
        Modality -> channel number.
    coding : Coding, optional
        Coding that the names of the labels spell out.
    undecided : str, optional
        Why there is none, a sentence.
    size : int
        How many channels it names.
    """

    channels: Mapping[str, int]
    coding: Coding | None
    undecided: str | None
    size: int = 0


def read_dataset(path: Path, *, labels_alone: bool = False) -> Dataset:
    """Read a ``dataset.json``.

    Parameters
    ----------
    path : Path
        The file.
    labels_alone : bool
        Whether only the labels matter, so that channels may be any.

    Returns
    -------
    Dataset

    Raises
    ------
    StudyError
        When it is no JSON, or does not name each of the four modalities once.
    """
    content = read_json(path)
    names = {} if labels_alone else content.get("channel_names") or content.get("modality")
    if not isinstance(names, dict):
        raise StudyError(f"{path} does not name its channels (channel_names or modality); add them.")
    channels: dict[str, int] = {}
    for number, name in names.items():
        modality = modality_of_name(str(name))
        if modality is None or not str(number).isdecimal():
            continue
        if modality in channels:
            raise StudyError(f"{path} names two channels for {MODALITY_TITLES[modality]}: {names}; correct it.")
        channels[modality] = int(number)
    missing = [MODALITY_TITLES[modality] for modality in MODALITIES if modality not in channels]
    if missing and not labels_alone:
        raise StudyError(f"{path} names no channel for {', '.join(missing)}: {names}; correct it.")
    labels = content.get("labels")
    coding = coding_of_names(labels) if isinstance(labels, dict) else None
    unclear = f"The label names in {path} do not tell necrosis from oedema; say which coding they have with --coding."
    return Dataset(channels, coding, unclear if coding is None else None, len(names))


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
    regions = {str(key).lower(): set(map(str, value)) for key, value in names.items() if isinstance(value, list)}
    meant = _labels_of_regions(regions)
    if regions and not meant:
        return None
    for key, value in names.items():
        if isinstance(value, list):
            continue
        name, number = (value, key) if isinstance(value, str) else (key, value)
        label = _label_of_name(str(name).strip().lower())
        if not str(number).isdecimal() or (int(str(number)) and label is None):
            return None
        if int(str(number)) and label is not None:
            meant[int(str(number))] = label
    return next((coding for coding, mapping in CODINGS.items() if meant == dict(mapping)), None)


def _label_of_name(name: str) -> int | None:
    return _SHORT.get(name, next((label for label, words in _WORDS if any(word in name for word in words)), None))


def _labels_of_regions(regions: Mapping[str, set[str]]) -> dict[int, int]:
    """Value -> label when the nested regions of BraTS are spelt out; empty when they are not."""
    sets: dict[str, set[str]] = {}
    for name, numbers in regions.items():
        for region, word in ((Region.WT, "whole"), (Region.TC, "core"), (Region.ET, "enhanc")):
            if word in name or name == region.lower():
                sets[region] = numbers
                break
    if set(sets) != set(Region) or not sets["ET"] <= sets["TC"] <= sets["WT"] or not "".join(sets["WT"]).isdecimal():
        return {}
    labels = dict.fromkeys(sets["WT"], Label.ED) | dict.fromkeys(sets["TC"], Label.NCR)
    return {int(number): label for number, label in (labels | dict.fromkeys(sets["ET"], Label.ET)).items()}


def _check_values(found: set[int], coding: Coding, name: str) -> None:
    known = set(CODINGS[coding])
    if not found <= known:
        what = f"{name} holds the label values {_listing(found)}, but {coding} knows only {_listing(known)}"
        raise StudyError(f"{what}; give another coding with --coding.")


_LISTED = 8
"""Values that a sentence names; a grey image in the place of labels has hundreds."""


def _listing(values: Iterable[int]) -> str:
    listed = [str(value) for value in sorted(values)]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED + 1 else ""
    return ", ".join(listed[:_LISTED] if more else listed) + more or "none"
