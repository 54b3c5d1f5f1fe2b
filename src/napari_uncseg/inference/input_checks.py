"""A glance at a study before a network runs: what is wrong with it although its files are sound.

Each check gives reasons for a review, and never stops a run. Bounds were set on skull-stripped gliomas of several
hospitals so that hardly one of them raises an alarm; ``uncseg_training.experiments.input_checks`` measures both that
and how many faults are found. All but the thickness of slices is looked for on voxels of about 3 mm.

References
----------
Haber and Modersitzki, "Intensity gradient based registration and fusion of multi-modal images", MICCAI 2006:
normalised gradient fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
from scipy import ndimage

from napari_uncseg.arrays import Array, Floats32, Floats64, Mask
from napari_uncseg.inference.familiar import unfamiliar
from napari_uncseg.io.brain import SKULL
from napari_uncseg.io.study import Study
from napari_uncseg.labels import MODALITIES, MODALITY_TITLES
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.uncertainty.needs_review import Reason

COARSE_MM = 3.0
"""Voxel size of the glance, about."""

EDGE_MM = 6.0
"""Depth of the brain's rind that is left out: what stripping left there is no tissue."""

CSF_SHARE = 0.06
"""Share of the brain that is darkest in T1n and taken for CSF."""

SWAPPED_T2, SWAPPED_T1 = -0.1, -0.2
"""Below these T2w and FLAIR, and T1c and T1n, look swapped; both are above 0 in every study the bounds were set on."""

SAME_IMAGE = 0.985
"""Correlation above which two modalities are one image."""

SHIFT_MM, TURN_DEGREES = 3.0, 1.5
"""Estimated displacement above which two modalities do not lie on one another; turns are estimated too small."""

POINTS = 8000

THICK = 0.125
"""Curvature over slope along an axis, below which slices are thicker than those the network learned from."""

_FEW_BLOCKS = 1000
"""Of fewer coarse voxels nothing is said but of what they are missing."""

MISSING = 0.03
"""Share of the brain in one piece in which a modality may be constant."""

SMALLEST_ML, LARGEST_ML = 800.0, 2100.0
"""Brains outside of these are cut off, of no adult, or have no millimetres."""


def check_input(study: Study) -> list[Reason]:
    """Reasons to look at a study before its segmentation is trusted; none when nothing strikes the eye.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of Reason
        Codes ``registration_failed`` (of a prepared study), ``brain_size``, ``skull``, ``incomplete_modality``,
        ``same_image_twice``, ``modalities_swapped``, ``not_registered``, ``thick_slices``, ``unfamiliar_input``.
    """
    if not study.brain.any():
        return []
    glance = Glance.of(study)
    found = [*_preparation(study), *_brain_size(study), *_skull(study), *_incomplete(glance)]
    if found and found[-1].code == "incomplete_modality":
        return found  # what follows would speak of the part that is missing
    if int(glance.brain.sum()) > _FEW_BLOCKS:
        found += _same_image(glance)
    if int(glance.inner.sum()) > _FEW_BLOCKS:
        found += [*_swapped(glance), *_displaced(glance), *_thick_slices(study)]
        # Images in one another's places are unusual for that reason.
        misplaced = {reason.code for reason in found} & {"same_image_twice", "modalities_swapped"}
        found += [] if misplaced else [*_unfamiliar(study, glance)]
    return found


@dataclass(frozen=True, eq=False)
class Glance:
    """A study on coarse voxels.

    Parameters
    ----------
    images : ndarray of float32, shape (4, x, y, z)
        Means over blocks of voxels.
    flat : ndarray of bool, shape (4, x, y, z)
        Blocks in which, and in the next of which, an image is constant.
    brain, inner : ndarray of bool, shape (x, y, z)
        Blocks that lie in the brain as a whole, and those away from its surface.
    spacing : ndarray of float, shape (3,)
        mm.
    """

    images: Floats32
    flat: Mask
    brain: Mask
    inner: Mask
    spacing: Floats64

    @classmethod
    def of(cls, study: Study) -> Glance:
        """Look at a study from afar."""
        factors = [max(1, round(COARSE_MM / side)) for side in study.spacing]
        spacing = np.array(study.spacing) * factors
        box = bounding_box(study.brain)
        assert box is not None  # the caller has seen that there is a brain
        means, flat = [], []
        for image in study.images:
            means.append(_over_blocks(np.add, image[box], factors) / np.float32(np.prod(factors)))
            high, low = (_over_blocks(combine, image[box], factors) for combine in (np.maximum, np.minimum))
            # Over neighbours as well: where a block is one voxel, it would always be constant.
            flat.append(ndimage.maximum_filter(high, 2) == ndimage.minimum_filter(low, 2))
        images: Floats32 = np.stack(means).astype(np.float32)
        brain = _over_blocks(np.logical_and, study.brain[box], factors)
        depth = [max(1, round(EDGE_MM / side)) for side in spacing]
        inner = ndimage.minimum_filter(brain, [2 * each + 1 for each in depth], mode="constant")
        return cls(images, np.stack(flat), brain, inner, spacing)


