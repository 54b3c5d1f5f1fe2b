"""The JSON beside a prediction: how it came about, and which files belong to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from napari_uncseg.io.files import sha256_of_json
from napari_uncseg.io.json_format import JsonFormat
from napari_uncseg.labels import MODALITY_TITLES, Region

SCHEMA = 1

RESEARCH_USE_ONLY = "Research use only: not a medical device, not for diagnosis or treatment."
"""Stands wherever results stand."""


Fraction = Annotated[float, Field(ge=0, le=1)]


def _within_folder(name: str) -> str:
    if Path(name).name != name or "\\" in name:
        raise ValueError("a file name may not lead out of the folder")
    return name


class ListedFile(BaseModel):
    """A file that the JSON vouches for."""

    file: Annotated[str, AfterValidator(_within_folder)]
    sha256: str


class _Block(BaseModel):
    """A part of a provenance, of which some fields are known."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class _Hashed(_Block):
    name: str | None = None
    file: str | None = None
    sha256: str | None = None


class _Settings(_Block):
    members: int = 1
    method: str = "single"


class _Members(_Block):
    members_done: int | None = None
    members_wanted: int | None = None


class _Reason(_Block):
    code: str
    text: str


class _Preparation(_Block):
    inputs: dict[str, _Hashed] | None = None


class PreparationRecord(JsonFormat):
    """What ``<id>_preparation.json`` says: the fields that a reader of the study relies on."""

    what: ClassVar[str] = "JSON of a preparation"
    do: ClassVar[str] = "prepare the study again"

    needs_review: list[_Reason] | None = None


class _Estimate(_Block):
    value: Fraction
    low: Fraction
    high: Fraction


class Provenance(JsonFormat):
    """What ``<id>_uncseg.json`` says: the fields that the package relies on; all others are kept as they are."""

    what: ClassVar[str] = "JSON of a prediction"
    do: ClassVar[str] = "run the prediction again"

    study: str
    files: dict[str, ListedFile] = Field(min_length=1)
    model: _Hashed | None = None
    inputs: dict[str, _Hashed] | None = None
    settings: _Settings | None = None
    members: _Members | None = None
    command: str | None = None
    volumes_ml: dict[Region, FiniteFloat | None] | None = None
    triage_score: FiniteFloat | None = None
    dice: dict[Region, float | None] | None = None
    expected_dice: dict[Region, _Estimate] | None = None
    needs_review: list[_Reason] | None = None
    warnings: list[str] | None = None
    preparation: _Preparation | None = None


def made_by(provenance: Mapping[str, Any]) -> str:
    """How a result came about, a phrase: members, and the model with the first letters of its hash."""
    model, settings = provenance.get("model") or {}, provenance.get("settings") or {}
    name, sha256 = model.get("name") or "unknown model", (model.get("sha256") or "")[:8]
    return f"{settings.get('method') or 'single'}: {name}" + (f" ({sha256})" if sha256 else "")


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
    model, hashes = _block(provenance, "model").get("sha256"), input_hashes(provenance)
    if not model or not hashes or not all(hashes.values()):
        return ""
    return sha256_of_json(plain({"model": model, "settings": _settings(provenance), "inputs": hashes}))


def input_hashes(provenance: Mapping[str, Any]) -> dict[str, str | None]:
    """Hash of every input that a provenance tells, by its role."""
    inputs = _block(provenance, "inputs")
    return {role: _block(inputs, role).get("sha256") for role in inputs}


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
        Such as ``the model (a there, b here)``, settings by their names; empty when nothing that is known differs.
    """
    found: list[str] = []
    old, new = (_block(content, "model") for content in (there, here))
    if old.get("sha256") != new.get("sha256"):
        same = old.get("name") == new.get("name")
        how = f"{new.get('name')}, with other weights" if same else f"{old.get('name')} there, {new.get('name')} here"
        found.append(f"the model ({how})")
    before, after = input_hashes(there), input_hashes(here)
    old, new = ({"method": "single"} | plain(_settings(content)) for content in (there, here))
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    causes = {*names, *(["model"] if found else []), *({"reference"} & (before.keys() ^ after.keys()))}
    for name in names:
        if _FOLLOWS.get(name) not in causes:
            known = name != "calibration"  # of which the hash is kept, and that says nothing
            found.append(name + f" ({old.get(name)} there, {new.get(name)} here)" * known)
    roles = [role for role in dict.fromkeys((*before, *after)) if before.get(role) != after.get(role)]
    if roles:
        found.append(f"the input files ({', '.join(MODALITY_TITLES.get(role, role) for role in roles)})")
    return found


_FOLLOWS = {"members": "method", "precision": "device", "tile": "model", "coding": "reference"}
"""Settings that differ because another does."""


def _settings(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings as they are compared: of a cascade's steps the first, for older results tell no other."""
    settings = _block(content, "settings")
    steps = settings.get("tile_step")
    return {**settings, "tile_step": steps[0]} if isinstance(steps, list) else settings


def _block(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a JSON; empty when it is not there or not built as ours are."""
    block = content.get(name)
    return block if isinstance(block, Mapping) else {}


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
