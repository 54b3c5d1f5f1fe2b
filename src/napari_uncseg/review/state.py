"""Where the reviews of studies stand, as it is remembered between two starts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_uncseg.errors import StudyError
from napari_uncseg.evaluation.voxel_sets import VoxelSet
from napari_uncseg.io.files import write_files
from napari_uncseg.labels import Region
from napari_uncseg.maps import MapName
from napari_uncseg.review.verdicts import Decision
from napari_uncseg.review.watershed import REVIEW_SETS

STATE_NAME = "review.json"
SCHEMA = 1

MOST_STUDIES = 500
"""Studies whose place is remembered, the last ones."""


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


@dataclass(frozen=True)
class Place:
    """Where a review of a study stands.

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
    voxel_set: VoxelSet = VoxelSet.ALL
    thresholds: Mapping[str, float] = field(default_factory=dict)
    voxel: tuple[int, int, int] | None = None
    drafts: Mapping[str, Draft] = field(default_factory=dict)

    def draft(self, result: str) -> Draft:
        """Draft of the verdict on a result."""
        return self.drafts.get(result) or self.drafts.get("") or Draft()

    def with_draft(self, result: str, draft: Draft) -> Place:
        """The place with another draft of the verdict on a result; an empty one is not kept."""
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


def read_places(folder: Path) -> tuple[str, dict[str, Place]]:
    """What was remembered.

    Parameters
    ----------
    folder : Path
        Folder of the plugin's memory.

    Returns
    -------
    reviewer : str
        Who reviewed last.
    places : dict of str to Place
        By study; empty when nothing was remembered yet.

    Raises
    ------
    StudyError
        When the file is damaged.
    """
    path = folder / STATE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        return str(content["reviewer"]), {str(study): _place(each) for study, each in content["studies"].items()}
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StudyError(f"{path} could not be read ({_first_line(error)}); the review starts anew.") from error


def write_places(folder: Path, reviewer: str, places: Mapping[str, Place]) -> None:
    """Remember; SaveError when the disk cannot take it.

    Parameters
    ----------
    folder : Path
        Folder of the plugin's memory; it is made when missing.
    reviewer : str
    places : mapping of str to Place
        By study, the one looked at last being the last; only so many of them are kept.
    """
    last = dict(list(places.items())[-MOST_STUDIES:])
    content = {
        "schema": SCHEMA,
        "reviewer": reviewer,
        "studies": {study: asdict(place) for study, place in last.items()},
    }
    write_files({folder / STATE_NAME: json.dumps(content, indent=1).encode()})


def _place(content: Mapping[str, Any]) -> Place:
    """A remembered place; ValueError, TypeError or KeyError when it is none."""
    voxel_set = VoxelSet(content["voxel_set"])
    voxel = content["voxel"]
    x, y, z = voxel if voxel is not None else (0, 0, 0)
    drafts = content.get("drafts", {"": content})
    return Place(
        map=str(content["map"]),
        voxel_set=voxel_set if voxel_set in REVIEW_SETS else VoxelSet.ALL,
        thresholds={str(name): float(value) for name, value in content["thresholds"].items()},
        voxel=(int(x), int(y), int(z)) if voxel is not None else None,
        drafts={str(result): _draft(each) for result, each in drafts.items()},
    )


def _draft(content: Mapping[str, Any]) -> Draft:
    decision, difficulty = content["decision"], content["difficulty"]
    return Draft(
        Decision(decision) if decision is not None else None,
        int(difficulty) if difficulty is not None else None,
        str(content["comment"]),
    )


def _first_line(error: Exception) -> str:
    return re.split(r"[\r\n]", str(error) or type(error).__name__)[0]
