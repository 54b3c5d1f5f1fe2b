"""MONAI's checkpoints as models: bundles, and plain weights with a description of their network.

The channels of images and answers are put in this package's order once, in the weights of the first and last layers,
and the model that comes out runs like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_uncseg.errors import ModelError
from napari_uncseg.io.files import is_dir, is_file, parse_json, sha256_of
from napari_uncseg.labels import MODALITIES, REGIONS, Label
from napari_uncseg.models.heads import Head
from napari_uncseg.models.importers import monai_bundle
from napari_uncseg.models.importers.checkpoint import plain_weights, read_checkpoint
from napari_uncseg.models.model import Model, make_plans, put_weights
from napari_uncseg.models.monai import KNOWN, PREFIX, build_monai, monai_divisors

TILE = (128, 128, 128)
"""Voxels of a tile where nobody says."""

_NEEDED: Mapping[str, str] = {
    "network": "how its network is built; say it with --arch",
    "inputs": "which modality each input channel is; say it with --inputs, such as t1c,t1n,t2w,t2f",
    "outputs": "what each output channel is; say it with --outputs, such as tc,wt,et",
}

_OURS = ("spatial_dims", "in_channels", "out_channels", "img_size", "use_checkpoint")
"""Arguments of a definition that are not handed on: they follow from elsewhere, or change nothing of the answer."""


def import_monai(
    source: str | Path,
    *,
    arch: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    tile: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
    name: str | None = None,
) -> Model:
    """Make a model of a MONAI bundle, or of a file of weights.

    Parameters
    ----------
    source : path
        Folder of a bundle (``configs/inference.json`` or ``.yaml``, ``configs/metadata.json``, ``models/model.pt``), or
        a ``.pt`` or ``.pth`` file that holds a state dictionary.
    arch : str, optional
        Of a file: the name of a public bundle that it is of, or a JSON or YAML file with the network's definition as
        bundles have it (``_target_`` and arguments), or this definition itself as JSON.
    inputs : sequence of str, optional
        Modality of each input channel.
    outputs : sequence of str, optional
        What each output channel is: WT, TC and ET in any order, or background, NCR, ED and ET.
    tile : sequence of int, optional
        Voxels of a tile, rounded up to what the network can halve; by default the bundle's, else :data:`TILE`.
    spacing : sequence of float, optional
        Voxel size in mm it was trained with; by default the bundle's, else 1 mm.
    orientation : str, optional
        Axis codes of the images it was trained on; by default the bundle's, else studies are taken as they lie.
    name : str, optional
        What to call the model.

    Returns
    -------
    Model
        Not saved yet.

    Raises
    ------
    ModelError
        When a file is missing, damaged or holds anything that would have to be executed, when something needed is not
        said, when MONAI is not installed, or when the network segments something else than a glioma.
    """
    source = Path(source)
    if is_dir(source, ModelError):
        if arch is not None:
            raise ModelError(f"{source} is a bundle, which describes its network itself; leave --arch out.")
        said, path = monai_bundle.read_bundle(source), _weights_file(source)
    else:
        said, path = _described(arch, source), source
    given = {"inputs": inputs, "outputs": outputs, "tile": tile, "spacing": spacing, "orientation": orientation}
    said |= {key: value for key, value in given.items() if value is not None}
    for key, what in _NEEDED.items():
        if key not in said:
            raise ModelError(f"{source} does not tell {what}.")
    kind, kwargs = _network(said["network"], source)
    channels = _order(said["inputs"], MODALITIES, source)
    head, rows = _head(said["outputs"], source)
    for key, count in (("in_channels", len(channels)), ("out_channels", len(rows))):
        if said["network"].get(key, count) != count:
            raise ModelError(f"The network in {source} has {said['network'][key]} {key}, not {count}.")
    network = build_monai(kind, kwargs, len(channels), len(rows))
    weights = plain_weights(_weights(read_checkpoint(path), path), path)
    turned = {key: _turned(kind, key, value, channels, rows) for key, value in weights.items()}
    put_weights(network, turned, path, f"MONAI's {kind} as it is described")
    sides = zip(said.get("tile", TILE), monai_divisors(kind, kwargs), strict=True)
    configuration = {
        "patch_size": [-(-int(side) // unit) * unit for side, unit in sides],
        "spacing": [float(size) for size in said.get("spacing", (1.0, 1.0, 1.0))],
        "batch_size": 1,
        "normalization_schemes": ["ZScoreNormalization"] * len(MODALITIES),
        "use_mask_for_norm": [True] * len(MODALITIES),
        "architecture": {"network_class_name": PREFIX + kind, "arch_kwargs": kwargs},
    }
    uncseg = {"head": str(head), "uncertainty_channels": 0, "orientation": said.get("orientation")}
    plans = make_plans(configuration, dataset_name="MONAI", plans_name="uncseg", uncseg=uncseg)
    own, bundle = source.resolve().name, path != source
    return Model(
        network.eval(),
        plans,
        provenance={
            "trained_by": f"MONAI, {kind}",
            "imported_from": f"{own}/{path.relative_to(source).as_posix()}" if bundle else own,
            "bundle_version": said.get("version", "none"),
            "checkpoint_sha256": sha256_of(path, ModelError),
            "input_channels": list(said["inputs"]),
            "output_channels": list(said["outputs"]),
        },
        name=name or (own if bundle else source.stem),
    )


def _described(arch: str | None, source: Path) -> dict[str, Any]:
    """What is said of the network of a file of weights."""
    if not is_file(source, ModelError):
        raise ModelError(f"{source} is not there; give the folder of a MONAI bundle, or a .pt or .pth file.")
    if arch is None:
        return {}
    if (known := monai_bundle.known_as(arch)) is not None:
        return dict(known)
    path = Path(arch)
    if arch.lstrip().startswith("{"):
        path = Path("The definition of the network")
        config = parse_json(arch.encode(), path, ModelError, "put it into a file")
    elif is_file(path, ModelError):
        config = monai_bundle.read_mapping(path)
    else:
        example = '{"_target_": "SegResNet", "init_filters": 16}'
        known_ones = ", ".join(KNOWN["bundles"])
        raise ModelError(f"{arch} is neither a file nor a known bundle ({known_ones}); write a file as {example}.")
    network = monai_bundle.find_network(config, path)
    return {} if network is None else {"network": network}


def _weights_file(folder: Path) -> Path:
    for name in monai_bundle.WEIGHTS:
        if is_file(folder / name, ModelError):
            return folder / name
    raise ModelError(f"{folder} lacks {monai_bundle.WEIGHTS[0]}; download it too (python -m monai.bundle download).")


def _weights(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """State dictionary in a checkpoint, which may be all of it."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    for key in ("model", "network", "net", "state_dict", "model_state_dict", "network_weights"):
        if isinstance(found := content.get(key), dict):
            return found
    raise ModelError(f"{path} holds no weights by name; save the network's state_dict() with torch.save.")


