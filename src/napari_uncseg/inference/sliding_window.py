"""Running a network over a volume, tile by tile.

Tiles overlap by half, are weighted by a Gaussian and merged on logits in float32, as nnU-Net does; a volume that fits
into one tile is padded with zeros and takes a single pass.

References
----------
Isensee et al., Nature Methods 18 (2021), online methods, "Inference".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product

import torch
from torch import nn

from napari_uncseg.errors import Cancelled, ModelError

SIGMA = 1 / 8
"""Standard deviation of the Gaussian weight, as a fraction of the tile."""


def tile_starts(size: int, tile: int, step: float = 0.5) -> list[int]:
    """First voxel of every tile along one axis.

    Parameters
    ----------
    size : int
        Voxels of the volume, at least ``tile``.
    tile : int
        Voxels of a tile.
    step : float
        Largest distance between tiles, as a fraction of a tile.

    Returns
    -------
    list of int
        Evenly spread, the first tile at the beginning and the last at the end.
    """
    last = size - tile
    if last == 0:
        return [0]
    gaps = -(-last // max(1, int(tile * step)))
    return [round(last * number / gaps) for number in range(gaps + 1)]


def count_tiles(shape: Sequence[int], tile: Sequence[int], step: float = 0.5) -> int:
    """Count the tiles that cover a volume; axes shorter than a tile are padded to it."""
    return math.prod(len(tile_starts(max(size, want), want, step)) for size, want in zip(shape, tile, strict=True))


def gaussian_weight(tile: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Weigh the voxels of a tile: a Gaussian, 1 at the centre, or after it where there is no voxel, as nnU-Net has it.

    Returns
    -------
    torch.Tensor of float32, shape ``tile``
    """
    weight = torch.ones((), dtype=torch.float32, device=device)
    for size in tile:
        distance = torch.arange(size, dtype=torch.float32, device=device) - size // 2
        weight = weight[..., None] * torch.exp(-0.5 * (distance / (size * SIGMA)) ** 2)
    return weight


@contextmanager
def interruptible(network: nn.Module, cancelled: Callable[[], bool] | None) -> Iterator[None]:
    """Make a forward pass stop with :class:`Cancelled` before its next layer once ``cancelled()`` is true."""

    def check(*_: object) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The run was cancelled; nothing was written.")

    leaves = [] if cancelled is None else [module for module in network.modules() if not any(module.children())]
    with ExitStack() as hooks:
        for leaf in leaves:
            hooks.callback(leaf.register_forward_pre_hook(check).remove)
        check()
        yield
        check()


def sliding_window_logits(
    network: nn.Module,
    image: torch.Tensor,
    tile: Sequence[int],
    *,
    step: float = 0.5,
    precision: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> torch.Tensor:
    """Logits of a network for a whole volume.

    Parameters
    ----------
    network : nn.Module
        Takes ``(1, channels, *tile)`` and gives ``(1, outputs, *tile)``; on the device of ``image`` and in eval mode.
    image : torch.Tensor of float32, shape (channels, x, y, z)
    tile : sequence of int
        Voxels of a tile.
    step : float
        Largest distance between neighbouring tiles, as a fraction of a tile.
    precision : torch.dtype
        What autocast computes in; float32 turns it off. Sums are float32 in any case.
    progress : callable, optional
        Called as ``progress(done, tiles)`` before the first and after every tile.
    cancelled : callable, optional
        Asked before every layer of the network.

    Returns
    -------
    torch.Tensor of float32, shape (outputs, x, y, z)
        On the device of ``image``.

    Raises
    ------
    Cancelled
        When ``cancelled()`` became true.
    ModelError
        When the network's output does not fit its input.
    """
    padded, inside = _pad(image, tile)
    starts = [tile_starts(have, want, step) for have, want in zip(padded.shape[1:], tile, strict=True)]
    places = [
        tuple(slice(start, start + length) for start, length in zip(corner, tile, strict=True))
        for corner in product(*starts)
    ]
    weight = gaussian_weight(tile, image.device) if len(places) > 1 else torch.ones((), device=image.device)
    total: torch.Tensor | None = None
    weights = torch.zeros(padded.shape[1:], dtype=torch.float32, device=image.device)
    report = progress or (lambda done, tiles: None)
    report(0, len(places))
    with (
        torch.inference_mode(),
        # The same input gives the same bits: cuDNN must not choose its algorithms by timing them.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        interruptible(network, cancelled),
        torch.autocast(image.device.type, precision, enabled=precision != torch.float32),
    ):
        for done, place in enumerate(places, start=1):
            seen = padded[(slice(None), *place)][None]
            if seen.device.type == "cpu":  # convolutions there take a third less time with the channels last
                seen = seen.contiguous(memory_format=torch.channels_last_3d)
            logits = network(seen)
            if not isinstance(logits, torch.Tensor) or logits.shape[2:] != tuple(tile) or len(logits) != 1:
                raise ModelError("The model's network does not answer with one volume of the size of its input.")
            if total is None:
                total = weights.new_zeros((logits.shape[1], *weights.shape))
            total[(slice(None), *place)] += logits[0].float() * weight
            weights[place] += weight
            report(done, len(places))
        assert total is not None  # there is always a tile
        return total.div_(weights)[(slice(None), *inside)].contiguous()


def _pad(image: torch.Tensor, tile: Sequence[int]) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """Put the image in the middle of zeros, at least as large as a tile, and where it lies in them."""
    missing = [max(0, want - have) for want, have in zip(tile, image.shape[1:], strict=True)]
    before = [count // 2 for count in missing]
    inside = tuple(slice(start, start + have) for start, have in zip(before, image.shape[1:], strict=True))
    if not any(missing):
        return image, inside
    # pad() wants both sides of the last axis first.
    padding = [side for axis in (2, 1, 0) for side in (before[axis], missing[axis] - before[axis])]
    return nn.functional.pad(image, padding), inside
