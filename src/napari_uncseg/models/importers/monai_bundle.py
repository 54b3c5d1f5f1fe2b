"""What MONAI bundles say of their networks, read as data: expressions in their configurations are never evaluated.

References
----------
MONAI bundle specification (docs.monai.io, "MONAI Bundle"); ``brats_mri_segmentation`` of the MONAI model zoo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from napari_uncseg.errors import ModelError
from napari_uncseg.io.files import is_file, read_json, read_text
from napari_uncseg.io.naming import modality_of_name
from napari_uncseg.models.monai import KNOWN

CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
METADATA = "configs/metadata.json"
WEIGHTS = ("models/model.pt", "models/model.pth")


def find_bundle_config(folder: Path) -> Path | None:
    """The inference configuration of a bundle, or None where a folder is no bundle."""
    return next((folder / name for name in CONFIGS if is_file(folder / name, ModelError)), None)


def read_bundle(folder: Path) -> dict[str, Any]:
    """What a bundle says of its network.

    Parameters
    ----------
    folder : Path
        Holds ``configs/`` and ``models/``.

    Returns
    -------
    dict
        As far as it is said: ``network`` (class and arguments), ``inputs`` and ``outputs`` (what each channel is),
        ``tile`` in voxels, ``spacing`` in mm, ``orientation``; and ``version``.

    Raises
    ------
    ModelError
        When a file is absent or damaged, or the images are prepared otherwise than a model here does.
    """
    path = find_bundle_config(folder)
    if path is None:
        raise ModelError(f"{folder} is no MONAI bundle: it lacks {CONFIGS[0]}; give the bundle's folder.")
    config = read_mapping(path)
    metadata = read_mapping(folder / METADATA) if is_file(folder / METADATA, ModelError) else {}
    known = known_as(folder.resolve().name) or known_as(str(metadata.get("name", "")))
    said: dict[str, Any] = {**(known or {}), **_prepared(config, path)}
    said |= {"network": network} if (network := find_network(config, path)) is not None else {}
    roi = _resolved(config, config.get("inferer"), path, ("roi_size",)).get("roi_size")
    if roi is not None:
        said["tile"] = _three(roi, "roi_size", path)
    channels = metadata.get("network_data_format", {})
    for kind, read in (("inputs", modality_of_name), ("outputs", meaning_of_name)):
        for name in (names := _channel_names(channels.get(kind))):
            if read(name) is None:
                raise ModelError(f"{folder / METADATA} has a channel {name!r}, which is no modality, region or label.")
        said |= {kind: tuple(str(read(name)) for name in names)} if names else {}
    return said | {"version": str(metadata.get("version", "unknown"))}


def known_as(name: str) -> Mapping[str, Any] | None:
    """What is known of a public bundle by its name, or None."""
    found: Mapping[str, Any] | None = KNOWN["bundles"].get(re.sub(r"[^a-z0-9]+", "_", name.strip().lower()))
    return found


def meaning_of_name(name: str) -> str | None:
    """Region (WT, TC, ET) or label (background, NCR, ED, ET) that an output channel is called by, or None."""
    plain = " ".join(re.findall(r"[a-z0-9]+", name.lower()))
    return next((meaning for meaning, pattern in KNOWN["channels"].items() if re.fullmatch(pattern, plain)), None)


def find_network(config: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """The definition of the network in a configuration, with ``_target_`` and plain arguments, or None.

    Raises
    ------
    ModelError
        When an argument is an expression.
    """
    blocks = (config, *(config.get(key) for key in ("network_def", "network", "net", "model")))
    found = next((block for block in blocks if isinstance(block, Mapping) and "_target_" in block), None)
    return None if found is None else _resolved(config, found, path)


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON or YAML file as plain values.

    Raises
    ------
    ModelError
        When it cannot be read.
    """
    if path.suffix == ".json":
        return read_json(path, ModelError, "copy it again")
    text = read_text(path, ModelError)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}); copy it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold names and values; copy it again.")
    return content


def _prepared(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Spacing and orientation that images are brought to, once it is sure that they are normalised as here."""
    block = config.get("preprocessing")
    steps = block.get("transforms", []) if isinstance(block, dict) else []
    found: dict[str, Any] = {}
    normalised = False
    for step in (step for step in steps if isinstance(step, dict)):
        name = str(step.get("_target_", "")).rsplit(".", 1)[-1]
        if name == "NormalizeIntensityd":
            normalised = step.get("nonzero") is True and step.get("channel_wise") is True
        elif name == "Spacingd":
            found["spacing"] = _three(_resolved(config, step, path, ("pixdim",)).get("pixdim"), "pixdim", path, float)
        elif name == "Orientationd":
            found["orientation"] = str(step.get("axcodes"))
        elif "Intensity" in name or "Histogram" in name:
            raise ModelError(f"{path} prepares images with {name}, which is not done here; only z-scores are.")
    if not normalised:
        raise ModelError(f"{path} does not normalise with NormalizeIntensityd, nonzero and channel_wise, as done here.")
    return found


def _resolved(
    config: Mapping[str, Any], block: object, path: Path, keys: Sequence[str] | None = None
) -> dict[str, Any]:
    """A block (some of its keys) with the values that it refers to as ``@name`` put in."""

    def value_of(value: object, depth: int = 0) -> object:
        if isinstance(value, dict):
            return {key: value_of(item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [value_of(item, depth) for item in value]
        if isinstance(value, str) and value.startswith("$"):
            raise ModelError(f"{path} computes a value ({value}), which is never executed; write its value in a copy.")
        if isinstance(value, str) and value.startswith("@"):
            target: object = config
            for part in re.split(r"::|#", value[1:]):
                target = target.get(part) if isinstance(target, dict) else None
            if target is None or depth > 8:
                raise ModelError(f"{path} refers to {value}, which is not there; write the value itself in a copy.")
            return value_of(target, depth + 1)
        return value

    if not isinstance(block, dict):
        return {}
    return {key: value_of(value) for key, value in block.items() if keys is None or key in keys}


def _channel_names(block: object) -> list[str]:
    """Names of the channels of the first input or output, in their order."""
    first = next(iter(block.values()), None) if isinstance(block, dict) else None
    names = first.get("channel_def") if isinstance(first, dict) else None
    found = names if isinstance(names, dict) else {}
    return [str(found[key]) for key in sorted(found, key=lambda key: int(key) if str(key).isdigit() else 0)]


def _three(values: object, name: str, path: Path, kind: type = int) -> tuple[Any, ...]:
    try:
        numbers = tuple(kind(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or min(numbers) <= 0:
        raise ModelError(f"{path} has the {name} {values}; expected three positive numbers.")
    return numbers
