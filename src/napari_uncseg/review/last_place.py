"""Where a reviewer stopped in a list of studies."""

from __future__ import annotations

import json
from pathlib import Path

from napari_uncseg.io.files import write_files

STOPS_NAME = "cases.json"
_BETWEEN = "|"
_MOST_STOPS = 100
"""Lists whose place is remembered, the last ones."""


def remember_stop(state: Path, results: Path | None, studies: Path | None, study_id: str) -> None:
    """Write down which study of a list was looked at last, for :func:`recall_stop`.

    Parameters
    ----------
    state : Path
        Folder of the plugin's memory.
    results, studies : Path, optional
        The list's folders.
    study_id : str

    Raises
    ------
    SaveError
        When the disk cannot take it.
    """
    stops = _read_stops(state)
    stops.pop(_name_of(results, studies), None)
    stops[_name_of(results, studies)] = study_id
    kept = dict(list(stops.items())[-_MOST_STOPS:])
    write_files({state / STOPS_NAME: json.dumps(kept, indent=1).encode()})


def recall_stop(state: Path, results: Path | None, studies: Path | None) -> str:
    """Study at which the review of a list stopped; empty when nobody has begun."""
    return _read_stops(state).get(_name_of(results, studies), "")


def last_folders(state: Path) -> tuple[Path | None, Path | None]:
    """Folders of results and of studies of the list that was worked on last, as far as they are still there."""
    names = list(_read_stops(state))[-1:] or [""]
    results, _, studies = names[0].partition(_BETWEEN)
    return _still_there(results), _still_there(studies)


def _still_there(name: str) -> Path | None:
    return Path(name) if name and Path(name).is_dir() else None


def _read_stops(state: Path) -> dict[str, str]:
    """Study by the name of a list; what is damaged is forgotten, for nothing but a place in a list is lost."""
    try:
        content = json.loads((state / STOPS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    stops = content.items() if isinstance(content, dict) else ()
    return {name: study for name, study in stops if isinstance(study, str)}


def _name_of(results: Path | None, studies: Path | None) -> str:
    return _BETWEEN.join(
        str(folder.expanduser().absolute()) if folder is not None else "" for folder in (results, studies)
    )
