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
from napari_uncseg.io.geometry import three
from napari_uncseg.models.arguments import Arguments, Parts
from napari_uncseg.models.heads import ErrorBranch, Head
from napari_uncseg.models.monai import build_monai, is_monai, monai_divisors, product_of

Sides = tuple[int, int, int]
ONE: Sides = (1, 1, 1)


class ConvDropoutNormReLU(nn.Module):
    """Convolution, dropout, norm and non-linearity, in nnU-Net's order; absent parts are left out."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Sides, stride: Sides, parts: Parts, *, last: bool = False
    ) -> None:
        super().__init__()
        padding = three((side - 1) // 2 for side in kernel)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=parts.conv_bias)
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


class StackedConvBlocks(nn.Module):
    """Several :class:`ConvDropoutNormReLU` in a row, the first with the stride."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Sides, stride: Sides, parts: Parts) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvDropoutNormReLU(inputs, outputs, kernel, stride, parts),
            *(ConvDropoutNormReLU(outputs, outputs, kernel, ONE, parts) for _ in range(count - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks in turn."""
        return cast(Tensor, self.convs(x))


class BasicBlockD(nn.Module):
    """Residual block of ResNet-D (He et al. 2019): pooled shortcut, two convolutions, sum, non-linearity."""

    def __init__(self, inputs: int, outputs: int, kernel: Sides, stride: Sides, parts: Parts) -> None:
        super().__init__()
        self.conv1 = ConvDropoutNormReLU(inputs, outputs, kernel, stride, parts)
        self.conv2 = ConvDropoutNormReLU(outputs, outputs, kernel, ONE, parts, last=True)
        self.nonlin2 = parts.nonlin(**parts.nonlin_kwargs) if parts.nonlin is not None else nn.Identity()
        shortcut: list[nn.Module] = []
        if any(step != 1 for step in stride):
            shortcut.append(nn.AvgPool3d(stride, stride))
        if inputs != outputs:
            bare = Parts({"norm_op": None})
            bare.norm, bare.norm_kwargs = parts.norm, parts.norm_kwargs
            shortcut.append(ConvDropoutNormReLU(inputs, outputs, ONE, ONE, bare, last=True))
        self.skip = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, ...)`` to ``(batch, outputs, ...)``."""
        return cast(Tensor, self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x)))


class StackedResidualBlocks(nn.Module):
    """Several :class:`BasicBlockD` in a row, the first with the stride."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: Sides, stride: Sides, parts: Parts) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            BasicBlockD(inputs, outputs, kernel, stride, parts),
            *(BasicBlockD(outputs, outputs, kernel, ONE, parts) for _ in range(count - 1)),
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
            self.stem = StackedConvBlocks(1, inputs, stem, arguments.kernels[0], ONE, arguments.parts)
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
    """The expanding path with skip connections and one output layer per stage, of which the finest is used.

    With ``errors`` a branch beside the last output layer adds so many channels, see :class:`ErrorBranch`.
    """

    def __init__(self, encoder: Encoder, arguments: Arguments, errors: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        stages, transpconvs, seg_layers = [], [], []
        depth = len(arguments.features)
        for step in range(1, depth):
            below, skip, up = arguments.features[-step], arguments.features[-step - 1], arguments.strides[-step]
            count, kernel = arguments.decoder_blocks[step - 1], arguments.kernels[-step - 1]
            transpconvs.append(nn.ConvTranspose3d(below, skip, up, up, bias=arguments.parts.conv_bias))
            stages.append(StackedConvBlocks(count, 2 * skip, skip, kernel, ONE, arguments.parts))
            seg_layers.append(nn.Conv3d(skip, arguments.outputs, 1, bias=True))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(transpconvs)
        self.seg_layers = nn.ModuleList(seg_layers)
        self.auxiliary = ErrorBranch(arguments.features[0], errors) if errors else None

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits ``(batch, outputs + errors, x, y, z)`` at full resolution."""
        x = features[-1]
        for step, (stage, upsample) in enumerate(zip(self.stages, self.transpconvs, strict=True)):
            x = stage(torch.cat((upsample(x), features[-step - 2]), 1))
        logits = cast(Tensor, self.seg_layers[-1](x))
        return logits if self.auxiliary is None else torch.cat((logits, self.auxiliary(x)), 1)


