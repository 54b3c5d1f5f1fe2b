"""What nnU-Net v2 says of a network: its plans, old and new, on the axes x, y, z, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_uncseg.errors import ModelError
from napari_uncseg.io.label_coding import coding_of_names
from napari_uncseg.labels import CODINGS, REGION_LABELS, REGIONS, Coding, Label
from napari_uncseg.models.heads import Head
from napari_uncseg.models.model import make_plans


def plain_plans(
    plans: Mapping[str, Any], configuration: str, axes: Sequence[int], channels: Sequence[int], path: Path
) -> dict[str, Any]:
    """Plans of a model made from nnU-Net's.

    Parameters
    ----------
    plans : mapping
        Content of nnU-Net's ``plans.json``.
    configuration : str
        The one that was trained, such as ``3d_fullres``.
    axes : sequence of int
        nnU-Net's axis behind x, y and z.
    channels : sequence of int
        nnU-Net's channel behind each modality.
    path : Path
        The file, for messages.

    Returns
    -------
    dict
        With the one configuration, under the name models have it by; the block ``uncseg`` is not there yet.

    Raises
    ------
    ModelError
        When the configuration is absent, not in 3-D or a cascade, or normalises otherwise than by the z-score.
    """
    found = _inherited(plans, configuration, path)
    if found.get("previous_stage"):
        raise ModelError(f"{configuration} in {path} is the second stage of a cascade, which cannot run by itself.")
    try:
        patch_size, spacing = found["patch_size"], found["spacing"]
        if len(patch_size) != 3 or len(spacing) != 3:
            raise ModelError(f"{configuration} in {path} is not in 3-D; take the 3d_fullres of the same training.")
        schemes, masked = found["normalization_schemes"], found["use_mask_for_norm"]
        settled = {
            "patch_size": [int(patch_size[axis]) for axis in axes],
            "spacing": [float(spacing[axis]) for axis in axes],
            "batch_size": int(found.get("batch_size", 1)),
            "normalization_schemes": [str(schemes[channel]) for channel in channels],
            "use_mask_for_norm": [bool(masked[channel]) for channel in channels],
            "architecture": _turned(_architecture(found), axes),
        }
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} does not describe {configuration} as nnU-Net v2 does ({error!r}).") from error
    others = sorted({str(schemes[channel]) for channel in channels} - {"ZScoreNormalization"})
    if others:
        raise ModelError(f"{path} normalises with {', '.join(others)}; only ZScoreNormalization is done here.")
    return make_plans(settled, **{name: str(plans.get(name, "")) for name in ("dataset_name", "plans_name")})


def _inherited(plans: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A configuration with what it inherits from others; the nearest has the last word."""
    found: dict[str, Any] = {}
    seen: set[str] = set()
    parent: object = name
    while parent is not None:
        block = plans.get("configurations", {}).get(parent)
        if not isinstance(block, dict) or parent in seen:
            raise ModelError(f"{path} has no configuration {parent}; take the plans.json of the same training.")
        seen.add(str(parent))
        found = {**block, **found}
        parent = block.get("inherits_from")
    return found


def _architecture(found: Mapping[str, Any]) -> dict[str, Any]:
    """Network class and arguments; plans from before nnU-Net 2.3 tell them by the older names."""
    if "architecture" in found:
        block = found["architecture"]
        return {"network_class_name": str(block["network_class_name"]), "arch_kwargs": dict(block["arch_kwargs"])}
    name = str(found["UNet_class_name"])
    stages = len(found["n_conv_per_stage_encoder"])
    base, most = int(found["UNet_base_num_features"]), int(found["unet_max_num_features"])
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": found["conv_kernel_sizes"],
            "strides": found["pool_op_kernel_sizes"],
            "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": found["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": found["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }


def _turned(architecture: dict[str, Any], axes: Sequence[int]) -> dict[str, Any]:
    """The same network with its kernels and strides on the axes x, y, z."""
    for key in ("kernel_sizes", "strides"):
        stages = architecture["arch_kwargs"][key]
        turned = [stage if isinstance(stage, int) else [int(stage[axis]) for axis in axes] for stage in stages]
        architecture["arch_kwargs"][key] = turned
    architecture["_kw_requires_import"] = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    return architecture


@dataclass(frozen=True)
class Outputs:
    """What a network's output channels mean.

    Parameters
    ----------
    head : Head
        Regions or labels.
    rows : tuple of int
        nnU-Net's channel behind each channel of the head.
    count : int
        How many segmentation channels nnU-Net's network has.
    coding : Coding
        How its references number the labels.
    """

    head: Head
    rows: tuple[int, ...]
    count: int
    coding: Coding


def read_outputs(labels: object, path: Path) -> Outputs:
    """What the output channels of nnU-Net's network mean.

    Parameters
    ----------
    labels : mapping
        ``labels`` of its ``dataset.json``: regions in the order they are named in, or labels by their number.
    path : Path
        The file, for messages.

    Raises
    ------
    ModelError
        When they are not those of a glioma.
    """
    spelt = _spelt_out(labels)
    coding = coding_of_names(spelt)
    if coding is None:
        raise ModelError(f"The labels in {path} ({labels}) are neither the labels nor the regions of a glioma.")
    meant = CODINGS[coding]
    regions = [{meant.get(int(number), 0) for number in value} for value in spelt.values() if isinstance(value, list)]
    if any(len(region) > 1 for region in regions):
        wanted = [set(map(int, REGION_LABELS[region])) for region in REGIONS]
        return Outputs(Head.REGIONS, tuple(regions.index(region) for region in wanted), len(regions), coding)
    # Names and numbers may stand either way round.
    values = sorted(int(str(key if isinstance(value, str) else value)) for key, value in spelt.items())
    if len(values) != 1 + len(Label):
        raise ModelError(f"{path} has {len(values)} labels; a network of labels has background, NCR, ED and ET alone.")
    number_of = {label: number for number, label in {0: 0, **meant}.items()}
    rows = tuple(values.index(number_of[label]) for label in (0, *Label))
    return Outputs(Head.LABELS4, rows, len(values), coding)


def _spelt_out(labels: object) -> dict[object, object]:
    """Labels without the ignored one; where there are regions, one of a single value is a list too."""
    plain = {key: value for key, value in labels.items() if key != "ignore"} if isinstance(labels, dict) else {}
    if not any(isinstance(value, list) and len(value) > 1 for value in plain.values()):
        return plain
    return {key: [value] if isinstance(value, int) and value else value for key, value in plain.items()}
