"""What a reviewer finds again at the next start: where each study stands, and the list that was worked on last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from platformdirs import user_config_path
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_uncseg.io.files import is_dir, is_file, write_files
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.labels import Region
from napari_uncseg.maps import MapName
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.review.verdicts import Decision
from napari_uncseg.review.watershed import REVIEW_SETS

STATE_NAME = "review.json"
LISTS_NAME = "cases.json"

MOST_STUDIES = 500
"""Studies whose state is remembered, the last ones."""

_MOST_LISTS = 100
_BETWEEN = "|"


def state_folder() -> Path:
    """Folder for what the plugin remembers of a user's reviews."""
    return user_config_path("napari-uncseg", appauthor=False)


@dataclass(frozen=True)
class Draft:
    """A verdict that is being written and not yet given.

    Parameters
    ----------
    decision : Decision, optional
    difficulty : int, optional
    comment : str
    """

    decision: Decision | None = None
    difficulty: int | None = None
    comment: str = ""


def _review_set(voxel_set: VoxelSet) -> VoxelSet:
    return voxel_set if voxel_set in REVIEW_SETS else VoxelSet.ALL


@dataclass(frozen=True)
class ReviewState:
    """Where the review of a study stands.

    Parameters
    ----------
    map : str
        Name of the chosen map, such as ``unc_output`` or ``entropy-et``; empty before one was chosen.
    voxel_set : VoxelSet
        One of :data:`~napari_uncseg.review.watershed.REVIEW_SETS`.
    thresholds : mapping of str to float
        Threshold by the name of a map.
    voxel : tuple of int, optional
        Of the current finding.
    drafts : mapping of str to Draft
        By the fingerprint of the result it speaks of; under an empty one what an earlier version remembered.
    """

    map: str = ""
    voxel_set: Annotated[VoxelSet, AfterValidator(_review_set)] = VoxelSet.ALL
    thresholds: Mapping[str, float] = field(default_factory=dict)
    voxel: tuple[int, int, int] | None = None
    drafts: Mapping[str, Draft] = field(default_factory=dict)

    def draft(self, result: str) -> Draft:
        """Draft of the verdict on a result."""
        return self.drafts.get(result) or self.drafts.get("") or Draft()

    def with_draft(self, result: str, draft: Draft) -> ReviewState:
        """The state with another draft of the verdict on a result; an empty one is not kept."""
        others = {name: each for name, each in self.drafts.items() if name not in ("", result)}
        return replace(self, drafts=others if draft == Draft() else {**others, result: draft})

    @property
    def key(self) -> MapName:
        """The chosen map."""
        return MapName.parse(self.map)

    @property
    def region(self) -> Region:
        """What the chosen map speaks of."""
        return self.key.region


class _StateFile(JsonFormat):
    """Content of :data:`STATE_NAME`."""

    what = "memory of a review"
    do = "the review starts anew"

    schema_: Literal[1] = Field(1, alias="schema")
    reviewer: str
    studies: dict[str, ReviewState]

    @classmethod
    def parse(cls, content: object, where: object) -> Self:
        """Content of a file, of an earlier version too, which wrote a single draft among the fields of a study."""
        if isinstance(content, dict) and isinstance(studies := content.get("studies"), dict):
            old = {id_: state for id_, state in studies.items() if isinstance(state, dict) and "comment" in state}
            drafted = {id_: {**state, "drafts": {"": state}} for id_, state in old.items()}
            content = {**content, "studies": {**studies, **drafted}}
        return super().parse(content, where)


_LISTS = TypeAdapter(dict[str, str])


def read_states(folder: Path) -> tuple[str, dict[str, ReviewState]]:
    """What was remembered.

    Parameters
    ----------
    folder : Path
        Folder of the plugin's memory.

    Returns
    -------
    reviewer : str
        Who reviewed last.
    states : dict of str to ReviewState
        By study; empty when nothing was remembered yet.

    Raises
    ------
    StudyError
        When the file is damaged.
    """
    if not is_file(folder / STATE_NAME):
        return "", {}
    content = _StateFile.read(folder / STATE_NAME)
    return content.reviewer, content.studies


def write_states(folder: Path, reviewer: str, states: Mapping[str, ReviewState]) -> None:
    """Remember; SaveError when the disk cannot take it.

    Parameters
    ----------
    folder : Path
        Folder of the plugin's memory; it is made when missing.
    reviewer : str
    states : mapping of str to ReviewState
        By study, the one looked at last being the last; only so many of them are kept.
    """
    content = _StateFile(schema=1, reviewer=reviewer, studies=dict(list(states.items())[-MOST_STUDIES:]))
    write_files({folder / STATE_NAME: content.model_dump_json(indent=1, by_alias=True).encode()})


def remember_case(folder: Path, results: Path | None, studies: Path | None, study_id: str) -> None:
    """Write down which study of a list was looked at last, for :func:`recall_case`.

    Parameters
    ----------
    folder : Path
        Folder of the plugin's memory.
    results, studies : Path, optional
        The list's folders.
    study_id : str

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    lists, name = _read_lists(folder), _name_of(results, studies)
    lists.pop(name, None)
    kept = [*lists.items(), (name, study_id)][-_MOST_LISTS:]
    write_files({folder / LISTS_NAME: json.dumps(dict(kept), indent=1).encode()})


def recall_case(folder: Path, results: Path | None, studies: Path | None) -> str:
    """Study at which the review of a list stopped; empty when nobody has begun."""
    return _read_lists(folder).get(_name_of(results, studies), "")


def last_folders(folder: Path) -> tuple[Path | None, Path | None]:
    """Folders of results and of studies of the list that was worked on last, as far as they are still there."""
    names = list(_read_lists(folder))[-1:] or [""]
    results, _, studies = names[0].partition(_BETWEEN)
    return _still_there(results), _still_there(studies)


def _still_there(name: str) -> Path | None:
    return Path(name) if name and is_dir(Path(name), None) else None


def _read_lists(folder: Path) -> dict[str, str]:
    """Study by the name of a list; what is damaged is forgotten, for nothing but a place in a list is lost."""
    try:
        return _LISTS.validate_json((folder / LISTS_NAME).read_bytes())
    except (OSError, ValidationError):
        return {}


def _name_of(results: Path | None, studies: Path | None) -> str:
    folders = (str(folder.expanduser().absolute()) if folder is not None else "" for folder in (results, studies))
    return _BETWEEN.join(folders)