class _UNet(nn.Module):
    residual: bool

    def __init__(self, kwargs: Mapping[str, Any], inputs: int, outputs: int, errors: int = 0) -> None:
        super().__init__()
        arguments = Arguments(kwargs, inputs, outputs)
        self.encoder = Encoder(arguments, residual=self.residual)
        self.decoder = Decoder(self.encoder, arguments, errors)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, modalities, x, y, z)`` to logits ``(batch, outputs + errors, x, y, z)``.

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
        Number of channels of the output layer, the uncertainty channel included.
    errors : int
        Number of channels that an :class:`ErrorBranch` adds.

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
        nnU-Net v2 plans, or those of a network of MONAI, whose ``network_class_name`` begins with ``monai.``.
    inputs, outputs : int
        Number of modalities and of output channels.
    configuration : str
        Key under ``configurations``.

    Raises
    ------
    ModelError
        When the configuration is absent, or asks for a network that is not known, not installed or cannot be built.
    """
    try:
        return _built(plans, inputs, outputs, configuration)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # what PyTorch raises depends on the arguments that the plans give it
        told = str(error).partition("\n")[0]
        raise ModelError(f"No network can be built from the plans ({told}); take nnU-Net's plans.json.") from error


def _built(plans: Mapping[str, Any], inputs: int, outputs: int, configuration: str) -> nn.Module:
    path, kwargs = _architecture(plans, configuration)
    name = path.rsplit(".", 1)[-1]
    head = plans.get("uncseg", {}).get("head")
    if is_monai(path):
        if head == Head.REGIONS_AUXILIARY:
            raise ModelError(f"The plans ask for an error branch on MONAI's {name}; only a U-Net of nnU-Net has one.")
        return build_monai(name, kwargs, inputs, outputs)
    if name not in _NETWORKS:
        raise ModelError(f"The plans ask for the network {name}; known are {', '.join(_NETWORKS)}.")
    errors = Head.REGIONS_AUXILIARY.uncertainties[0] if head == Head.REGIONS_AUXILIARY else 0
    return _NETWORKS[name](kwargs, inputs, outputs - errors, errors)


def tile_divisors(configuration: Mapping[str, Any]) -> tuple[int, int, int]:
    """What the sides of a tile must be multiples of.

    Parameters
    ----------
    configuration : mapping
        One of the ``configurations`` of a plans dictionary.

    Returns
    -------
    tuple of int
        Along x, y and z: the product of the network's strides; 1 where the plans name none.

    Raises
    ------
    TypeError, ValueError, IndexError, AttributeError
        When the plans do not describe strides.
    """
    architecture = configuration.get("architecture", {})
    path, kwargs = str(architecture.get("network_class_name", "")), architecture.get("arch_kwargs", {})
    if is_monai(path):
        return monai_divisors(path.rsplit(".", 1)[-1], kwargs)
    return product_of(kwargs.get("strides", []))


def output_layer(network: nn.Module) -> nn.Conv3d:
    """The convolution that makes the logits: the decoder's last output layer, or the last one of a network of MONAI.

    Raises
    ------
    ModelError
        When the network ends otherwise.
    """
    decoder = getattr(network, "decoder", None)
    layers = list((decoder.seg_layers if isinstance(decoder, Decoder) else network).modules())
    last = next((layer for layer in reversed(layers) if isinstance(layer, nn.Conv3d)), None)
    if last is None or last.bias is None:
        raise ModelError(f"A {type(network).__name__} does not end in a convolution with a bias.")
    return last


def _architecture(plans: Mapping[str, Any], configuration: str) -> tuple[str, Mapping[str, Any]]:
    """Class and arguments of the network."""
    try:
        architecture = plans["configurations"][configuration]["architecture"]
        return str(architecture["network_class_name"]), architecture["arch_kwargs"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"The plans have no architecture for {configuration}; take nnU-Net v2's.") from error


def _initialise(module: nn.Module) -> None:
    """He initialisation with nnU-Net's slope of 0.01."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=1e-2)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0)
