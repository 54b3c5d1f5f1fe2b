"""What a plans dictionary asks of a U-Net: building blocks by name, sizes per stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import nn

from napari_uncseg.errors import ModelError

_OPERATIONS: Mapping[str, type[nn.Module]] = {
    "torch.nn.modules.conv.Conv3d": nn.Conv3d,
    "torch.nn.Conv3d": nn.Conv3d,
    "torch.nn.modules.instancenorm.InstanceNorm3d": nn.InstanceNorm3d,
    "torch.nn.InstanceNorm3d": nn.InstanceNorm3d,
    "torch.nn.modules.batchnorm.BatchNorm3d": nn.BatchNorm3d,
    "torch.nn.BatchNorm3d": nn.BatchNorm3d,
    "torch.nn.modules.activation.LeakyReLU": nn.LeakyReLU,
    "torch.nn.LeakyReLU": nn.LeakyReLU,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.ReLU": nn.ReLU,
    "torch.nn.modules.dropout.Dropout3d": nn.Dropout3d,
    "torch.nn.Dropout3d": nn.Dropout3d,
}
"""The only names a plans file may ask for; anything else is refused rather than imported."""


class Parts:
    """The building blocks a plans dictionary asks for: norm, non-linearity, dropout and their arguments."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        if _operation(kwargs.get("conv_op", "torch.nn.modules.conv.Conv3d")) is not nn.Conv3d:
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
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The plans do not describe a U-Net ({error}); take the plans.json nnU-Net wrote."
            ) from error
        self.parts = Parts(kwargs)
        self.input_channels = inputs
        self.outputs = outputs


def _operation(name: str | None) -> type[nn.Module] | None:
    if name is None:
        return None
    if name not in _OPERATIONS:
        raise ModelError(f"The plans ask for {name}, which is not among the operations nnU-Net's 3-D networks use.")
    return _OPERATIONS[name]


def _per_stage(value: int | Sequence[int], count: int) -> list[int]:
    values = [int(value)] * count if isinstance(value, int) else [int(item) for item in value]
    if len(values) != count or min(values, default=1) < 1:
        raise ValueError(f"{value} for {count} stages")
    return values


def _triples(value: int | Sequence[int | Sequence[int]], count: int) -> list[tuple[int, int, int]]:
    items = [value] * count if isinstance(value, int) else list(value)
    triples = [(item,) * 3 if isinstance(item, int) else tuple(int(v) for v in item) for item in items]
    if len(triples) != count or any(len(triple) != 3 or min(triple) < 1 for triple in triples):
        raise ValueError(f"{value} for {count} stages")
    return cast(list[tuple[int, int, int]], triples)
