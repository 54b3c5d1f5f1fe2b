"""The model folder: weights, plans, data set description and provenance, each file held by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.io.files import entries, is_dir, is_file, parse_json, read_bytes, sha256, sha256_of, write_files
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.models.heads import Head
from napari_uncseg.models.identity import (
    DATASET,
    FORMAT,
    MEND,
    PLANS,
    PREVIOUS_PROVENANCE,
    PREVIOUS_STAGE,
    PROVENANCE,
    SNAPSHOT,
    WEIGHTS,
    bundled_model_folder,
    model_sha256,
    read_provenance,
    snapshot_names,
)
from napari_uncseg.models.unet import build_network

CONFIGURATION = "3d_fullres"

DATASET_JSON: Mapping[str, Any] = {
    "channel_names": {str(index): name for index, name in enumerate(MODALITIES)},
    "labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]},
    "regions_class_order": [2, 1, 3],
    "file_ending": ".nii.gz",
}
"""nnU-Net's ``dataset.json`` of the BraTS 2023 coding; the order of the labels matters."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network with all that is needed to run it.

    Parameters
    ----------
    network : nn.Module
        Maps ``(batch, 4, x, y, z)``, of a cascade ``(batch, 7, x, y, z)``, to logits, see
        :mod:`napari_uncseg.models.heads`.
    plans : dict
        nnU-Net v2 plans, or the same for a network of MONAI; the block ``uncseg`` holds ``head``,
        ``uncertainty_channels`` and ``orientation``.
    dataset : dict
        nnU-Net's ``dataset.json``.
    provenance : dict
        How the weights came to be.
    name : str
        What to call the model.
    sha256 : str
        Hash over weights, plans, data set description and snapshots; empty for a model never saved.
    folder : Path, optional
        Where it was read from.
    previous_stage : Model, optional
        Of a cascade: what runs on the whole brain first. The network then sees its probabilities of WT, TC and ET
        beside the four images, and only where that stage found something (nnU-Net's ``3d_lowres`` and
        ``3d_cascade_fullres``).
    """

    network: nn.Module
    plans: dict[str, Any]
    dataset: dict[str, Any] = field(default_factory=lambda: dict(DATASET_JSON))
    provenance: dict[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    sha256: str = ""
    folder: Path | None = None
    previous_stage: Model | None = None

    @property
    def configuration(self) -> dict[str, Any]:
        """Patch size, spacing, normalisation and architecture."""
        return cast(dict[str, Any], self.plans["configurations"][CONFIGURATION])

    @property
    def head(self) -> Head:
        """Meaning of the segmentation channels."""
        return Head(self.plans.get("uncseg", {}).get("head", Head.REGIONS))

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """Tile in voxels."""
        x, y, z = (int(size) for size in self.configuration["patch_size"])
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size the network works at, in millimetres."""
        x, y, z = (float(size) for size in self.configuration["spacing"])
        return x, y, z

    @property
    def orientation(self) -> str | None:
        """Axis codes the network was trained in, or None when it takes the study as it lies."""
        return cast("str | None", self.plans.get("uncseg", {}).get("orientation"))

    @property
    def has_uncertainty(self) -> bool:
        """Whether the network has an uncertainty channel, or one for each region."""
        return int(self.plans.get("uncseg", {}).get("uncertainty_channels", 0)) > 0

    @property
    def snapshots(self) -> int:
        """How many networks of its run the model holds: 1, or more when earlier snapshots were kept."""
        return 1 + len(snapshot_names(self.provenance))


def input_channels(plans: Mapping[str, Any]) -> int:
    """Number of input channels: the modalities, and in a cascade the probabilities of the previous stage."""
    return len(MODALITIES) + len(REGIONS) * bool(plans.get("uncseg", {}).get("previous_stage"))


