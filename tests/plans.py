"""nnU-Net's plans of small networks."""

from __future__ import annotations

from typing import Any

NORM = "torch.nn.modules.instancenorm.InstanceNorm3d"
OPERATIONS: dict[str, Any] = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "conv_bias": True,
    "norm_op": NORM,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}

TWO_LEVELS: dict[str, Any] = {
    **OPERATIONS,
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "kernel_sizes": [[3, 3, 3]] * 2,
    "strides": [[1, 1, 1], [2, 2, 2]],
    "n_conv_per_stage": [1, 1],
    "n_blocks_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
}


def make_plans(
    name: str = "PlainConvUNet",
    kwargs: dict[str, Any] = TWO_LEVELS,
    *,
    patch: tuple[int, ...] = (16, 16, 16),
    spacing: tuple[float, ...] = (2.0, 2.0, 2.0),
    orientation: str = "RAS",
    head: str = "regions",
    uncertainty: int = 1,
) -> dict[str, Any]:
    """Plans of a network of the name, by default one of two levels."""
    configuration = {
        "patch_size": list(patch),
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"] * 4,
        "use_mask_for_norm": [True] * 4,
        "architecture": {"network_class_name": name, "arch_kwargs": dict(kwargs)},
    }
    uncseg = {"head": head, "uncertainty_channels": uncertainty, "orientation": orientation}
    return {"configurations": {"3d_fullres": configuration}, "uncseg": uncseg}
