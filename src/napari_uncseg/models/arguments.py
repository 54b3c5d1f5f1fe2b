"""What a plans dictionary asks of a U-Net: building blocks by name, sizes per stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_uncseg.errors import ModelError
from napari_uncseg.io.geometry import three


class InstanceNorm3d(nn.InstanceNorm3d):
    """Instance norm that is quick where the channels lie last in memory, as in a prediction on a processor.

    There it is a group norm with a group per channel, the same function, which PyTorch has for that order. Its gradient
    would be slower, so a training goes the usual way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, x, y, z)`` to the same shape."""
        if x.is_contiguous() or torch.is_grad_enabled() or self.track_running_stats:
            return super().forward(x)
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


_OPERATIONS: Mapping[str, type[nn.Module]] = {
    f"torch.nn.{module}{operation.__name__}": operation
    for family, operations in {
        "conv": (nn.Conv3d,),
        "instancenorm": (InstanceNorm3d,),
        "batchnorm": (nn.BatchNorm3d,),
        "activation": (nn.LeakyReLU, nn.ReLU),
        "dropout": (nn.Dropout3d,),
    }.items()
    for operation in operations
    for module in ("", f"modules.{family}.")
}
"""The only names a plans file may ask for; anything else is refused rather than imported."""


_MOST_BLOCKS, _MOST_WEIGHTS = 1000, 10**10
"""Ten times and more what nnU-Net's largest networks have: a guard against plans that ask for all memory or hours."""


class Parts:
    """The building blocks a plans dictionary asks for: norm, non-linearity, dropout and their arguments."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        if _operation(kwargs.get("conv_op", "torch.nn.Conv3d")) is not nn.Conv3d:
            raise ModelError(f"The plans ask for {kwargs['conv_op']}; only 3-D networks can be run.")
        self.conv_bias = bool(kwargs.get("conv_bias", False))
        self.norm = _operation(kwargs.get("norm_op"))
        self.norm_kwargs = dict(kwargs.get("norm_op_kwargs") or {})
        self.nonlin = _operation(kwargs.get("nonlin"))
        self.nonlin_kwargs = dict(kwargs.get("nonlin_kwargs") or {})
        self.dropout = _operation(kwargs.get("dropout_op"))
        self.dropout_kwargs = dict(kwargs.get("dropout_op_kwargs") or {})


class Arguments:
    """``arch_kwargs`` of a plans file, checked and spread out per stage."""

    def __init__(self, kwargs: Mapping[str, Any], inputs: int, outputs: int) -> None:
        try:
            count = int(kwargs["n_stages"])
            self.features = _per_stage(kwargs["features_per_stage"], count)
            self.kernels = _triples(kwargs["kernel_sizes"], count)
            self.strides = _triples(kwargs["strides"], count)
            self.encoder_blocks = _per_stage(kwargs.get("n_conv_per_stage", kwargs.get("n_blocks_per_stage", 2)), count)
            self.decoder_blocks = _per_stage(kwargs["n_conv_per_stage_decoder"], count - 1)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"The plans do not describe a U-Net ({error}); take nnU-Net's plans.json.") from error
        blocks = [here + up for here, up in zip(self.encoder_blocks, [*self.decoder_blocks[::-1], 0], strict=True)]
        weights = (
            count * width**2 * math.prod(kernel)
            for count, width, kernel in zip(blocks, self.features, self.kernels, strict=True)
        )
        if sum(blocks) > _MOST_BLOCKS or sum(weights) > _MOST_WEIGHTS:
            raise ModelError("The plans describe a network larger than any that segments; take nnU-Net's plans.json.")
        self.parts = Parts(kwargs)
        self.input_channels = inputs
        self.outputs = outputs


def _operation(name: str | None) -> type[nn.Module] | None:
    if name is not None and name not in _OPERATIONS:
        raise ModelError(f"The plans ask for {name}, which is not among the operations nnU-Net's 3-D networks use.")
    return None if name is None else _OPERATIONS[name]


def _per_stage(value: int | Sequence[int], count: int) -> list[int]:
    values = [int(value)] * count if isinstance(value, int) else [int(item) for item in value]
    if len(values) != count or min(values, default=1) < 1:
        raise ValueError(f"{value} for {count} stages")
    return values


def _triples(value: int | Sequence[int | Sequence[int]], count: int) -> list[tuple[int, int, int]]:
    items = [value] * count if isinstance(value, int) else list(value)
    triples = [three((item,) * 3 if isinstance(item, int) else (int(size) for size in item)) for item in items]
    if len(triples) != count or min(map(min, triples), default=1) < 1:
        raise ValueError(f"{value} for {count} stages")
    return triples