def output_channels(plans: Mapping[str, Any]) -> int:
    """Number of output channels that plans ask for, uncertainty channels included.

    Raises
    ------
    ModelError
        When the head is not known, or cannot have so many uncertainty channels.
    """
    block = plans.get("uncseg", {})
    try:
        head, extra = Head(block.get("head", Head.REGIONS)), int(block.get("uncertainty_channels", 0))
    except ValueError as error:
        raise ModelError(f"The model's plans.json names an unknown head ({error}).") from error
    if extra not in head.uncertainties:
        raise ModelError(
            f"The model's plans.json asks for {extra} uncertainty channels, too many or too few for {head}."
        )
    return head.channels + extra


def load_model(folder: str | Path | None = None) -> Model:
    """Read a model folder.

    Parameters
    ----------
    folder : path, optional
        A folder written by :func:`save_model`; the bundled model when left out.

    Raises
    ------
    ModelError
        When a file is missing, changed, foreign or does not fit the plans. Nothing in the folder is ever executed.
    """
    folder = bundled_model_folder() if folder is None else Path(folder)
    if not is_dir(folder, ModelError):
        raise ModelError(
            f"{folder} is not a model folder; give the folder that holds {WEIGHTS}, {PLANS} and {PROVENANCE}."
        )
    missing = [name for name in (WEIGHTS, PLANS, DATASET, PROVENANCE) if not is_file(folder / name, ModelError)]
    if missing:
        foreign = [
            path.name for path in entries(folder, ModelError) if path.suffix in {".pth", ".pt", ".pkl", ".ckpt", ".bin"}
        ]
        hint = (
            f"{foreign[0]} is a pickled checkpoint, which is never executed"
            if foreign
            else "it was not written by napari-uncseg, or not completely"
        )
        raise ModelError(f"Model folder {folder} lacks {', '.join(missing)}: {hint}.")
    provenance = read_provenance(folder)
    contents = {name: read_bytes(folder / name, ModelError) for name in (WEIGHTS, PLANS, DATASET)}
    _refuse_pickle(folder / WEIGHTS, contents[WEIGHTS])
    for name, found in _hashes(contents).items():
        _check_hash(folder / name, found, provenance)
    plans, dataset = (parse_json(contents[name], folder / name, ModelError, MEND) for name in (PLANS, DATASET))
    network = build_network(plans, input_channels(plans), output_channels(plans))
    _load_weights(network, folder / WEIGHTS, contents[WEIGHTS])
    network.eval()
    return Model(
        network=network,
        plans=plans,
        dataset=dataset,
        provenance=provenance,
        name=str(provenance.get("name", folder.name)),
        sha256=model_sha256(provenance["files"]),
        folder=folder,
        previous_stage=_load_previous_stage(folder, plans, provenance),
    )


def _load_previous_stage(folder: Path, plans: Mapping[str, Any], provenance: Mapping[str, Any]) -> Model | None:
    """The model that runs before a cascade's own network, held by the hash of its provenance."""
    if not plans.get("uncseg", {}).get("previous_stage"):
        return None
    path = folder / PREVIOUS_PROVENANCE
    found = sha256_of(path, ModelError)
    if provenance["files"].get(PREVIOUS_PROVENANCE) != found:
        raise ModelError(f"{path} is not that of the stage the model was saved with; copy the model folder again.")
    return load_model(folder / PREVIOUS_STAGE)


def load_snapshot(model: Model, number: int) -> Model:
    """Read another network of the same run.

    Parameters
    ----------
    model : Model
        As :func:`load_model` read it.
    number : int
        1 for the earliest; ``model.snapshots`` is the network the model itself holds.

    Raises
    ------
    ModelError
        When the model has no such snapshot, or its file is missing or changed.
    """
    if number == model.snapshots:
        return model
    names = snapshot_names(model.provenance)
    if not 1 <= number <= len(names) or model.folder is None:
        raise ModelError(f"Model {model.name} holds snapshots 1 to {model.snapshots}, not {number}.")
    path = model.folder / names[number - 1]
    data = read_bytes(path, ModelError)
    _refuse_pickle(path, data)
    _check_hash(path, sha256(data), model.provenance)
    network = deepcopy(model.network)
    _load_weights(network, path, data)
    return replace(model, network=network.eval())


