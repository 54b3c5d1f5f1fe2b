"""nnU-Net v2's result folders as models: read as data, turned to the axes, modalities and labels of this package.

nnU-Net sees a volume as SimpleITK does (z, y, x), permuted by ``transpose_forward``, with the channels and labels in
the order of its ``dataset.json``. A U-Net whose kernels are permuted sees a volume permuted alike, so the differences
are taken out once, of the weights, and the model that comes out runs like any other.

References
----------
Isensee et al., "nnU-Net", Nature Methods 18 (2021); the files are those of nnunetv2 2.0 to 2.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_uncseg.errors import ModelError, StudyError
from napari_uncseg.io.files import is_file, read_json, sha256_of
from napari_uncseg.io.geometry import three
from napari_uncseg.io.label_coding import read_dataset
from napari_uncseg.labels import MODALITIES
from napari_uncseg.models.identity import DATASET, PLANS
from napari_uncseg.models.importers import CHECKPOINT
from napari_uncseg.models.importers.checkpoint import plain_weights, read_checkpoint
from napari_uncseg.models.importers.plans import plain_plans, read_outputs
from napari_uncseg.models.model import Model, output_channels, put_weights
from napari_uncseg.models.unet import build_network

_READERS: Mapping[str, str | None] = {"SimpleITKIO": None, "NibabelIO": None, "NibabelIOWithReorient": "RAS"}
"""nnU-Net's readers whose arrays are (z, y, x), and the orientation they turn a volume to."""


def find_folds(folder: str | Path, checkpoint: str = CHECKPOINT) -> list[str]:
    """Folds of a result folder that hold a checkpoint, as ``fold_0`` .. or ``fold_all``, in their order.

    Raises
    ------
    ModelError
        When there is none.
    """
    folder = Path(folder)
    found = [
        path.parent.name for path in folder.glob(f"fold_*/{checkpoint}") if re.search(r"_(\d+|all)$", str(path.parent))
    ]
    if not found:
        others = sorted(f"{path.parent.name}/{path.name}" for path in folder.glob("fold_*/*.pth"))
        if others:
            name = Path(others[0]).name
            raise ModelError(
                f"{folder} holds no {checkpoint}, but {', '.join(others)}; take it with --checkpoint {name}."
            )
        example = "nnUNet_results/Dataset137_BraTS2023/nnUNetTrainer__nnUNetPlans__3d_fullres"
        raise ModelError(f"{folder} holds no fold_<k>/{checkpoint}; give a trained configuration, as {example}.")
    return sorted(found, key=lambda name: (not name[5:].isdigit(), int(name[5:]) if name[5:].isdigit() else 0))


