"""The ``dataset.json`` of nnU-Net and of the Medical Segmentation Decathlon: order of channels and names of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import read_json
from napari_uncseg.io.label_coding import coding_of_names
from napari_uncseg.io.naming import modality_of_name
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES, Coding

DATASET_JSON = "dataset.json"


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