def _network(definition: Mapping[str, Any], source: Path) -> tuple[str, dict[str, Any]]:
    """Class and arguments."""
    kind = str(definition.get("_target_", "")).rsplit(".", 1)[-1]
    if definition.get("spatial_dims", 3) != 3:
        raise ModelError(f"The network in {source} works in {definition['spatial_dims']} dimensions, not 3.")
    kwargs = {key: value for key, value in definition.items() if key not in _OURS and not key.startswith("_")}
    return kind, kwargs


def _order(names: Sequence[str], wanted: Sequence[str], source: Path) -> list[int]:
    """The channel behind each wanted one."""
    if sorted(names) != sorted(wanted):
        raise ModelError(f"{source} has the channels {', '.join(names)}; expected {', '.join(wanted)} in any order.")
    return [list(names).index(name) for name in wanted]


def _head(names: Sequence[str], source: Path) -> tuple[Head, list[int]]:
    """What the output channels mean, and the channel behind each of the head's."""
    if "background" in names:
        return Head.LABELS4, _order(names, ("background", *(label.name for label in Label)), source)
    return Head.REGIONS, _order(names, [str(region) for region in REGIONS], source)


def _turned(kind: str, key: str, value: Tensor, channels: Sequence[int], rows: Sequence[int]) -> Tensor:
    """A weight with modalities and answers in the order used here."""
    known = KNOWN["networks"][kind]
    if re.fullmatch(known["first"], key) and value.ndim == 5 and value.shape[1] == len(channels):
        value = value[:, list(channels)]
    for pattern, axes in known["last"].items():
        if re.fullmatch(pattern, key):
            for axis in axes:
                if value.ndim > axis and value.shape[axis] == len(rows):
                    value = value.index_select(axis, torch.tensor(rows))
    return value.contiguous()
