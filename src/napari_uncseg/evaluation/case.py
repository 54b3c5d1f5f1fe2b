"""The case: one study's prediction beside its reference, which every metric is fed with."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

from napari_uncseg.arrays import AnyInts, Floats32, Mask, Places
from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.validation import bounded_values, label_map, shaped, upper_bound, voxel_size
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region, region_masks
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.metrics.surface import boundary_shells
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.uncertainty.expected_dice import Estimate, expected_dice_of
from napari_uncseg.uncertainty.prediction_maps import DERIVED, derives

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Case", "case_from_arrays", "case_from_prediction", "upper_bound"]

TUMOUR_MARGIN_MM = 5.0
"""How far beyond tumour, predicted or true, the voxel set ``tumour`` reaches."""

PROBABILITY = "probability"
"""Stands for the probability of the region where the name of a map is asked for."""


def once_per_case(make: Callable[Concatenate[Case, P], T]) -> Callable[Concatenate[Case, P], T]:
    """Keep what a function of a case gives with the case; it is not to be written to."""

    @wraps(make)
    def kept(case: Case, /, *args: P.args, **more: P.kwargs) -> T:
        return case.once((make.__name__, args, *more.items()), lambda: make(case, *args, **more))

    return kept


@dataclass(frozen=True, eq=False)
class Case:
    """A prediction and its reference on one grid.

    Parameters
    ----------
    id : str
        The study's id.
    prediction, reference : ndarray of bool, shape (3, x, y, z)
        WT, TC, ET of the segmentation and of the reference.
    probabilities : ndarray of float32, shape (3, x, y, z), optional
        WT, TC, ET in 0..1.
    maps : mapping of str to ndarray of float32, shape (x, y, z)
        Named maps of WT, see :data:`napari_uncseg.maps.MAPS` (``error`` is no uncertainty and is left
        out); a name with ``-tc`` or ``-et`` is the map of that region.
    brain : ndarray of bool, shape (x, y, z)
        Voxels of the brain.
    spacing : tuple of float
        Voxel size along x, y and z, mm.
    member_count : int
        Passes the probabilities are the mean of; with several, p(1−p) is not their variance.
    brain_known : bool
        Whether ``brain`` is a mask; without one it is the whole volume, and nothing is measured over it.
    expected_dice : mapping of Region to Estimate
        Dice that the prediction tells to expect; empty where it tells none.
    images : ndarray of float32, shape (4, x, y, z), optional
        T1c, T1n, T2f and T2w, where error risk is to learn from them.

    Notes
    -----
    Masks and maps derived from these arrays are computed when they are first asked for and kept with the case.
    """

    id: str
    prediction: Mask
    reference: Mask
    probabilities: Floats32 | None
    maps: Mapping[str, Floats32]
    brain: Mask
    spacing: tuple[float, float, float]
    member_count: int = 1
    brain_known: bool = True
    expected_dice: Mapping[Region, Estimate] = field(default_factory=dict)
    images: Floats32 | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        x, y, z = self.brain.shape
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0

    @cached_property
    def tumour(self) -> Mask:
        """Bool (x, y, z): tumour in prediction or reference, grown by 5 mm."""
        return dilate_mm(self.prediction[0] | self.reference[0], self.spacing, TUMOUR_MARGIN_MM)

    def predicted(self, region: Region) -> Mask:
        """Voxels of a region in the prediction, bool (x, y, z)."""
        return cast(Mask, self.prediction[REGIONS.index(region)])

    def true(self, region: Region) -> Mask:
        """Voxels of a region in the reference, bool (x, y, z)."""
        return cast(Mask, self.reference[REGIONS.index(region)])

    @once_per_case
    def failure(self, region: Region) -> Mask:
        """Voxels of a region where prediction and reference differ, bool (x, y, z)."""
        return self.predicted(region) ^ self.true(region)

    def voxels(self, voxel_set: VoxelSet, region: Region) -> Mask:
        """Voxels of a set of a region, bool (x, y, z); shared with the case and not to be written to."""
        predicted, true = self.predicted(region), self.true(region)
        masks = {VoxelSet.BRAIN: self.brain, VoxelSet.REFERENCE: true, VoxelSet.PREDICTION: predicted}
        if voxel_set in masks:
            return masks[voxel_set]
        if voxel_set is VoxelSet.UNION:
            return predicted | true
        return self.tumour if voxel_set is VoxelSet.TUMOUR else np.ones(self.shape, dtype=bool)

    def indices(self, voxel_set: VoxelSet, region: Region) -> Places:
        """Flat indices (C order) of the voxels of a set, computed once per case; see :meth:`voxels`."""
        whose = None if voxel_set in (VoxelSet.ALL, VoxelSet.BRAIN, VoxelSet.TUMOUR) else region
        return self.once(("voxels", voxel_set, whose), lambda: np.flatnonzero(self.voxels(voxel_set, region)))

    @once_per_case
    def shells(self, region: Region) -> npt.NDArray[np.uint8]:
        """Shells around the boundary of a region in the reference, computed once per case.

        Parameters
        ----------
        region : Region

        Returns
        -------
        ndarray of uint8, shape (x, y, z)
            See :func:`~napari_uncseg.metrics.surface.boundary_shells`; not to be written to.
        """
        return boundary_shells(self.true(region), self.spacing)

    def uncertainties(self, region: Region) -> tuple[str, ...]:
        """Names that :meth:`uncertainty` knows for a region."""
        own = [name.measure for name in map(MapName.parse, self.maps) if name.region is region]
        return tuple(dict.fromkeys((*own, *(str(name) for name in DERIVED if self._derives(name)))))

    def uncertainty(self, name: str, region: Region) -> Floats32:
        """Uncertainty map of a region.

        Parameters
        ----------
        name : str
            One of :meth:`uncertainties`. ``entropy`` and ``variance`` are the stored maps where there are any, else
            computed from the region's probabilities.
        region : Region

        Returns
        -------
        ndarray of float32, shape (x, y, z)
            In 0 to :func:`upper_bound` of the name.

        Raises
        ------
        EvaluationError
            When the case has no such map for the region.
        """
        return self.uncertainty_at(name, region).reshape(self.shape)

    def uncertainty_at(self, name: str, region: Region, voxels: Places | None = None) -> Floats32:
        """Values of :meth:`uncertainty`, or :data:`PROBABILITY`, at voxels (flat indices in C order), float32 (n,)."""
        at = slice(None) if voxels is None else voxels
        stored = self.maps.get(str(MapName(name, region)))
        if stored is not None:
            return stored.ravel()[at]
        if name == PROBABILITY or self._derives(name):
            probability = self.probability(region).ravel()[at]
            return probability if name == PROBABILITY else np.asarray(DERIVED[name](probability), dtype=np.float32)
        known = ", ".join(self.uncertainties(region)) or "none"
        raise EvaluationError(f"Case {self.id} has no map {name!r} for {region} (there is: {known}).")

    def probability(self, region: Region) -> Floats32:
        """Probability of a region, float32 (x, y, z); an :class:`EvaluationError` when the case has none."""
        if self.probabilities is None:
            raise EvaluationError(f"Case {self.id} has no probabilities; leave out metrics that need them.")
        return cast(Floats32, self.probabilities[REGIONS.index(region)])

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Compute something once per case and keep it, so that metrics share distance transforms and histograms.

        The key tells one thing from another, such as ``("failure", region)``; the result is not to be written to.
        """
        if key not in self._kept:
            self._kept[key] = make()
        return cast(T, self._kept[key])

    def _derives(self, name: str) -> bool:
        return self.probabilities is not None and derives(name, self.member_count)


