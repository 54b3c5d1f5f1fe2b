"""The device a network runs on, its precision, and what to do when its memory is too small."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TypeVar

import torch

from napari_uncseg.errors import DeviceError, is_out_of_memory

ResultT = TypeVar("ResultT")

SHRINKS = 2
"""How many times tiles are made smaller on a device before it is given up."""


def resolve_device(name: str) -> torch.device:
    """Find the device of a name.

    Parameters
    ----------
    name : str
        ``auto`` (CUDA when there is a usable GPU, else the processor), ``cpu``, ``cuda`` or ``cuda:<number>``.

    Raises
    ------
    DeviceError
        When the name is unknown or the device cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name if name.split(":")[0] in ("cpu", "cuda") else "")
    except RuntimeError as error:
        raise DeviceError(f"There is no device {name!r}; choose auto, cpu, cuda or cuda:<number>.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        what = f"Device {name!r} was asked for, but this PyTorch ({torch.__version__}) finds no usable NVIDIA GPU"
        raise DeviceError(f"{what}; choose 'cpu' or 'auto', or install a driver and a PyTorch built with CUDA.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"There is no {name!r}: there are {torch.cuda.device_count()} GPUs, counted from 0.")
    return device


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware; without it autocast would be slower than float32."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe is not None else False


def precision_of(device: torch.device) -> torch.dtype:
    """Choose what autocast computes in: float16 on CUDA, bfloat16 on a processor that has it, else float32."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if processor_has_bfloat16() else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """Name of a precision for settings: ``bfloat16`` ..."""
    return str(dtype).removeprefix("torch.")


def smaller_tile(tile: tuple[int, ...], divisors: tuple[int, ...]) -> tuple[int, ...] | None:
    """Halve the longest axis of a tile.

    Parameters
    ----------
    tile : tuple of int
        Voxels along each axis.
    divisors : tuple of int
        What each axis must be a multiple of; an axis keeps at least twice that, which instance norm needs.

    Returns
    -------
    tuple of int, or None
        None when no axis can become shorter.
    """
    for axis in sorted(range(len(tile)), key=lambda axis: -tile[axis]):
        unit = divisors[axis]
        half = max(-(-tile[axis] // (2 * unit)) * unit, 2 * unit)
        if half < tile[axis]:
            return (*tile[:axis], half, *tile[axis + 1 :])
    return None


def run_within_memory(
    run: Callable[[torch.device, tuple[int, ...]], ResultT],
    device: torch.device,
    tile: tuple[int, ...],
    divisors: tuple[int, ...],
    notify: Callable[[str], None],
) -> ResultT:
    """Call ``run(device, tile)`` until one call has enough memory.

    Parameters
    ----------
    run : callable
        Does the work; may raise an out-of-memory error.
    device, tile, divisors
        Where to begin: full tiles first, then smaller ones, then the processor in the same way.
    notify : callable
        Told, in a sentence, of every change.

    Raises
    ------
    DeviceError
        When even the smallest tile on the processor does not fit.
    """
    failed, smaller = "", [tile]
    while len(smaller) <= SHRINKS and (half := smaller_tile(smaller[-1], divisors)) is not None:
        smaller.append(half)
    for place, size in product(dict.fromkeys((device, torch.device("cpu"))), smaller):
        what = f"tiles of {'×'.join(map(str, size))} voxels on {place}"
        if failed:
            notify(f"Not enough memory for {failed}; trying {what}.")
        try:
            return run(place, size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # Fall through: the traceback holds the tensors that filled the memory until this block is left.
        if place.type == "cuda":
            torch.cuda.empty_cache()
        failed = what
    raise DeviceError(f"There is not enough memory for {failed}; close other programs or choose a smaller model.")
