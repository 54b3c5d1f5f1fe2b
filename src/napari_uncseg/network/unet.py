"""nnU-Net's U-Nets, rebuilt from a plans dictionary with nnU-Net's own parameter names.

The two architectures follow Isensee et al., *nnU-Net* (Nature Methods 2021) and *nnU-Net Revisited* (MICCAI 2024);
modules are named as in ``dynamic_network_architectures``, so that its state dictionaries load unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

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


class ConvDropoutNormReLU(nn.Module):
    """Convolution, dropout, norm and non-linearity, in nnU-Net's order; absent parts are left out."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        parts: Parts,
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            inputs,
            outputs,
            _triple(kernel),
            _triple(stride),
            _triple([(k - 1) // 2 for k in kernel]),
            bias=parts.conv_bias,
        )
        modules: list[nn.Module] = [self.conv]
        if parts.dropout is not None and not last:
            self.dropout = parts.dropout(**parts.dropout_kwargs)
            modules.append(self.dropout)
        if parts.norm is not None:
            self.norm = parts.norm(outputs, **parts.norm_kwargs)
            modules.append(self.norm)
        if parts.nonlin is not None and not last:
            self.nonlin = parts.nonlin(**parts.nonlin_kwargs)
            modules.append(self.nonlin)
        # The same modules a second time under another name, as nnU-Net's state dictionaries have them.
        self.all_modules = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, x, y, z)`` to ``(batch, outputs, x', y', z')``."""
        return cast(Tensor, self.all_modules(x))


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


class StackedConvBlocks(nn.Module):
    """Several :class:`ConvDropoutNormReLU` in a row, the first with the stride."""

    def __init__(
        self, count: int, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int], parts: Parts
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvDropoutNormReLU(inputs, outputs, kernel, stride, parts),
            *(ConvDropoutNormReLU(outputs, outputs, kernel, (1, 1, 1), parts) for _ in range(count - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks in turn."""
        return cast(Tensor, self.convs(x))


class BasicBlockD(nn.Module):
    """Residual block of ResNet-D (He et al. 2019): pooled shortcut, two convolutions, sum, non-linearity."""

    def __init__(self, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int], parts: Parts) -> None:
        super().__init__()
        self.conv1 = ConvDropoutNormReLU(inputs, outputs, kernel, stride, parts)
        self.conv2 = ConvDropoutNormReLU(outputs, outputs, kernel, (1, 1, 1), parts, last=True)
        self.nonlin2 = parts.nonlin(**parts.nonlin_kwargs) if parts.nonlin is not None else nn.Identity()
        shortcut: list[nn.Module] = []
        if any(step != 1 for step in stride):
            pool = _triple(stride)
            shortcut.append(nn.AvgPool3d(pool, pool))
        if inputs != outputs:
            bare = Parts({"norm_op": None})
            bare.norm, bare.norm_kwargs = parts.norm, parts.norm_kwargs
            shortcut.append(ConvDropoutNormReLU(inputs, outputs, (1, 1, 1), (1, 1, 1), bare, last=True))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, ...)`` to ``(batch, outputs, ...)``."""
        return cast(Tensor, self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x)))


class StackedResidualBlocks(nn.Module):
    """Several :class:`BasicBlockD` in a row, the first with the stride."""

    def __init__(
        self, count: int, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int], parts: Parts
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            BasicBlockD(inputs, outputs, kernel, stride, parts),
            *(BasicBlockD(outputs, outputs, kernel, (1, 1, 1), parts) for _ in range(count - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks in turn."""
        return cast(Tensor, self.blocks(x))


class Encoder(nn.Module):
    """The contracting path; returns the features of every stage, finest first."""

    def __init__(self, arguments: Arguments, *, residual: bool) -> None:
        super().__init__()
        inputs = arguments.input_channels
        if residual:
            stem = arguments.features[0]
            self.stem = StackedConvBlocks(1, inputs, stem, arguments.kernels[0], (1, 1, 1), arguments.parts)
            inputs = stem
        stages: list[nn.Module] = []
        for count, outputs, kernel, stride in zip(
            arguments.encoder_blocks, arguments.features, arguments.kernels, arguments.strides, strict=True
        ):
            if residual:
                stages.append(StackedResidualBlocks(count, inputs, outputs, kernel, stride, arguments.parts))
            else:
                # nnU-Net wraps a plain stage in one more Sequential.
                stages.append(nn.Sequential(StackedConvBlocks(count, inputs, outputs, kernel, stride, arguments.parts)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each stage."""
        if hasattr(self, "stem"):
            x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """The expanding path with skip connections and one output layer per stage, of which the finest is used."""

    def __init__(self, encoder: Encoder, arguments: Arguments) -> None:
        super().__init__()
        self.encoder = encoder
        stages, transpconvs, seg_layers = [], [], []
        depth = len(arguments.features)
        for step in range(1, depth):
            below, skip = arguments.features[-step], arguments.features[-step - 1]
            stride = arguments.strides[-step]
            up = _triple(stride)
            transpconvs.append(nn.ConvTranspose3d(below, skip, up, up, bias=arguments.parts.conv_bias))
            stages.append(
                StackedConvBlocks(
                    arguments.decoder_blocks[step - 1],
                    2 * skip,
                    skip,
                    arguments.kernels[-step - 1],
                    (1, 1, 1),
                    arguments.parts,
                )
            )
            seg_layers.append(nn.Conv3d(skip, arguments.outputs, 1, bias=True))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(transpconvs)
        self.seg_layers = nn.ModuleList(seg_layers)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits ``(batch, outputs, x, y, z)`` at full resolution."""
        x = features[-1]
        for step, (stage, upsample) in enumerate(zip(self.stages, self.transpconvs, strict=True)):
            x = stage(torch.cat((upsample(x), features[-step - 2]), 1))
        return cast(Tensor, self.seg_layers[-1](x))


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


class _UNet(nn.Module):
    residual: bool

    def __init__(self, kwargs: Mapping[str, Any], inputs: int, outputs: int) -> None:
        super().__init__()
        arguments = Arguments(kwargs, inputs, outputs)
        self.encoder = Encoder(arguments, residual=self.residual)
        self.decoder = Decoder(self.encoder, arguments)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, modalities, x, y, z)`` to logits ``(batch, outputs, x, y, z)``.

        Each axis must be a multiple of the product of the strides along it.
        """
        return cast(Tensor, self.decoder(self.encoder(x)))


class PlainConvUNet(_UNet):
    """nnU-Net's default network.

    Parameters
    ----------
    kwargs : mapping
        ``arch_kwargs`` of the plans.
    inputs : int
        Number of modalities.
    outputs : int
        Number of output channels, the uncertainty channel included.

    Raises
    ------
    ModelError
        When the arguments do not describe such a network.
    """

    residual = False


class ResidualEncoderUNet(_UNet):
    """nnU-Net's ResEnc network; parameters as for :class:`PlainConvUNet`."""

    residual = True


_NETWORKS: Mapping[str, type[_UNet]] = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}


def build_network(plans: Mapping[str, Any], inputs: int, outputs: int, configuration: str = "3d_fullres") -> nn.Module:
    """Network that a plans dictionary describes, with fresh weights.

    Parameters
    ----------
    plans : mapping
        nnU-Net v2 plans.
    inputs, outputs : int
        Number of modalities and of output channels.
    configuration : str
        Key under ``configurations``.

    Raises
    ------
    ModelError
        When the configuration is absent or asks for something else than the two U-Nets.
    """
    try:
        architecture = plans["configurations"][configuration]["architecture"]
        name = str(architecture["network_class_name"]).rsplit(".", 1)[-1]
        kwargs = architecture["arch_kwargs"]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"The plans have no architecture for {configuration}; take nnU-Net v2's plans.json."
        ) from error
    if name not in _NETWORKS:
        raise ModelError(f"The plans ask for the network {name}; known are {', '.join(_NETWORKS)}.")
    return _NETWORKS[name](kwargs, inputs, outputs)


def _operation(name: str | None) -> type[nn.Module] | None:
    if name is None:
        return None
    if name not in _OPERATIONS:
        raise ModelError(f"The plans ask for {name}, which is not among the operations nnU-Net's 3-D networks use.")
    return _OPERATIONS[name]


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = values
    return x, y, z


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


def _initialise(module: nn.Module) -> None:
    """He initialisation with nnU-Net's slope of 0.01."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=1e-2)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0)
