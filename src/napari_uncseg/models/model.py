"""The model folder: weights, plans, data set description and provenance, each file held by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.io.files import entries, is_dir, is_file, parse_json, read_bytes, sha256, write_files
from napari_uncseg.io.geometry import three
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.models import identity
from napari_uncseg.models.heads import Head
from napari_uncseg.models.identity import DATASET, FORMAT, MEND, PLANS, PREVIOUS_PROVENANCE, PREVIOUS_STAGE, WEIGHTS
from napari_uncseg.models.unet import build_network

CONFIGURATION = "3d_fullres"
_PICKLED = (".pth", ".pt", ".pkl", ".ckpt", ".bin")

DATASET_JSON: Mapping[str, Any] = {
    "channel_names": {str(index): name for index, name in enumerate(MODALITIES)},
    "labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]},
    "regions_class_order": [2, 1, 3],
    "file_ending": ".nii.gz",
}
"""nnU-Net's ``dataset.json`` of the BraTS 2023 coding; the order of the labels matters."""


def make_plans(configuration: Mapping[str, Any], **told: Any) -> dict[str, Any]:
    """Plans of one configuration on the axes x, y, z; what else is told stands beside it (nnU-Net's names)."""
    axes = {"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}
    return {**told, **axes, "configurations": {CONFIGURATION: dict(configuration)}}


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
        """Meaning of the segmentation channels; a ModelError when the plans name one that nobody knows."""
        return head_of(self.plans)

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """Tile in voxels."""
        return three(int(size) for size in self.configuration["patch_size"])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size the network works at, in millimetres."""
        return three(float(size) for size in self.configuration["spacing"])

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
        return 1 + len(identity.snapshot_names(self.provenance))


def input_channels(plans: Mapping[str, Any]) -> int:
    """Number of input channels: the modalities, and in a cascade the probabilities of the previous stage."""
    return len(MODALITIES) + len(REGIONS) * bool(plans.get("uncseg", {}).get("previous_stage"))


def head_of(plans: Mapping[str, Any]) -> Head:
    """Meaning of the segmentation channels that plans ask for; a ModelError when it is not known."""
    try:
        return Head(plans.get("uncseg", {}).get("head", Head.REGIONS))
    except ValueError as error:
        raise ModelError(f"The model's plans.json names an unknown head ({error}).") from error


def output_channels(plans: Mapping[str, Any]) -> int:
    """Number of output channels that plans ask for, uncertainty channels included.

    Raises
    ------
    ModelError
        When the head is not known, or cannot have so many uncertainty channels.
    """
    head, extra = head_of(plans), plans.get("uncseg", {}).get("uncertainty_channels", 0)
    if extra not in head.uncertainties:
        raise ModelError(f"The model's plans.json asks for {extra} uncertainty channels, which {head} cannot have.")
    return head.channels + int(extra)


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
    folder = identity.bundled_model_folder() if folder is None else Path(folder)
    if not is_dir(folder, ModelError):
        raise ModelError(f"{folder} is not a model folder; give the folder that holds {WEIGHTS} and {PLANS}.")
    missing = [
        name for name in (WEIGHTS, PLANS, DATASET, identity.PROVENANCE) if not is_file(folder / name, ModelError)
    ]
    if missing:
        pickled = (path.name for path in entries(folder, ModelError) if path.suffix in _PICKLED)
        hint = next((f"{name} is a pickled checkpoint, which is never executed" for name in pickled), MEND)
        raise ModelError(f"Model folder {folder} lacks {', '.join(missing)}: {hint}.")
    provenance = identity.read_provenance(folder)
    plans, dataset = (
        parse_json(_read(folder / name, provenance), folder / name, ModelError, MEND) for name in (PLANS, DATASET)
    )
    if not isinstance(plans.get("uncseg", {}), dict):
        raise ModelError(f"{folder / PLANS} has no block of settings under uncseg: {MEND}.")
    network = build_network(plans, input_channels(plans), output_channels(plans))
    _load_weights(network, folder / WEIGHTS, provenance)
    previous = None
    if plans.get("uncseg", {}).get("previous_stage"):
        _read(folder / PREVIOUS_PROVENANCE, provenance, PREVIOUS_PROVENANCE)
        previous = load_model(folder / PREVIOUS_STAGE)
    name, digest = str(provenance.get("name", folder.name)), identity.model_sha256(provenance["files"])
    return Model(network.eval(), plans, dataset, provenance, name, digest, folder, previous)


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
    names = identity.snapshot_names(model.provenance)
    if not 1 <= number <= len(names) or model.folder is None:
        raise ModelError(f"Model {model.name} holds snapshots 1 to {model.snapshots}, not {number}.")
    network = deepcopy(model.network)
    _load_weights(network, model.folder / names[number - 1], model.provenance)
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
    folder, previous = Path(folder), model.previous_stage
    contents = {WEIGHTS: pack_weights(model.network.state_dict(), half)}
    contents |= {
        identity.SNAPSHOT.format(number): pack_weights(each, half) for number, each in enumerate(snapshots, start=1)
    }
    contents |= {PLANS: _dump(model.plans), DATASET: _dump(model.dataset)}
    hashes = {name: sha256(data) for name, data in contents.items()}
    if previous is not None:
        previous = save_model(previous, folder / PREVIOUS_STAGE, half=half)
        hashes[PREVIOUS_PROVENANCE] = sha256(_dump(previous.provenance))
    provenance = {**model.provenance, "format": FORMAT, "name": model.name, "files": hashes}
    contents[identity.PROVENANCE] = _dump(provenance)
    write_files({folder / name: data for name, data in contents.items()})
    for stale in {path.name for path in folder.glob(identity.SNAPSHOT.format("*"))} - set(contents):
        with suppress(OSError):  # one that the provenance does not list does no harm
            (folder / stale).unlink()
    digest = identity.model_sha256(hashes)
    return replace(model, provenance=provenance, sha256=digest, folder=folder, previous_stage=previous)


def pack_weights(weights: Mapping[str, Tensor], half: bool, told: Mapping[str, str] | None = None) -> bytes:
    """Weights as the bytes of a safetensors file, with what its header tells."""
    from safetensors.torch import save as save_tensors

    # A parameter may have a second name (nnU-Net registers modules twice), and is stored once.
    names = [name for name in weights if ".all_modules." not in name and not name.startswith("decoder.encoder.")]
    tensors = {name: _stored(weights[name].detach().cpu(), half).contiguous() for name in names}
    return bytes(save_tensors(tensors, None if told is None else dict(told)))


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """As a file has it; whole numbers, such as the places of an attention window, stay what they are."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.half() if half else tensor.float()


def _read(path: Path, provenance: Mapping[str, Any], name: str = "") -> bytes:
    """Bytes of a file of a model folder, held by its hash."""
    data = read_bytes(path, ModelError)
    if path.suffix == ".safetensors" and (data[:2] == b"PK" or data[:1] == b"\x80"):
        raise ModelError(f"{path} is a pickled checkpoint under another name, which is never executed.")
    if provenance.get("files", {}).get(name or path.name) != sha256(data):
        raise ModelError(f"{path} is not the file the model was saved with (its sha256 differs); {MEND}.")
    return data


def _load_weights(network: nn.Module, path: Path, provenance: Mapping[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    try:
        put_weights(network, load_tensors(_read(path, provenance)), path, "its plans")
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file ({error}); {MEND}.") from error


def put_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path, described_by: str) -> None:
    """Put weights into a network; names must fit one to one, repeated ones apart.

    Parameters
    ----------
    network : nn.Module
    weights : mapping of str to Tensor
    path : Path
        Where they come from, for messages.
    described_by : str
        What says how the network is built, for messages.

    Raises
    ------
    ModelError
        When they do not fit, or are not finite.
    """
    state = network.state_dict()
    # A module that is registered twice appears under its first name alone.
    needed = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    wrong = sorted(
        (needed - weights.keys())
        | (weights.keys() - state.keys())
        | {name for name in state.keys() & weights.keys() if state[name].shape != weights[name].shape}
    )
    if wrong:
        raise ModelError(f"The weights in {path} do not fit {described_by} (first difference: {wrong[0]}).")
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise ModelError(f"The weights in {path} are not finite; train or copy the model again.")
    network.load_state_dict({name: _stored(weights[name], half=False) for name in needed}, strict=False)


def _dump(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
