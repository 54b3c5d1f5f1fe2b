"""What tests of model files share."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Bomb:
    """A pickle that leaves a file behind when it is executed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)
