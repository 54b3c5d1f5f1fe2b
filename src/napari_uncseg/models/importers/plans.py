"""nnU-Net v2's plans, old and new, as the plans of a model: one configuration on the axes x, y, z."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_uncseg.errors import ModelError
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
