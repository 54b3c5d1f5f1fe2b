"""The networks that can be trained, as the ``architecture`` of plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

ARCHES = ("unet", "segresnet", "unet_res", "swin_unetr")
"""nnU-Net's plain U-Net; MONAI's SegResNet, U-Net with residual units, and Swin UNETR."""

DROPOUT = 0.2
"""Share that MONAI's networks drop when nobody says, as its SegResNet for BraTS."""

_SWIN_DIVISOR = 32


def architecture(
    arch: str, features: Sequence[int], encoder: Sequence[int], decoder: Sequence[int], dropout: float
) -> dict[str, Any]:
    """Network class and arguments.

    Parameters
    ----------
    arch : str
        One of :data:`ARCHES`.
    features : sequence of int
        Channels per stage. SegResNet and Swin UNETR double them from stage to stage by themselves: there the first
        number alone counts, and for Swin UNETR it is brought to a multiple of 12.
    encoder, decoder : sequence of int
        Convolutions (SegResNet: residual blocks) per stage; the other two have their own.
    dropout : float
        Probability of dropping: whole channels in the U-Net and once in SegResNet, single values in the others.
    """
    stages = len(features)
    if arch == "segresnet":
        return _monai(
            "SegResNet",
            init_filters=features[0],
            blocks_down=list(encoder),
            blocks_up=list(decoder),
            dropout_prob=dropout or None,
            norm=["GROUP", {"num_groups": math.gcd(8, features[0])}],
        )
    if arch == "unet_res":
        return _monai("UNet", channels=list(features), strides=[2] * (stages - 1), num_res_units=2, dropout=dropout)
    if arch == "swin_unetr":
        return _monai("SwinUNETR", feature_size=12 * max(1, round(features[0] / 12)), drop_rate=dropout)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": list(encoder),
            "n_conv_per_stage_decoder": list(decoder),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": "torch.nn.modules.dropout.Dropout3d" if dropout else None,
            "dropout_op_kwargs": {"p": dropout} if dropout else None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def divisor(arch: str, stages: int) -> int:
    """What the sides of a grid must be multiples of, for a network of so many stages."""
    return _SWIN_DIVISOR if arch == "swin_unetr" else 2 ** (stages - 1)


def fitting(sizes: Sequence[int], unit: int) -> tuple[int, int, int]:
    """The smallest grid that holds another and whose sides are multiples of ``unit``."""
    x, y, z = (-(-size // unit) * unit for size in sizes)
    return x, y, z


def _monai(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"network_class_name": f"monai.networks.nets.{name}", "arch_kwargs": kwargs}