def case_from_prediction(
    prediction: Prediction, reference: AnyInts, *, brain: Mask | None = None, images: Floats32 | None = None
) -> Case:
    """Set a prediction beside a reference.

    Parameters
    ----------
    prediction : Prediction
    reference : ndarray of int, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`, on the prediction's grid.
    brain : ndarray of bool, shape (x, y, z), optional
        Voxels of the brain; the whole volume stands for it when it is not known, and a note says so.
    images : ndarray of float32, shape (4, x, y, z), optional
        T1c, T1n, T2f and T2w, where error risk is to learn from them.

    Returns
    -------
    Case

    Raises
    ------
    EvaluationError
        As :func:`case_from_arrays`.
    """
    case = case_from_arrays(
        prediction.segmentation,
        reference,
        probabilities=prediction.probabilities,
        maps=prediction.maps,
        brain=brain,
        spacing=prediction.spacing,
        id=prediction.study_id,
        member_count=prediction.member_count,
    )
    return replace(case, expected_dice=expected_dice_of(prediction.provenance), images=images)


def case_from_arrays(
    segmentation: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    probabilities: npt.ArrayLike | None = None,
    maps: Mapping[str, npt.ArrayLike] | None = None,
    brain: npt.ArrayLike | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    id: str = "case",  # noqa: A002 - the name of the field
    member_count: int = 1,
) -> Case:
    """Make a case of anyone's arrays.

    Parameters
    ----------
    segmentation, reference : array_like of int, shape (x, y, z)
        Values of :class:`napari_uncseg.labels.Label`: 1 necrosis, 2 oedema, 3 enhancing tumour, 0 elsewhere.
    probabilities : array_like of float, shape (3, x, y, z), optional
        WT, TC, ET in 0..1.
    maps : mapping of str to array_like, shape (x, y, z), optional
        Uncertainty maps of WT by name, from 0 to :func:`upper_bound` of the name: 1 for a name of your own. ``error``
        is left out.
    brain : array_like of bool, shape (x, y, z), optional
        Voxels of the brain; the whole volume stands for it when it is not known, and a note says so.
    spacing : tuple of float
        Voxel size along x, y and z, mm.
    id : str
        The study's id.
    member_count : int
        Passes the probabilities are the mean of.

    Returns
    -------
    Case

    Raises
    ------
    EvaluationError
        When a shape does not fit, a label is none of 0, 1, 2, 3, or a value is not finite or out of bounds.

    Examples
    --------
    >>> import numpy as np
    >>> reference = np.zeros((8, 8, 8), dtype=np.uint8)
    >>> reference[2:6, 2:6, 2:6] = 2
    >>> segmentation = np.roll(reference, 1, axis=0)
    >>> case = case_from_arrays(segmentation, reference)
    >>> int(case.failure(Region.WT).sum())
    32
    """
    shape = np.shape(reference)
    if len(shape) != 3:
        raise EvaluationError(f"Case {id}: the reference has shape {shape}; give a label map of shape (x, y, z).")
    named = {MapName.parse(name): values for name, values in (maps or {}).items()}
    arrays = {
        str(name): bounded_values(values, f"Case {id}: the map {str(name)!r}", shape, name.upper or 1.0)
        for name, values in named.items()
        if name.measure != Measure.ERROR
    }
    regions = (len(REGIONS), *shape)
    return Case(
        id=id,
        prediction=region_masks(label_map(segmentation, f"Case {id}: the segmentation", shape)),
        reference=region_masks(label_map(reference, f"Case {id}: the reference", shape)),
        probabilities=None
        if probabilities is None
        else bounded_values(probabilities, f"Case {id}: the array of probabilities", regions, 1.0),
        maps=arrays,
        brain=np.ones(shape, bool) if brain is None else shaped(brain, f"Case {id}: the brain mask", shape) != 0,
        spacing=voxel_size(spacing, f"Case {id}: the spacing"),
        member_count=member_count,
        brain_known=brain is not None,
    )
