"""Checkpoints as data: tensors and plain values, and nothing that would have to be executed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_uncseg.errors import ModelError, reason_of

_SAFE: tuple[Any, ...] = (
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
)
"""What a checkpoint holds besides tensors and plain values: the numbers of a training's log."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a ``.pth`` or ``.pt`` file without executing anything in it.

    Parameters
    ----------
    path : path
        Written by ``torch.save``: a dictionary.

    Returns
    -------
    dict
        Tensors on the processor.

    Raises
    ------
    ModelError
        When it holds anything but tensors, plain values and numpy's float scalars, or is damaged.
    """
    try:
        with torch.serialization.safe_globals(list(_SAFE)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks for {asked[1]}" if asked else "is damaged or no checkpoint"
        raise ModelError(f"{path} {what}; it was not opened, for a pickle could run any program.") from error
    except MemoryError:
        raise
    except Exception as error:  # what PyTorch raises depends on the bytes that it finds
        raise ModelError(f"{path} cannot be read as a checkpoint ({reason_of(error)}); copy it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, not weights by name.")
    return content


def plain_weights(weights: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Weights by name, without what compiling or spreading over processes put before the names.

    Raises
    ------
    ModelError
        When they are not all tensors.
    """
    plain = {re.sub(r"^(module\.|_orig_mod\.)+", "", str(key)): value for key, value in weights.items()}
    if not all(isinstance(value, Tensor) for value in plain.values()):
        raise ModelError(f"{path} holds something else than tensors among its weights.")
    return plain