def import_nnunet(
    folder: str | Path,
    fold: str | int = 0,
    *,
    checkpoint: str = CHECKPOINT,
    orientation: str | None = None,
    name: str | None = None,
) -> Model:
    """Make a model of one fold of an nnU-Net result folder.

    Parameters
    ----------
    folder : path
        Holds ``plans.json``, ``dataset.json`` and ``fold_<k>/``.
    fold : int or str
        Which fold: a number, or ``all``.
    checkpoint : str
        File in the fold's folder.
    orientation : str, optional
        Axis codes of the images the network was trained on (BraTS: ``LPS``), to which studies are then turned; by
        default they are taken as they lie, as nnU-Net does.
    name : str, optional
        What to call the model.

    Returns
    -------
    Model
        Not saved yet.

    Raises
    ------
    ModelError
        When a file is missing, damaged or holds anything that would have to be executed, or when the network segments
        something else than the glioma regions from the four modalities.
    """
    folder = Path(folder)
    path = folder / f"fold_{fold}" / checkpoint
    plans, labels = _read_json(folder / PLANS), _read_json(folder / DATASET).get("labels")
    if not is_file(path, ModelError):
        raise ModelError(f"{path} is not there; {folder} has {', '.join(find_folds(folder, checkpoint))}.")
    content = read_checkpoint(path)
    arguments, trainer = content.get("init_args"), str(content.get("trainer_name"))
    if not isinstance(arguments, dict) or not isinstance(content.get("network_weights"), dict):
        raise ModelError(f"{path} is not a checkpoint of nnU-Net v2: it lacks network_weights or init_args.")
    channels, outputs = _channels(folder / DATASET), read_outputs(labels, folder / DATASET)
    reader = str(plans.get("image_reader_writer", "SimpleITKIO"))
    if reader not in _READERS:
        raise ModelError(f"{folder / PLANS} reads images with {reader}; known are {', '.join(_READERS)}.")
    axes = _axes(plans, folder / PLANS)
    configuration = str(arguments.get("configuration"))
    settled = plain_plans(plans, configuration, axes, channels, folder / PLANS)
    weights = plain_weights(content["network_weights"], path)
    extra = _last_layer(weights, path).shape[0] - outputs.count
    declared = "uncseg" in arguments or "uncertainty" in trainer.lower()
    if extra not in (0, 1) or (extra == 1 and not declared):
        what = f"{path} has {outputs.count + extra} output channels where {folder / DATASET} asks for {outputs.count}"
        raise ModelError(f"{what}, and its trainer {trainer} does not say that one of them is an uncertainty.")
    axes_codes = orientation or _READERS[reader]
    settled["uncseg"] = {"head": str(outputs.head), "uncertainty_channels": extra, "orientation": axes_codes}
    network = build_network(settled, len(MODALITIES), output_channels(settled))
    rows = (*outputs.rows, *range(outputs.count, outputs.count + extra))
    turned = {key: _turned(key, value, axes, channels, rows) for key, value in weights.items()}
    put_weights(network, turned, path, "the plans beside them")
    return Model(
        network.eval(),
        settled,
        provenance={
            "trained_by": f"nnU-Net v2, {trainer}",
            "imported_from": f"{folder.resolve().parent.name}/{folder.resolve().name}/fold_{fold}/{checkpoint}",
            "checkpoint_sha256": sha256_of(path, ModelError),
            "configuration": configuration,
            "epoch": int(content.get("current_epoch", -1)),
            "labels": labels,
            "settings": arguments.get("uncseg", {}),
        },
        name=name or f"{plans.get('dataset_name', folder.parent.name)} fold {fold}",
    )


def _channels(path: Path) -> list[int]:
    """nnU-Net's channel of each modality."""
    try:
        dataset = read_dataset(path)
    except StudyError as error:
        raise ModelError(str(error)) from error
    if dataset.size != len(MODALITIES):
        raise ModelError(f"{path} names {dataset.size} channels; a model here takes {', '.join(MODALITIES)} alone.")
    return [dataset.channels[modality] for modality in MODALITIES]


def _axes(plans: Mapping[str, Any], path: Path) -> tuple[int, int, int]:
    """nnU-Net's axis behind x, y and z of the file."""
    forward = plans.get("transpose_forward", [0, 1, 2])
    if forward not in map(list, permutations(range(3))):
        raise ModelError(f"{path} has the transpose_forward {forward}; expected an order of the axes 0, 1 and 2.")
    # nnU-Net's axis i is axis forward[i] of (z, y, x).
    return three(forward.index(2 - axis) for axis in range(3))


def _last_layer(weights: Mapping[str, Tensor], path: Path) -> Tensor:
    """Bias of the layer that gives the output, whose length is the number of channels."""
    layers = [key for key in weights if re.fullmatch(r"decoder\.seg_layers\.\d+\.bias", key)]
    if not layers:
        raise ModelError(f"{path} is not of one of nnU-Net's U-Nets: it has no decoder.seg_layers.")
    return weights[max(layers, key=lambda key: int(key.split(".")[2]))]


def _turned(key: str, value: Tensor, axes: Sequence[int], channels: Sequence[int], rows: Sequence[int]) -> Tensor:
    """A weight on the axes x, y, z, with inputs and outputs in the order used here."""
    if value.ndim == 5:
        value = value.permute(0, 1, *(2 + axis for axis in axes))
    first = r"(decoder\.)?encoder\.(stages\.0\.0|stem)\.convs\.0\.(conv|all_modules\.0)\.weight"
    if re.fullmatch(first, key) and value.shape[1] == len(channels):
        value = value[:, list(channels)]
    if key.startswith("decoder.seg_layers."):
        value = value[list(rows)]
    return value.contiguous()


def _read_json(path: Path) -> dict[str, Any]:
    if not is_file(path, ModelError):
        raise ModelError(f"{path} is not there; give the folder nnU-Net trained into, with {PLANS}, {DATASET}, fold_0.")
    return read_json(path, ModelError, "copy it again")
