"""Where a network may be asked to run, in words. Needs no torch."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """Where a network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
