"""The JSON beside a prediction: how it came about, and which files belong to it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_uncseg.errors import StudyError, reason_of
from napari_uncseg.labels import MODALITY_TITLES

SCHEMA = 1

JSON_SUFFIX = "_uncseg.json"
"""What follows the study's id in the name of the JSON; a folder with such a file is a result."""

RESEARCH_USE_ONLY = "Research use only: not a medical device, not for diagnosis or treatment."
"""Stands wherever results stand."""


def fingerprint(provenance: Mapping[str, Any]) -> str:
    """Hash of all that decides a result: model, settings and the bytes of the inputs.

    Parameters
    ----------
    provenance : mapping
        As a :class:`Prediction` carries it.

    Returns
    -------
    str
        sha256 in hexadecimal, or an empty string when model or inputs are not known by their hash; such a result equals
        no other.
    """
    model = provenance.get("model") or {}
    inputs = provenance.get("inputs") or {}
    hashes = {role: source.get("sha256") for role, source in inputs.items()}
    if not model.get("sha256") or not hashes or not all(hashes.values()):
        return ""
    decisive = {"model": model["sha256"], "settings": provenance.get("settings") or {}, "inputs": hashes}
    text = json.dumps(plain(decisive), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Content of a prediction's JSON; StudyError when it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{path} cannot be read as JSON ({reason_of(error)}); run the prediction again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("study"), str):
        raise StudyError(f"{path} is not the JSON of a prediction; run the prediction again.")
    if content.get("schema") != SCHEMA:
        raise StudyError(
            f"{path} has the schema {content.get('schema')}; this version reads {SCHEMA}: update napari-uncseg."
        )
    return content


def listed_files(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name of a map -> (file name, hash); a name may not lead out of the folder."""
    files = content.get("files")
    result: dict[str, tuple[str, str]] = {}
    for what, entry in files.items() if isinstance(files, dict) else ():
        name, sha256 = (entry.get("file"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(sha256, str) or Path(name).name != name or "\\" in name:
            raise StudyError(f"{path} has a damaged list of files; run the prediction again.")
        result[str(what)] = (name, sha256)
    if not result:
        raise StudyError(f"{path} lists no files; run the prediction again.")
    return result


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """Fingerprint of a foreign JSON; empty when it is not built as ours are."""
    try:
        return fingerprint(content)
    except (AttributeError, TypeError, KeyError):
        return ""


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What decides a result and is not the same in two of them.

    Parameters
    ----------
    there : mapping
        JSON of the result that stands.
    here : mapping
        What the other will say of itself.

    Returns
    -------
    list of str
        Words such as ``the model (a there, b here)``; empty when nothing that is known differs.
    """
    found: list[str] = []
    old, new = (_block(content, "model") for content in (there, here))
    if old.get("sha256") != new.get("sha256"):
        same = old.get("name") == new.get("name")
        how = f"{new.get('name')}, with other weights" if same else f"{old.get('name')} there, {new.get('name')} here"
        found.append(f"the model ({how})")
    inputs = (_block(content, "inputs") for content in (there, here))
    before, after = ({role: _block(block, role).get("sha256") for role in block} for block in inputs)
    old, new = (_block(content, "settings") for content in (there, here))
    names = [name for name in dict.fromkeys((*old, *new)) if plain(old.get(name)) != plain(new.get(name))]
    causes = {*names, *(["model"] if found else []), *({"reference"} & (before.keys() ^ after.keys()))}
    for name in names:
        if _FOLLOWS.get(name) in causes:
            continue
        word = _SETTINGS.get(name, str(name))
        known = name != "calibration"  # of which the hash is kept, and that says nothing
        found.append(f"{word} ({_words(name, old)} there, {_words(name, new)} here)" if known else word)
    roles = [role for role in dict.fromkeys((*before, *after)) if before.get(role) != after.get(role)]
    if roles:
        found.append(f"the input files ({', '.join(MODALITY_TITLES.get(role, role) for role in roles)})")
    return found


_SETTINGS = {
    "members": "the number of members",
    "method": "the members",
    "maps": "the maps",
    "calibration": "the calibration",
    "coding": "the coding",
    "device": "the device",
    "precision": "the precision",
    "resampled": "resampling",
}
"""Names of settings in a JSON -> what they are called; others are told by their own."""

_FOLLOWS = {"members": "method", "precision": "device", "tile": "model", "coding": "reference"}
"""Settings that differ because another does."""

_UNSAID = {"method": "single", "maps": "the usual ones"}
"""What a setting is when a JSON says nothing of it."""


def _block(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a JSON; empty when it is not there or not built as ours are."""
    block = content.get(name)
    return block if isinstance(block, Mapping) else {}


def _words(name: str, settings: Mapping[str, Any]) -> str:
    value = settings.get(name)
    if value is None:
        return _UNSAID.get(name, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def plain(value: Any) -> Any:
    """JSON values only: numbers of NumPy become plain, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
