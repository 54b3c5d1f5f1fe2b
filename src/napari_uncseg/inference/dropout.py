"""Dropout at inference, by hooks that leave the network as it was: a pass drops the same channels in all its tiles.

A mask belongs to a seed, a pass and a layer and to nothing else, so that a pass can be repeated alone, on any device
and with any tiles. Whole channels are dropped, as ``Dropout3d`` does; single voxels only where the network was trained
so.

References
----------
Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016: dropout left on at inference.
Ledda et al., "Dropout injection at test time for post hoc uncertainty quantification in neural networks",
Information Sciences 645 (2023): dropout put into a network that was trained without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.ensemble_spec import EnsembleSpec, Kind, Layers
from napari_uncseg.models.unet import ConvDropoutNormReLU, PlainConvUNet, ResidualEncoderUNet, output_layer

FEATURES_BUDGET = 256 * 2**20
"""Bytes of encoder features that are kept from one pass for the next; tiles beyond them are encoded again."""

_Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d
_UNets = PlainConvUNet | ResidualEncoderUNet


def generator_of(*words: object) -> torch.Generator:
    """Random numbers, on the processor, that belong to these words (a seed, a pass, a layer) and no others."""
    digest = hashlib.sha256(" ".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def dropout_layers(network: nn.Module, spec: EnsembleSpec, name: str) -> list[tuple[nn.Module, float]]:
    """Modules whose output is to be dropped, with the share of channels.

    Parameters
    ----------
    network : nn.Module
    spec : EnsembleSpec
        ``mc_dropout``: the network's own dropout layers; ``dropout_injection``: its convolution blocks.
    name : str
        What to call the model in an error.

    Raises
    ------
    ModelError
        When the network has no such layers there.
    """
    if spec.kind is Kind.MC_DROPOUT:
        own = [module for module in network.modules() if isinstance(module, _Dropout) and module.p > 0]
        if not own:
            instead = f"choose dropout_injection:{spec.count}, which puts dropout into a trained network"
            raise ModelError(f"Model {name} was trained without dropout, so mc_dropout would tell nothing; {instead}.")
        dropped: list[nn.Module] = list(own)
    else:
        dropped = _blocks(network)
    layers = [(module, float(getattr(module, "p", 0.0)) if spec.p is None else spec.p) for module in dropped]
    if spec.layers is not Layers.ALL:
        part = getattr(network, str(spec.layers), None)
        if not isinstance(network, _UNets) or not isinstance(part, nn.Module):
            raise ModelError(f"The network of model {name} has no {spec.layers} to put dropout in; use layers=all.")
        inside = set(part.modules())
        if spec.layers is Layers.DECODER:
            inside -= set(network.encoder.modules())  # nnU-Net's decoder knows its encoder
        layers = [(module, p) for module, p in layers if module in inside]
    if not layers:
        raise ModelError(f"The {spec.layers} of model {name} has no layers that dropout could work in.")
    return layers


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Convolution blocks, or in a foreign network the convolutions that look at neighbours, without the last one."""
    blocks = [module for module in network.modules() if isinstance(module, ConvDropoutNormReLU)]
    if ours := [block for block in blocks if max(block.conv.kernel_size) > 1]:
        return list(ours)
    last = output_layer(network)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d) and module is not last]
    return [module for module in convolutions if max(module.kernel_size) > 1]


@contextmanager
def dropping(layers: Sequence[tuple[nn.Module, float]], seed: int, number: int) -> Iterator[None]:
    """Let the outputs of layers be dropped as pass ``number`` of ``seed`` has it; afterwards nothing is left behind.

    Parameters
    ----------
    layers : sequence of tuple of nn.Module and float
        See :func:`dropout_layers`.
    seed, number : int
        Which pass.
    """
    with ExitStack() as hooks:
        for index, (module, p) in enumerate(layers):
            drop = _drop(p, whole=not isinstance(module, nn.Dropout), words=(seed, number, index))
            hooks.callback(module.register_forward_hook(drop).remove)
        yield


def _drop(p: float, *, whole: bool, words: tuple[int, ...]) -> Callable[..., Tensor | None]:
    masks: dict[tuple[int, ...], Tensor] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if p == 0:
            return None
        shape = (1, output.shape[1], *(1,) * (output.ndim - 2)) if whole else tuple(output.shape)
        if shape not in masks:
            kept = torch.rand(shape, generator=generator_of(*words)) >= p
            masks[shape] = (kept / (1 - p)).to(output.device, output.dtype)
        mask = masks[shape]
        # A block's output is its own; a dropout layer in eval mode hands on what it was given.
        return output * mask if any(output is given for given in inputs) else output.mul_(mask)

    return hook


class SharedEncoder(nn.Module):
    """A U-Net that encodes each tile once for all passes, as long as nothing differs before the decoder.

    Parameters
    ----------
    network : PlainConvUNet or ResidualEncoderUNet
    budget : int
        Bytes of features to keep.

    Notes
    -----
    Tiles are told apart by their turn: :meth:`begin` comes before each pass, and each pass goes through the same tiles.
    """

    def __init__(self, network: _UNets, budget: int = FEATURES_BUDGET) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder
        self._budget = budget
        self._features: dict[int, list[Tensor]] = {}
        self._turn = 0
        self._kept = 0
        self._key: object = None

    def begin(self, key: object) -> None:
        """Start a pass; with another key (other tiles, device or precision) what was encoded is forgotten."""
        self._turn = 0
        if key != self._key:
            self._features.clear()
            self._kept, self._key = 0, key

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(1, modalities, x, y, z)`` to logits ``(1, outputs, x, y, z)``."""
        turn, self._turn = self._turn, self._turn + 1
        features = self._features.get(turn)
        if features is None:
            features = cast(list[Tensor], self.encoder(x))
            size = sum(level.element_size() * level.nelement() for level in features)
            if self._kept + size <= self._budget:
                self._kept += size
                self._features[turn] = features
        return cast(Tensor, self.decoder(features))


def can_share(network: nn.Module, layers: Sequence[tuple[nn.Module, float]]) -> bool:
    """Whether passes differ only after the encoder of a network that is nothing but encoder and decoder."""
    if not isinstance(network, _UNets):
        return False
    encoder = set(network.encoder.modules())
    return not any(module in encoder for module, _ in layers)
