"""Which library an array belongs to, so that every formula is written once for numpy and torch.

torch is never imported here: a torch tensor can only arrive after its library was imported by the caller.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_tensor(array: Any) -> bool:
    """Whether ``array`` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(array: Any) -> Any:
    """Find the module that holds the functions (``stack``, ``clip``) for an array.

    Parameters
    ----------
    array : ndarray or torch.Tensor

    Returns
    -------
    module
        ``torch`` for a tensor, ``numpy`` for everything else.
    """
    return sys.modules["torch"] if is_tensor(array) else np


def special(array: Any) -> Any:
    """Find the module of special functions (``xlogy``, ``xlog1py``) for an array."""
    if is_tensor(array):
        return sys.modules["torch"].special
    import scipy.special

    return scipy.special


def at_least_float32(array: Any) -> Any:
    """Bring an array to float32, or leave it in float64 when it already was.

    Half precision has no room for ``p log p`` near 0 and 1, and sums of it overflow.
    """
    xp = namespace(array)
    if not is_tensor(array):
        array = np.asarray(array)
    if array.dtype in (xp.float32, xp.float64):
        return array
    return array.to(xp.float32) if is_tensor(array) else array.astype(np.float32)
