"""Where the brain is in images with a skull: a mask by a user, by an installed tool, or by the bundled network."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.errors import NoBrainMask
from napari_uncseg.inference.input_checks import LARGEST_ML, SMALLEST_ML
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import Affine, three, voxel_ml
from napari_uncseg.io.nifti import read_volume, write_volume

Extractor = Callable[[Floats32, Affine, Sequence[Mask] | None], Mask]
"""Finds the brain: images (n, x, y, z) of which T1c is the first, affine, and what each reaches; a mask comes out."""


BUNDLED = Path(__file__).parents[1] / "models" / "bundled_brain" / "brain.safetensors"
"""Weights of the network that comes with the package."""


class Method(StrEnum):
    """How the brain is found when nobody gives a mask."""

    AUTO = "auto"
    HD_BET = "hd-bet"


def find_extractor(method: Method) -> Extractor:
    """What finds the brain: HD-BET, or the network of :mod:`napari_uncseg.preparation.brain_network`.

    Raises
    ------
    NoBrainMask
        When what was asked for is not installed.
    ModelError
        When the bundled network is damaged.
    """
    if method is Method.HD_BET:
        if shutil.which("hd-bet") is None:
            raise NoBrainMask("HD-BET is not installed; install it (pip install hd-bet), or give --brain-mask FILE.")
        return _hd_bet
    from napari_uncseg.preparation.brain_network import load_brain_network

    return load_brain_network().find


def read_mask(path: Path, shape: tuple[int, int, int], affine: Affine) -> Mask:
    """A user's mask on the grid of T1c.

    Raises
    ------
    StudyError
        When the file cannot be read.
    NoBrainMask
        When it lies elsewhere, or is no mask of a brain.
    """
    volume = read_volume(path)
    drawn = (volume.values() > 0).astype(np.uint8)
    mask = np.asarray(geometry.resample(drawn, volume.affine, three(shape), affine, order="nearest"), dtype=bool)
    return check_mask(mask, affine, str(path))


def check_mask(mask: Mask, affine: Affine, what: str) -> Mask:
    """A mask that may be one of a brain, by its size.

    Raises
    ------
    NoBrainMask
    """
    size = float(np.count_nonzero(mask)) * voxel_ml(affine)
    if not SMALLEST_ML / 2 <= size <= LARGEST_ML * 1.2:
        raise NoBrainMask(f"{what} covers {size:.0f} mL of T1c, which no brain does; give another mask.")
    return mask


def _hd_bet(images: Floats32, affine: Affine, covered: Sequence[Mask] | None = None) -> Mask:
    """The mask of HD-BET (Isensee et al. 2019, doi 10.1002/hbm.24750) in the first image, run as its command."""
    with tempfile.TemporaryDirectory(prefix="uncseg-") as folder:
        source, target = Path(folder, "t1c.nii.gz"), Path(folder, "brain.nii.gz")
        write_volume(source, images[0], affine)
        words = ["hd-bet", "-i", str(source), "-o", str(target), "-device", "cpu", "--disable_tta", "--save_bet_mask"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        masks = sorted(Path(folder).glob("*bet.nii.gz")) + sorted(Path(folder).glob("*mask.nii.gz"))
        if done.returncode or not masks:
            reason = next(iter(reversed(done.stderr.strip().splitlines())), "no reason given")
            raise NoBrainMask(f"HD-BET failed ({reason}); run it by hand and give its mask with --brain-mask FILE.")
        return check_mask(read_volume(masks[0]).values() > 0, affine, "The mask of HD-BET")