def _over_blocks(combine: Callable[[Any, Any], Any], volume: Array, factors: list[int]) -> Array:
    """Combine the voxels of each block; what does not fill one at the end is left out."""
    for axis, factor in enumerate(factors):
        along = np.moveaxis(volume, axis, 0)[: volume.shape[axis] // factor * factor]
        volume = np.moveaxis(reduce(combine, [along[first::factor] for first in range(factor)]), 0, axis)
    return volume


def _preparation(study: Study) -> Iterator[Reason]:
    """What went wrong when the study was made of raw images."""
    for reason in (study.preparation or {}).get("needs_review") or ():
        yield Reason(str(reason.get("code")), str(reason.get("text")))


def _brain_size(study: Study) -> Iterator[Reason]:
    size = float(np.count_nonzero(study.brain)) * study.voxel_ml
    if not SMALLEST_ML <= size <= LARGEST_ML:
        yield Reason.of("brain_size", size=size)


def _skull(study: Study) -> Iterator[Reason]:
    if study.has_skull:
        yield Reason("skull", SKULL)


def _incomplete(glance: Glance) -> Iterator[Reason]:
    for modality, flat in zip(MODALITIES, glance.flat, strict=True):
        pieces, number = ndimage.label(flat & glance.brain)
        share = np.bincount(pieces[pieces > 0]).max() / glance.brain.sum() if number else 0.0
        if share > MISSING:
            yield Reason.of("incomplete_modality", title=MODALITY_TITLES[modality], share=share)


def _same_image(glance: Glance) -> Iterator[Reason]:
    correlations = np.corrcoef([image[glance.brain] for image in glance.images])
    for first, second in combinations(range(len(MODALITIES)), 2):
        if correlations[first, second] > SAME_IMAGE:
            titles = " and ".join(MODALITY_TITLES[MODALITIES[index]] for index in (first, second))
            yield Reason.of("same_image_twice", titles=titles)


def _swapped(glance: Glance) -> Iterator[Reason]:
    t2, t1 = swap_scores(glance)
    if t2 < SWAPPED_T2:
        why = "CSF is dark in T2w and bright in FLAIR"
        yield Reason.of("modalities_swapped", titles="FLAIR and T2w", why=why)
    if t1 < SWAPPED_T1:
        yield Reason.of("modalities_swapped", titles="T1c and T1n", why="T1n enhances more than T1c")


def swap_scores(glance: Glance) -> tuple[float, float]:
    """How much CSF is brighter in T2w than in FLAIR, by rank, and how much T1c enhances over T1n.

    Returns
    -------
    t2 : float
        Difference of the median ranks of CSF, -1..1; changes its sign when the two are swapped.
    t1 : float
        Logarithm of the upper over the lower tail of the difference; changes its sign when the two are swapped.
    """
    t1c, t1n, t2f, t2w = (image[glance.inner] for image in glance.images)
    csf = _ranks(t1n) < CSF_SHARE
    t2 = float(np.median(_ranks(t2w)[csf]) - np.median(_ranks(t2f)[csf]))
    low, middle, high = np.percentile(_scaled(t1c) - _scaled(t1n), (0.2, 50, 99.8))
    return t2, float(np.log(max(high - middle, 1e-6) / max(middle - low, 1e-6)))


def _ranks(values: Floats32) -> Floats64:
    return np.asarray(values.argsort(kind="stable").argsort(kind="stable") / len(values))


def _scaled(values: Floats32) -> Floats32:
    low, middle, high = np.percentile(values, (16, 50, 84))
    scaled: Floats32 = (values - np.float32(middle)) / np.float32(max(high - low, 1e-6))
    return scaled


def _displaced(glance: Glance) -> Iterator[Reason]:
    for index, modality in enumerate(MODALITIES[1:], start=1):
        shift, turn = displacement(glance, index)
        if shift > SHIFT_MM or turn > TURN_DEGREES:
            yield Reason.of("not_registered", title=MODALITY_TITLES[modality], shift=shift, turn=turn)


def displacement(glance: Glance, index: int) -> tuple[float, float]:
    """How far a modality lies off T1c: mm and degrees, by the gradients that both share.

    Two steps of a search for the maximum along each translation and rotation, through three points.
    """
    fixed, moving = (_gradients(glance.images[each], glance) for each in (0, index))
    voxels = np.argwhere(glance.inner)
    points: Floats64 = voxels[:: max(1, len(voxels) // POINTS)] * glance.spacing
    centre = points.mean(0)
    here = _sampled(fixed, points, glance.spacing)
    found = np.zeros(6)
    for reach in (5.0, 3.0):
        middle, ends = _alike(here, moving, points, centre, found, glance.spacing), np.zeros(6)
        for axis in range(6):
            step = np.eye(6)[axis] * reach
            low, high = (_alike(here, moving, points, centre, found + sign * step, glance.spacing) for sign in (-1, 1))
            bend = low - 2 * middle + high
            top = reach * (low - high) / (2 * bend) if bend < 0 else np.copysign(reach, high - low)
            ends[axis] = np.clip(top, -reach, reach)
        found += ends
    return float(np.linalg.norm(found[:3])), float(np.linalg.norm(found[3:]))


def _gradients(image: Floats32, glance: Glance) -> Floats32:
    """Gradients of about unit length where they stand out, shape (3, x, y, z)."""
    along: Any = np.gradient(image, *glance.spacing)
    gradients = np.stack(along)
    square = (gradients**2).sum(0)
    least = max(float(np.median(square[glance.brain])), 1e-12)
    field: Floats32 = (gradients / np.sqrt(square + least)).astype(np.float32)
    return field


def _sampled(field: Floats32, places: Floats64, spacing: Floats64) -> Floats64:
    """A field at places in mm, linear between voxels, shape (3, n)."""
    voxels = (places / spacing).T
    values: Any = [ndimage.map_coordinates(each, voxels, order=1, mode="nearest") for each in field]
    return np.asarray(values)


def _alike(
    here: Floats64, moving: Floats32, points: Floats64, centre: Floats64, move: Floats64, spacing: Floats64
) -> float:
    """Mean squared cosine between gradients, with the second image moved by mm and degrees."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", move[3:], degrees=True).as_matrix()
    there = turn.T @ _sampled(moving, (points - centre) @ turn.T + centre + move[:3], spacing)
    return float(((here * there).sum(0) ** 2).mean())


def _thick_slices(study: Study) -> Iterator[Reason]:
    for modality, image in zip(MODALITIES, study.images, strict=True):
        if min(curvature(image, study.brain, axis, study.spacing[axis]) for axis in range(3)) < THICK:
            yield Reason.of("thick_slices", title=MODALITY_TITLES[modality])


def _unfamiliar(study: Study, glance: Glance) -> Iterator[Reason]:
    for titles, what in unfamiliar(study, glance.images, glance.brain):
        yield Reason.of("unfamiliar_input", titles=titles, what=what)


def curvature(image: Floats32, brain: Mask, axis: int, spacing: float) -> float:
    """Second over first differences over 1 mm along an axis: 0.6 to 0.9 of thin slices, the less the thicker they were.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
    brain : ndarray of bool, shape (x, y, z)
    axis : int
    spacing : float
        Voxel size along the axis, mm.
    """
    others = [slice(None, None, 3)] * 3
    others[axis] = slice(None)
    values, inside = np.moveaxis(image[tuple(others)], axis, 0), np.moveaxis(brain[tuple(others)], axis, 0)
    lag = max(1, round(1 / spacing))
    before, at, after = (slice(None, -2 * lag), slice(lag, -lag), slice(2 * lag, None))
    within = inside[before] & inside[at] & inside[after]
    slope = float(np.abs(values[after] - values[before])[within].mean(dtype=np.float64)) if within.any() else 0.0
    if slope == 0:
        return 1.0
    return float(np.abs(values[after] - 2 * values[at] + values[before])[within].mean(dtype=np.float64)) / slope