def save_model(
    model: Model, folder: str | Path, *, half: bool = False, snapshots: Sequence[Mapping[str, Tensor]] = ()
) -> Model:
    """Write a model folder.

    Parameters
    ----------
    model : Model
        What to write.
    folder : path
        Created when absent; the files of a model that stands there are replaced one by one.
    half : bool
        Store the weights in float16, which halves the folder.
    snapshots : sequence of mapping of str to Tensor
        Weights of earlier moments of the same training, the earliest first.

    Returns
    -------
    Model
        The same model with its hash and folder; ``half`` weights are not rounded in the network given.
    """
    folder = Path(folder)
    previous = (
        None if model.previous_stage is None else save_model(model.previous_stage, folder / PREVIOUS_STAGE, half=half)
    )
    contents = {
        WEIGHTS: _pack(model.network.state_dict(), half),
        PLANS: _dump(model.plans),
        DATASET: _dump(model.dataset),
        **{SNAPSHOT.format(number): _pack(weights, half) for number, weights in enumerate(snapshots, start=1)},
    }
    hashes = _hashes(contents)
    if previous is not None:
        hashes[PREVIOUS_PROVENANCE] = sha256(_dump(previous.provenance))
    provenance = {**model.provenance, "format": FORMAT, "name": model.name, "files": hashes}
    contents[PROVENANCE] = _dump(provenance)
    write_files({folder / name: data for name, data in contents.items()})
    for stale in {path.name for path in folder.glob(SNAPSHOT.format("*"))} - set(contents):
        (folder / stale).unlink()
    return Model(
        model.network, model.plans, model.dataset, provenance, model.name, model_sha256(hashes), folder, previous
    )


def _pack(weights: Mapping[str, Tensor], half: bool) -> bytes:
    """Weights as the bytes of a safetensors file."""
    from safetensors.torch import save as save_tensors

    tensors = {
        name: _stored(tensor.detach().cpu(), half).contiguous()
        for name, tensor in weights.items()
        if not _repeats(name)
    }
    return bytes(save_tensors(tensors))


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """As a file has it; whole numbers, such as the places of an attention window, stay what they are."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.half() if half else tensor.float()


def _check_hash(path: Path, found: str, provenance: Mapping[str, Any]) -> None:
    if provenance.get("files", {}).get(path.name) != found:
        raise ModelError(
            f"{path} is not the file the model was saved with (its sha256 differs); copy the model folder again."
        )


def _repeats(name: str) -> bool:
    """Whether a parameter is a second name of another one (nnU-Net registers modules twice)."""
    return ".all_modules." in name or name.startswith("decoder.encoder.")


def _load_weights(network: nn.Module, path: Path, data: bytes) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file ({error}); copy the model folder again.") from error
    tensors = {name: _stored(tensor, half=False) for name, tensor in tensors.items()}
    expected = {name: tensor.shape for name, tensor in network.state_dict().items() if not _repeats(name)}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        different = sorted(
            name
            for name in expected.keys() | tensors.keys()
            if name not in expected or name not in tensors or expected[name] != tensors[name].shape
        )
        raise ModelError(f"The weights in {path} do not fit its plans (first difference: {different[0]}).")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelError(f"The weights in {path} are not finite; train or copy the model again.")
    network.load_state_dict(tensors, strict=False)


def _refuse_pickle(path: Path, data: bytes) -> None:
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ModelError(
            f"{path} is a pickled checkpoint under another name; it is never executed: give safetensors weights."
        )


def _dump(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _hashes(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(data) for name, data in contents.items() if name != PROVENANCE}
