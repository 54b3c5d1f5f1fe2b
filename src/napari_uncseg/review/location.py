"""Where a finding lies, in words: ``enhancing margin, left, anterior-superior``, along the patient's own axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation

from napari_uncseg.arrays import AnyFloats, Floats64, Mask
from napari_uncseg.labels import Label, Region
from napari_uncseg.metrics.morphology import bounding_box

MIDLINE_MM = 5.0
"""What lies no farther from the middle of the head belongs to neither side."""

CENTRE_MM = 4.0
"""What lies no farther from the tumour's centroid lies in no direction from it."""

_ALSO = 0.5
"""A second direction is given when its distance is at least this fraction of the largest one."""

_WORDS = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
"""What lies along R, A and S, and the other way."""

MARGINS: Mapping[Region, str] = {Region.WT: "tumour margin", Region.TC: "core margin", Region.ET: "enhancing margin"}
"""Outer edge of the whole tumour, border between tumour core and oedema, both sides of the enhancing tumour."""

_TISSUES = {Label.ED: "in oedema", Label.NCR: "in the necrotic core", Label.ET: "in enhancing tumour"}

_CROSSING = 0.1
"""Share of a finding that has to lie on either side of a margin for it to lie on that margin."""

_JUST_MM = 2.0
"""What comes so close to the contour lies just outside."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The patient's axes through the tumour.

    Parameters
    ----------
    steps_mm : ndarray of float, shape (3, 3)
        Millimetres along R, A and S for a step along each voxel axis; one of each row and column is not 0.
    middle_mm : float
        Middle of the head along R.
    centre_mm : ndarray of float, shape (3,), optional
        Centroid of the predicted whole tumour along R, A and S; None without one.

    Notes
    -----
    A voxel axis stands for the anatomical axis that it is nearest to, as in the display: of a tilted scan, directions
    are those of its own rows, columns and slices. Millimetres are counted from the centre of the first voxel.
    """

    steps_mm: Floats64
    middle_mm: float
    centre_mm: Floats64 | None

    def words(self, voxel: Sequence[float]) -> str:
        """Side of the head and direction from the tumour's centroid.

        Parameters
        ----------
        voxel : sequence of float
            Indices in the file's order, fractions allowed.

        Returns
        -------
        str
            Such as ``left, anterior-superior``, of one or two directions; ``midline``, or the side alone, near the
            centroid and without a tumour.
        """
        at = self.steps_mm @ np.asarray(voxel, dtype=float)
        off = float(at[0]) - self.middle_mm
        side = "midline" if abs(off) <= MIDLINE_MM else _WORDS[0][off < 0]
        direction = self._direction(at)
        return f"{side}, {direction}" if direction else side

    def _direction(self, at: Floats64) -> str:
        if self.centre_mm is None:
            return ""
        away = at - self.centre_mm
        if float(np.linalg.norm(away)) <= CENTRE_MM:
            return ""
        reach = np.abs(away)
        named = [axis for axis in np.argsort(-reach, kind="stable")[:2] if reach[axis] >= _ALSO * reach.max()]
        words = [_WORDS[axis][int(away[axis] < 0)] for axis in (1, 2) if axis in named]
        tumour_side = float(self.centre_mm[0]) - self.middle_mm
        if 0 in named and abs(tumour_side) > MIDLINE_MM:  # of a tumour in the middle, the side says it
            words.append("lateral" if away[0] * tumour_side > 0 else "medial")
        return "-".join(words)


def frame_of(affine: AnyFloats, tumour: Mask, brain: Mask | None = None) -> Frame:
    """The patient's axes of a grid.

    Parameters
    ----------
    affine : ndarray of float, shape (4, 4)
        Voxel indices to RAS+ millimetres.
    tumour : ndarray of bool, shape (x, y, z)
        The predicted whole tumour.
    brain : ndarray of bool, shape (x, y, z), optional
        Tells the middle of the head: that of the brain's extent; without it the middle of the volume is taken.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    steps = np.zeros((3, 3))
    for voxel_axis, (axis, flip) in enumerate(io_orientation(affine)):
        steps[int(axis), voxel_axis] = flip * spacing[voxel_axis]
    first, last = np.zeros(3), np.asarray(tumour.shape) - 1.0
    found = bounding_box(brain) if brain is not None else None
    if found is not None:
        first, last = (np.array([getattr(part, end) for part in found], float) for end in ("start", "stop"))
        last -= 1.0
    centre = None
    if tumour.any():
        # Sums along the axes: the indices of all voxels would take gigabytes of a large study.
        counts = [np.count_nonzero(tumour, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        centre = steps @ np.array([float(np.average(np.arange(count.size), weights=count)) for count in counts])
    return Frame(steps, float((steps @ ((first + last) / 2))[0]), centre)


def tissue_words(
    region: Region, inside: float, distance_mm: float, tissues: Mapping[Label, float], *, far: bool = False
) -> str:
    """The margin of a region that a finding lies on, else another margin, else the tissue or the distance.

    Parameters
    ----------
    region : Region
        What the finding's map speaks of; it was predicted somewhere.
    inside : float
        Share of the finding's voxels in the predicted region, 0..1.
    distance_mm : float
        Between the predicted contour and the voxel closest to it.
    tissues : mapping of Label to float
        Share of its voxels that were predicted as each, 0..1; the rest was predicted as no tumour.
    far : bool
        Whether the distance is more than can be measured, and outside.

    Returns
    -------
    str
        Such as ``enhancing margin``, ``in oedema`` or ``4 mm outside TC``.
    """
    if far:
        return f"far from {region}"
    if _CROSSING < inside < 1 - _CROSSING:
        return MARGINS[region]
    if inside < 0.5:
        return f"just outside {region}" if distance_mm < _JUST_MM else f"{distance_mm:.0f} mm outside {region}"
    if _CROSSING < tissues.get(Label.ED, 0.0) < 1 - _CROSSING:
        return MARGINS[Region.TC]
    if min(tissues.get(Label.ET, 0.0), tissues.get(Label.NCR, 0.0)) > _CROSSING:
        return MARGINS[Region.ET]
    return _TISSUES[max(_TISSUES, key=lambda label: tissues.get(label, 0.0))]
