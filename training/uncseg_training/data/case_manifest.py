"""What the maps of all cases of a training have in common, as ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """What is known of a case.

    Parameters
    ----------
    shape : tuple of int
        Of its preprocessed volume, ``(x, y, z)``.
    visits : int
        How often its maps were updated, anywhere in the volume.
    epoch : int, optional
        Of the last update; None when it was never visited.
    """

    shape: tuple[int, int, int]
    visits: int = 0
    epoch: int | None = None

    @classmethod
    def of_shape(cls, shape: Sequence[int]) -> Entry:
        """A case that was never visited."""
        x, y, z = (int(size) for size in shape)
        return cls((x, y, z))


@dataclass(frozen=True)
class Manifest:
    """Content of the file.

    Parameters
    ----------
    fields : tuple of str
        Names of the maps of a case.
    settings : mapping
        JSON values that decide what the maps mean; ``preprocessing`` is one of them.
    cases : mapping of str to Entry
        All cases, visited or not.
    notes : mapping
        JSON values for the reader (fold, version of the code); kept and never compared.
    """

    fields: tuple[str, ...]
    settings: Mapping[str, Any]
    cases: Mapping[str, Entry]
    notes: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """Hash of fields and settings, which every case file carries as well."""
        return preprocessing_hash({"format": FORMAT, "fields": self.fields, "settings": dict(self.settings)})

    def to_bytes(self) -> bytes:
        """The file: besides the parameters, the last epoch and the number of updates of all cases."""
        epochs = [entry.epoch for entry in self.cases.values() if entry.epoch is not None]
        content = {
            "format": FORMAT,
            "fields": self.fields,
            "settings": dict(self.settings),
            "epoch": max(epochs, default=None),
            "visits": sum(entry.visits for entry in self.cases.values()),
            "notes": dict(self.notes),
            "cases": {
                case: {"shape": entry.shape, "visits": entry.visits, "epoch": entry.epoch}
                for case, entry in sorted(self.cases.items())
            },
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises
        ------
        ValueError
            When it is missing, damaged or of another format.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ValueError(f"{folder} holds no maps: {MANIFEST} is missing; begin them anew in another folder.")
        try:
            content = json.loads(path.read_text())
            written = content["format"]
            cases = {
                case: Entry(Entry.of_shape(entry["shape"]).shape, int(entry["visits"]), entry["epoch"])
                for case, entry in content["cases"].items()
            }
            manifest = cls(tuple(content["fields"]), dict(content["settings"]), cases, dict(content["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}); begin the maps anew in another folder.") from error
        if written != FORMAT:
            raise ValueError(f"{path} has format {written} and this version reads {FORMAT}; take another folder.")
        return manifest

    def require(self, folder: Path, fields: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Refuse to go on with maps that mean something else.

        Raises
        ------
        ValueError
            When fields or settings differ; the preprocessing is named first, because maps of another grid would be
            misplaced without any sign of it.
        """
        # As JSON has them, where a tuple is a list.
        asked: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        known = dict(self.settings)
        if known.pop("preprocessing", None) != asked.pop("preprocessing", None):
            raise ValueError(
                f"{folder} was made of volumes preprocessed in another way, where a voxel is another place; preprocess "
                "as before or take another folder."
            )
        asked["fields"], known["fields"] = list(fields), list(self.fields)
        for key in sorted(set(asked) | set(known)):
            if asked.get(key) != known.get(key):
                raise ValueError(
                    f"{folder} was made with {key} = {known.get(key)}, not {asked.get(key)}; take another folder."
                )


def preprocessing_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, whatever their order: what two preprocessings must share for their voxels to be the same.

    Parameters
    ----------
    settings : mapping
        Spacing, crop, orientation, plans: all that decides which voxel of a volume is which place in the head.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
