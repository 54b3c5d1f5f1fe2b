"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_uncseg.labels import Coding


class Device(StrEnum):
    """Where a network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Resample = Annotated[bool, typer.Option("--resample", help="Put modalities on another grid onto T1c's.")]
LabelCoding = Annotated[
    Coding | None,
    typer.Option("--coding", help="Label convention of the reference, where the file names leave it open."),
]
ModelFolder = Annotated[Path | None, typer.Option("--model", help="Model folder instead of the bundled one.")]
OnDevice = Annotated[Device, typer.Option("--device", help="auto takes a CUDA device when there is one.")]
Reference = Annotated[Path, typer.Option("--reference", help="Folder of studies, or of expert segmentations.")]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of the studies' images, if not that of the references.")
]


def _picture(path: Path | None) -> Path | None:
    """What a picture may be saved as, for what stands there is replaced; all else is wrong usage."""
    if path is not None and path.suffix.lower() != ".png":
        raise typer.BadParameter(f"{path} is no name of a picture; let it end in .png")
    return path


Screenshot = Annotated[
    Path | None,
    typer.Option(
        "--screenshot", callback=_picture, help="Save a picture of the window here (.png) instead of opening it."
    ),
]
BrainMask = Annotated[
    Path | None, typer.Option("--brain-mask", metavar="FILE", help="Mask of the brain on T1c, of a raw study.")
]
Brain = Annotated[
    str | None, typer.Option("--brain", metavar="hd-bet", help="Find the brain of a raw study with HD-BET.")
]
