"""What networks compute in while they train."""

from __future__ import annotations

import torch

from napari_uncseg.inference.device import precision_of


def training_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """What a step is computed in, and after a gradient that is not finite once more.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    tuple of torch.dtype
        bfloat16 and float32; float32 alone on a processor without bfloat16, which would have to emulate it and be tens
        of times slower. Not float16, whose range is too small for gradients that nobody scales.
    """
    quick = torch.bfloat16 if device.type == "cuda" else precision_of(device)
    return tuple(dict.fromkeys((quick, torch.float32)))


def autocast(device: torch.device, precision: torch.dtype | None = None) -> torch.autocast:
    """Compute in a precision, by default the first of :func:`training_precisions`."""
    chosen = training_precisions(device)[0] if precision is None else precision
    return torch.autocast(device.type, chosen, enabled=chosen != torch.float32)
