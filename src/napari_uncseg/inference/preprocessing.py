"""From a study to what a network sees, and back: crop to the brain, turn, normalise, resample.

The order is nnU-Net's (crop, normalise, resample). What comes back onto the study's grid are logits, never
probabilities.

References
----------
Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
Nature Methods 18 (2021): cropping, z-score and resampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from napari_uncseg.arrays import Floats64
from napari_uncseg.errors import ModelError, StudyError
from napari_uncseg.inference.resampling import resample, resampled_shape
from napari_uncseg.io.study import Study, z_scores
from napari_uncseg.labels import MODALITIES, REGIONS
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.models.unet import tile_divisors

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True)
class InputPlan:
    """What a network expects of its input, read from nnU-Net's plans.

    Parameters
    ----------
    patch_size : tuple of int
        Voxels of one tile.
    spacing : tuple of float
        Voxel size in mm, on the axes of ``orientation``.
    orientation : str or None
        Where the axes point, as in ``"RAS"``; None keeps the study's own axes.
    masked : tuple of bool
        Per modality: whether the z-score is taken in the brain alone and the rest set to 0.
    divisors : tuple of int
        What the sides of a tile must be multiples of (the product of the network's strides).
    stage_weights : tuple of float
        Of the second stage of a cascade: its share in the probability of WT, TC and ET where both stages look, 0..1;
        the previous stage has the rest.
    """

    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    orientation: str | None
    masked: tuple[bool, ...]
    divisors: tuple[int, ...]
    stage_weights: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def from_plans(cls, plans: Mapping[str, Any]) -> InputPlan:
        """Read the plan; ModelError when it asks for something that is not done here."""
        try:
            configuration = plans["configurations"]["3d_fullres"]
            patch_size = tuple(int(size) for size in configuration["patch_size"])
            spacing = tuple(float(size) for size in configuration["spacing"])
            schemes = tuple(configuration["normalization_schemes"])
            masked = tuple(bool(use) for use in configuration["use_mask_for_norm"])
            own = plans.get("uncseg", {})
            orientation, weights = own.get("orientation"), own.get("stage_weights", {})
            stage_weights = tuple(float(weights.get(region, 1.0)) for region in REGIONS)
            divisors = tile_divisors(configuration)
            if len(patch_size) != 3 or len(spacing) != 3 or min(patch_size) < 1 or not min(spacing) > 0:
                raise ValueError("patch_size and spacing")
            if not all(0 <= weight <= 1 for weight in stage_weights):
                raise ValueError("stage_weights")
            if orientation is not None:
                _directions(orientation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"The model's plans.json does not say how to prepare its input ({error}).") from error
        if any(size % unit for size, unit in zip(patch_size, divisors, strict=True)):
            size, unit = (" × ".join(map(str, sides)) for sides in (patch_size, divisors))
            raise ModelError(
                f"The model's plans.json asks for patches of {size} voxels, which are no multiples of {unit}, as its "
                "network needs them; correct patch_size."
            )
        if len(schemes) != len(MODALITIES) or set(schemes) != {"ZScoreNormalization"} or len(masked) != len(schemes):
            what = f"The model's plans.json asks for the normalisation {', '.join(map(str, schemes))}"
            raise ModelError(f"{what}; only ZScoreNormalization of each of {', '.join(MODALITIES)} is known here.")
        return cls(patch_size, spacing, orientation, masked, divisors, stage_weights)


@dataclass(frozen=True)
class BrainCrop:
    """The part of a study that a network works on: the brain's bounding box, on the network's axes.

    Parameters
    ----------
    study_shape : tuple of int
        Voxels of the study.
    box : tuple of slice
        The brain's bounding box on the study's grid.
    axes : tuple of int
        The study's axis behind each axis of the network's grid.
    flips : tuple of bool
        Whether an axis of the network's grid runs against the study's.
    shape : tuple of int
        Voxels of the box, on the network's axes.
    network_shape : tuple of int
        Voxels of the network's grid over the box.
    """

    study_shape: tuple[int, ...]
    box: tuple[slice, ...]
    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    shape: tuple[int, ...]
    network_shape: tuple[int, ...]

    def take(self, volumes: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """Box of volumes ``(..., x, y, z)`` on the study's grid, turned to the network's axes; a view."""
        x, y, z = self.box
        lead = volumes.ndim - 3
        crop = volumes[..., x, y, z].transpose(*range(lead), *(lead + axis for axis in self.axes))
        return self._flip(crop)

    def put_back(self, volumes: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """Volumes ``(..., *shape)`` on the network's axes, put back on the study's grid; 0 outside the box."""
        lead = volumes.ndim - 3
        turned = self._flip(volumes).transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(self.axes)))
        whole = np.zeros((*volumes.shape[:lead], *self.study_shape), dtype=volumes.dtype)
        x, y, z = self.box
        whole[..., x, y, z] = turned
        return whole

    def _flip(self, volumes: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        x, y, z = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return volumes[..., x, y, z]


def brain_crop(study: Study, plan: InputPlan) -> BrainCrop:
    """The part of a study that a network of this plan works on.

    Raises
    ------
    StudyError
        When the study's brain mask is empty.
    """
    box = bounding_box(study.brain)
    if box is None:
        raise StudyError(f"Study {study.id} has no brain to segment: its brain mask is empty.")
    axes, flips = _turn(study.affine, plan.orientation)
    shape = tuple(box[axis].stop - box[axis].start for axis in axes)
    spacing = tuple(study.spacing[axis] for axis in axes)
    return BrainCrop(study.shape, box, axes, flips, shape, resampled_shape(shape, spacing, plan.spacing))


def network_input(study: Study, plan: InputPlan, crop: BrainCrop) -> torch.Tensor:
    """Prepare what the network sees of a study.

    Parameters
    ----------
    study : Study
    plan : InputPlan
    crop : BrainCrop
        Of this study and plan.

    Returns
    -------
    torch.Tensor of float32, shape (4, *crop.network_shape)
        z-scores in the order t1c, t1n, t2f, t2w, on the processor.
    """
    brain = crop.take(study.brain)
    images = np.empty((len(study.images), *crop.shape), dtype=np.float32)
    for image, raw, masked in zip(images, crop.take(study.images), plan.masked, strict=True):
        image[...] = z_scores(raw, brain if masked else None)
    return resample(torch.from_numpy(images), crop.network_shape)


def turned(volumes: torch.Tensor, crop: BrainCrop, onto: BrainCrop) -> torch.Tensor:
    """Volumes ``(channels, *crop.shape)`` of a study on the axes of another crop of the same study.

    Returns
    -------
    torch.Tensor, shape (channels, *onto.shape)
        Contiguous; ``volumes`` itself when both crops have the same axes.
    """
    if (crop.axes, crop.flips) == (onto.axes, onto.flips):
        return volumes
    volumes = volumes.flip([1 + axis for axis, flip in enumerate(crop.flips) if flip])
    volumes = volumes.permute(0, *(1 + crop.axes.index(axis) for axis in onto.axes))
    return volumes.flip([1 + axis for axis, flip in enumerate(onto.flips) if flip]).contiguous()


def _directions(orientation: str) -> Floats64:
    """World axis and sign of each axis of an orientation such as ``RAS``, shape (3, 2)."""
    directions: Floats64 = axcodes2ornt(tuple(orientation))
    if sorted(directions[:, 0]) != [0, 1, 2]:
        raise ValueError(f"orientation {orientation}")
    return directions


def _turn(affine: Floats64, orientation: str | None) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Study axis and direction behind each axis of an orientation, taking the closest axes of an oblique grid."""
    if orientation is None:
        return (0, 1, 2), (False, False, False)
    turn = ornt_transform(_directions(orientation), io_orientation(affine))
    return tuple(int(axis) for axis in turn[:, 0]), tuple(bool(way < 0) for way in turn[:, 1])
