"""MONAI's networks, built from plans. MONAI is an extra: it is imported only when one of them is asked for.

References
----------
SegResNet: Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018.
UNet with residual units: Kerfoot et al., "Left-ventricle quantification using residual U-Net", STACOM 2018.
SwinUNETR: Hatamizadeh et al., "Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI images",
BrainLes 2021.
"""

from __future__ import annotations

import importlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, cast

from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.io.geometry import three

PREFIX = "monai.networks.nets."
"""Begins the ``network_class_name`` of such networks in plans."""

KNOWN: Mapping[str, Any] = tomllib.loads(files(__package__).joinpath("monai.toml").read_text(encoding="utf-8"))
"""What is known of MONAI: ``networks`` and their arguments, public ``bundles``, and what ``channels`` are called."""


def is_monai(path: str) -> bool:
    """Whether a ``network_class_name`` is that of a network of MONAI."""
    return path.startswith("monai.")


def build_monai(name: str, kwargs: Mapping[str, Any], inputs: int, outputs: int) -> nn.Module:
    """One of MONAI's networks in 3-D, with fresh weights.

    Parameters
    ----------
    name : str
        ``SegResNet``, ``UNet`` or ``SwinUNETR``.
    kwargs : mapping
        ``arch_kwargs`` of the plans: MONAI's own arguments without the number of axes and channels.
    inputs, outputs : int
        Number of modalities and of output channels.

    Raises
    ------
    ModelError
        When MONAI is not installed, or the arguments do not describe such a network.
    """
    _check(name, kwargs)
    try:
        nets = importlib.import_module("monai.networks.nets")
        if name == "SwinUNETR":
            importlib.import_module("einops")  # MONAI asks for it only when the network runs
    except ImportError as error:
        what = f"The network is MONAI's {name}, which needs {(error.name or 'monai').partition('.')[0]}"
        raise ModelError(f'{what}; install it with: pip install ".[monai]" in the folder of the clone.') from error
    try:
        return cast(nn.Module, getattr(nets, name)(spatial_dims=3, in_channels=inputs, out_channels=outputs, **kwargs))
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, NotImplementedError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"The plans do not describe a {name} that MONAI can build ({what}).") from error


def monai_divisors(name: str, kwargs: Mapping[str, Any]) -> tuple[int, int, int]:
    """What the sides of a tile must be multiples of, along x, y and z.

    Raises
    ------
    ModelError
        When the network or one of its arguments is not known.
    TypeError, ValueError
        When an argument is not what it should be.
    """
    _check(name, kwargs)
    if name == "SegResNet":
        return product_of([2] * (len(kwargs.get("blocks_down", (1, 2, 2, 4))) - 1))
    return product_of([int(kwargs.get("patch_size", 2))] * 5 if name == "SwinUNETR" else kwargs["strides"])


def product_of(strides: Sequence[int | Sequence[int]]) -> tuple[int, int, int]:
    """Product of the strides of all levels along x, y and z; those of a level may be told by one number."""
    levels = [[stride] * 3 if isinstance(stride, int) else list(stride) for stride in strides]
    return three(math.prod(int(level[axis]) for level in levels) for axis in range(3))


def _check(name: str, kwargs: Mapping[str, Any]) -> None:
    if name not in KNOWN["networks"]:
        raise ModelError(f"The plans ask for MONAI's {name}; known are {', '.join(KNOWN['networks'])}.")
    unknown = sorted(set(kwargs) - set(KNOWN["networks"][name]["arguments"]))
    if unknown:
        raise ModelError(f"The plans give MONAI's {name} the argument {unknown[0]}, which is not known here.")
