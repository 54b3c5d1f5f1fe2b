"""Real heads with a skull, published masks and transforms: the folder ``longitudinal`` of open_ms_data.

Lesjak et al., "Validation of white-matter lesion change detection methods on a novel publicly available MRI image
database", *Neuroinformatics* 2016 (CC BY; github.com/muschellij2/open_ms_data). Each visit of a patient with multiple
sclerosis has FLAIR, T1W and T2W as they were acquired; T1W and T2W were registered to FLAIR, and FLAIR to a space that
the patient's mask of the brain lies in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_uncseg.arrays import Mask
from napari_uncseg.errors import StudyError
from napari_uncseg.inference.input_checks import LARGEST_ML
from napari_uncseg.io import geometry
from napari_uncseg.io.geometry import voxel_ml
from napari_uncseg.io.nifti import read_volume
from napari_uncseg.preparation.registration import Matrix
from napari_uncseg.preparation.scans import Scan

FLAIR = "FLAIR"
OTHERS = ("T1W", "T2W")


@dataclass(frozen=True, eq=False)
class Visit:
    """What was acquired in one visit, where its files could be read.

    Parameters
    ----------
    name : str
    scans : mapping of str to Scan
        FLAIR, T1W and T2W, or some of them.
    published : mapping of str to ndarray, shape (4, 4)
        Millimetres of FLAIR to those of each scan.
    mask : ndarray of bool, shape (x, y, z)
        The published mask of the brain.
    affine : ndarray, shape (4, 4)
        Voxels of the mask to millimetres of FLAIR.
    """

    name: str
    scans: Mapping[str, Scan]
    published: Mapping[str, Matrix]
    mask: Mask
    affine: Matrix

    def brain(self, sequence: str) -> Mask:
        """The published mask on the grid of a scan."""
        scan = self.scans[sequence]
        there = self.published[sequence] @ self.affine
        mask = geometry.resample(self.mask.astype(np.uint8), there, scan.shape, scan.affine, order="nearest")
        return np.asarray(mask, dtype=bool)


def read_visits(folder: Path) -> Iterator[Visit]:
    """Visits of ``longitudinal``, one after the other.

    A mask that no brain has the size of (that of patient 19 covers the scalp, too) is left out with its visits.

    Raises
    ------
    StudyError
        When the folder holds none.
    """
    masks = sorted(folder.glob("coregistered/*/brainmask.nii.gz"))
    if not masks:
        raise StudyError(f"{folder} holds no coregistered/*/brainmask.nii.gz; name the folder longitudinal.")
    for path in masks:
        volume = read_volume(path)
        mask = np.asarray(volume.values() > 0)
        if float(mask.sum()) * voxel_ml(volume.affine) > LARGEST_ML:
            continue
        patient = path.parent.name
        for visit in ("study1", "study2"):
            stem = folder / "raw" / patient / visit
            scans = {name: _scan(Path(f"{stem}_{name}.nii.gz")) for name in (FLAIR, *OTHERS)}
            there = {name: scan for name, scan in scans.items() if scan is not None}
            if there:
                published = {name: itk_matrix(Path(f"{stem}_{name}_intrastudy_to_FLAIR.txt")) for name in OTHERS}
                to_flair = itk_matrix(Path(f"{stem}_FLAIR_to_common_space.txt"))
                own = {FLAIR: np.eye(4), **published}
                yield Visit(f"{patient} {visit}", there, own, mask, to_flair @ volume.affine)


def _scan(path: Path) -> Scan | None:
    if not path.is_file():
        return None
    volume = read_volume(path)
    return Scan(np.asarray(volume.values(), np.float32), volume.affine, volume.sha256)


def itk_matrix(path: Path) -> Matrix:
    """The matrix of an affine transform of ITK: RAS+ millimetres of the fixed image to those of the moving one."""
    lines = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
    numbers = np.array(lines["Parameters"].split(), dtype=np.float64)
    centre = np.array(lines["FixedParameters"].split(), dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes run to the left and to the back
    return np.asarray(flip @ matrix @ flip)
