"""All that a comparison can show of a study and its results, as views of their arrays: nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.errors import StudyError
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import made_by
from napari_uncseg.io.study import Study
from napari_uncseg.labels import LABEL_COLOURS, MODALITIES, MODALITY_TITLES, REGIONS, Label
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.viewer.colormaps import ERROR_COLOURS, ERROR_NAMES, error_kinds, window_level
from napari_uncseg.viewer.orientation import DisplayGrid, display_grid, to_display

Array = npt.NDArray[Any]
Colour = tuple[float, float, float, float]
Window = tuple[float, float]
Point = tuple[float, ...]

SEGMENTATION, REFERENCE, CORRECTED, CHANGE = "segmentation", "reference", "corrected", "change"
"""Keys of overlays that are labels; maps have the names they have on disk."""

_COLOURS: Mapping[int, Colour] = {int(label): colour for label, colour in LABEL_COLOURS.items()}
_NAMES: Mapping[int, str] = {int(label): label.name for label in Label}

ADDED, REMOVED, RELABELLED = 1, 2, 3
CHANGE_NAMES: Mapping[int, str] = {ADDED: "added", REMOVED: "removed", RELABELLED: "other label"}
CHANGE_COLOURS: Mapping[int, Colour] = {
    ADDED: (0.25, 0.75, 0.98, 1.0),
    REMOVED: (0.98, 0.55, 0.20, 1.0),
    RELABELLED: (0.85, 0.85, 0.85, 1.0),
}


@dataclass(frozen=True, eq=False)
class MapOverlay:
    """A map of values from 0.

    Parameters
    ----------
    title : str
        What a reader sees.
    array : ndarray of float, shape (i, p, l)
        Values as displayed.
    upper : float
        Largest possible value.
    unit : str
        Unit of the values.
    colours : str
        Name that :func:`napari_uncseg.viewer.colormaps.map_colormap` knows.
    """

    title: str
    array: Array
    upper: float
    unit: str
    colours: str


@dataclass(frozen=True, eq=False)
class LabelOverlay:
    """A label map, or what differs between two.

    Parameters
    ----------
    title : str
        What a reader sees.
    array : ndarray of int, shape (i, p, l)
        Labels as displayed.
    colours : mapping of int to RGBA
        Colour of each label.
    names : mapping of int to str
        Name of each label.
    before : ndarray of int, shape (i, p, l), optional
        An earlier label map: then the overlay shows what changed since.
    """

    title: str
    array: Array
    colours: Mapping[int, Colour] = field(default_factory=lambda: _COLOURS)
    names: Mapping[int, str] = field(default_factory=lambda: _NAMES)
    before: Array | None = None

    def cut(self, take: Callable[[Array], Array]) -> Array:
        """Labels of a slice; of a comparison with an earlier map, what became of each voxel."""
        labels = take(self.array)
        if self.before is None:
            return labels
        before = take(self.before)
        kinds = ((labels > 0) & (before == 0), (labels == 0) & (before > 0), labels != before)
        return np.select(kinds, (ADDED, REMOVED, RELABELLED)).astype(np.uint8)


Overlay = MapOverlay | LabelOverlay


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """All that can be shown of one study; arrays are views along I, P and L.

    Parameters
    ----------
    study_id : str
        The study's id.
    grid : DisplayGrid
        Where the arrays lie in the world.
    images : mapping of str to ndarray, shape (i, p, l)
        Image of each modality that is there.
    windows : mapping of str to (float, float)
        Intensities that become black and white.
    overlays : mapping of str to MapOverlay or LabelOverlay
        By key: :data:`SEGMENTATION` and its kin, names of maps, ``p(WT)``; maps of further results are called
        ``<method>/<map>``.
    methods : mapping of str to str
        Prefix of a result's overlays ("" for the first result) -> how its probabilities came about.
    notes : tuple of str
        What a caption says about the results, a phrase each.
    box : tuple of slice, optional
        Voxels along I, P and L that a picture is fitted to, those of the brain; all of them if not given.
    """

    study_id: str
    grid: DisplayGrid
    images: Mapping[str, Array]
    windows: Mapping[str, Window]
    overlays: Mapping[str, Overlay]
    methods: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    box: tuple[slice, ...] | None = None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Voxels along I, P and L."""
        arrays = [*self.images.values(), *(overlay.array for overlay in self.overlays.values())]
        return arrays[0].shape

    @cached_property
    def ends(self) -> tuple[tuple[float, float], ...]:
        """Where what a picture is fitted to begins and ends, world millimetres along I, P and L."""
        box = self.box or tuple(slice(0, count) for count in self.shape)
        return tuple(
            (self.world(axis, part.start - 0.5), self.world(axis, part.stop - 0.5)) for axis, part in enumerate(box)
        )

    @property
    def middle(self) -> Point:
        """Centre of what a picture is fitted to, in world millimetres (I, P, L)."""
        return tuple((start + stop) / 2 for start, stop in self.ends)

    def index(self, axis: int, world: float) -> int:
        """Slice that holds a place along an axis; the nearest one for a place outside."""
        return self.clipped(axis, self.grid.index(axis, world))

    def clipped(self, axis: int, index: int) -> int:
        """The nearest slice there is."""
        return min(max(index, 0), self.shape[axis] - 1)

    def world(self, axis: int, index: float) -> float:
        """Place of a slice along an axis, mm."""
        return self.grid.world(axis, index)

    @cached_property
    def best_point(self) -> Point:
        """Where the three slices with the most predicted tumour meet; the middle when nothing was predicted."""
        labels = self.overlays.get(SEGMENTATION)
        return self.grid.heaviest(labels.array > 0) if labels is not None and labels.array.any() else self.middle

    def values_at(self, point: Point) -> dict[str, str]:
        """Values of every segmentation, map and image at a place, by title.

        Parameters
        ----------
        point : tuple of float
            World millimetres (I, P, L).

        Returns
        -------
        dict of str to str
            Empty outside the volume.
        """
        place = tuple(self.grid.index(axis, world) for axis, world in enumerate(point))
        if any(not 0 <= index < size for index, size in zip(place, self.shape, strict=True)):
            return {}
        values: dict[str, str] = {}
        for overlay in self.overlays.values():
            if isinstance(overlay, MapOverlay):
                values[overlay.title] = f"{float(overlay.array[place]):.3f}"
            elif overlay.before is None:
                label = int(overlay.array[place])
                values[overlay.title] = overlay.names.get(label, "–" if label == 0 else str(label))
        return values | {MODALITY_TITLES[name]: f"{float(array[place]):.0f}" for name, array in self.images.items()}


def comparison_data(
    study: Study,
    prediction: Prediction | None,
    *,
    corrected: Array | None = None,
    others: tuple[Prediction, ...] = (),
) -> ComparisonData:
    """What can be shown of a study and its results; no array is copied.

    Parameters
    ----------
    study : Study
        The images, and the reference if there is one.
    prediction : Prediction, optional
        Its result.
    corrected : ndarray of int, shape (x, y, z), optional
        The segmentation as a reviewer corrected it, in the study's own voxel order.
    others : tuple of Prediction
        Results of other methods for the same study.

    Returns
    -------
    ComparisonData

    Raises
    ------
    StudyError
        When a result does not belong to the study or lies on another grid.
    """
    affine = study.affine
    overlays: dict[str, Overlay] = {}
    methods: dict[str, str] = {}
    results = (*([prediction] if prediction is not None else []), *others)
    for result in results:
        _check(study, result)
    if prediction is not None:
        overlays |= prediction_overlays(prediction)
        methods[""] = prediction.method
    if study.reference is not None:
        overlays[REFERENCE] = LabelOverlay("Reference", to_display(study.reference, affine))
    if corrected is not None and prediction is not None:
        array, before = to_display(corrected, affine), to_display(prediction.segmentation, affine)
        overlays[CORRECTED] = LabelOverlay("Corrected segmentation", array)
        overlays[CHANGE] = LabelOverlay("Change by the correction", array, CHANGE_COLOURS, CHANGE_NAMES, before)
    for other in others:
        names = (other.method, *(f"{other.method} ({number})" for number in range(2, len(others) + 1)))
        how = next(name for name in names if name not in methods)
        methods[how] = other.method
        own = prediction_overlays(other, how).items()
        overlays |= {f"{how}/{name}": overlay for name, overlay in own if isinstance(overlay, MapOverlay)}
    images = dict(zip(MODALITIES, study.images, strict=True))
    return ComparisonData(
        study.id,
        display_grid(study.shape, affine),
        {modality: to_display(image, affine) for modality, image in images.items()},
        {modality: window_level(image, study.brain) for modality, image in images.items()},
        overlays,
        methods,
        tuple(made_by(result.provenance) for result in results),
        bounding_box(to_display(study.brain, affine)),
    )


def prediction_overlays(prediction: Prediction, how: str = "") -> dict[str, Overlay]:
    """Overlays of one result: its segmentation, its maps and the probability of each region, titled by the method."""
    affine, after = prediction.affine, f" · {how}" if how else ""
    overlays: dict[str, Overlay] = {
        SEGMENTATION: LabelOverlay("Segmentation", to_display(prediction.segmentation, affine))
    }
    for name, values in prediction.maps.items():
        key, title = MapName.parse(name), prediction.title(name) + after
        if key.measure == Measure.ERROR:
            kinds = to_display(error_kinds(prediction, key), affine)
            overlays[name] = LabelOverlay(title, kinds, ERROR_COLOURS, ERROR_NAMES)
        else:
            overlays[name] = map_overlay(name, title, to_display(values, affine))
    for region, probability in zip(REGIONS, prediction.probabilities, strict=True):
        title, array = f"p({region})", to_display(probability, affine)
        overlays[title] = MapOverlay(title + after, array, 1.0, "probability", Measure.UNC_OUTPUT)
    return overlays


def map_overlay(name: str, title: str, array: Array) -> MapOverlay:
    """Overlay of a named map; ``entropy-et`` is bounded and coloured as ``entropy`` is."""
    named = MapName.parse(name)
    return MapOverlay(title, array, named.upper_of(array), named.unit, named.measure)


def _check(study: Study, prediction: Prediction) -> None:
    if prediction.study_id != study.id:
        raise StudyError(
            f"The result belongs to study {prediction.study_id}, not to {study.id}; choose a result of {study.id}."
        )
    if not same_grid(study.shape, study.affine, prediction.segmentation.shape, prediction.affine):
        raise StudyError(
            f"The result of {study.id} was made on another grid than its images have now; predict it again."
        )
