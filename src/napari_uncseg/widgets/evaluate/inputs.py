"""What an evaluation needs, looked up in the viewer: a result, and a reference that lies on its grid."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import sha256
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import is_own_segmentation
from napari_uncseg.io.study import Source
from napari_uncseg.viewer.tags import KEY, Plain, open_predictions, open_studies, tagged
from napari_uncseg.viewer.volumes import layer_volume

NOTHING_OPEN = (
    "No study is open: open a study folder with its expert segmentation, then run Segment with uncertainty or open the "
    "folder that uncseg predict wrote for it."
)


@dataclass(frozen=True, eq=False)
class Reference:
    """An expert segmentation that is open in the viewer.

    Parameters
    ----------
    title : str
        What the user reads.
    layer : napari.layers.Labels
        Where it is shown.
    labels : ndarray of int, shape (x, y, z)
        Its values in the voxel order of the study: a view of what the layer shows.
    decoded : bool
        Whether the values are those of :class:`napari_uncseg.labels.Label` already; False for a file opened by itself.
    certain : bool
        Whether it belongs to the study for all that is known; else the user has to choose it.
    source : Source, optional
        The file it was read from.
    """

    title: str
    layer: Labels
    labels: npt.NDArray[np.integer]
    decoded: bool
    certain: bool
    source: Source | None = None


class Stamp(NamedTuple):
    """What a result was taken from; equal when nothing of it is another.

    Parameters
    ----------
    prediction : weakref.ref of Prediction
        A new run makes a new one.
    segmentation, reference : str
        sha256 of the labels: they may be painted on.
    brain : bool
        Whether the brain was known.
    """

    prediction: weakref.ref[Prediction]
    segmentation: str
    reference: str
    brain: bool


@dataclass(frozen=True, eq=False)
class Inputs:
    """One study's result and reference, in the study's own voxel order.

    Parameters
    ----------
    prediction : Prediction
    segmentation : ndarray of uint8, shape (x, y, z)
        Labels of the prediction as they stand in the viewer.
    reference : ndarray of int, shape (x, y, z)
    origin : Reference
        Where the reference comes from.
    brain : ndarray of bool, shape (x, y, z), optional
        Voxels of the brain; None while the images of the study are not open.
    """

    prediction: Prediction
    segmentation: npt.NDArray[np.integer]
    reference: npt.NDArray[np.integer]
    origin: Reference
    brain: npt.NDArray[np.bool_] | None

    @property
    def stamp(self) -> Stamp:
        """What tells whether these are still the same."""
        segmentation, reference = (
            sha256(np.ascontiguousarray(each).data) for each in (self.segmentation, self.reference)
        )
        return Stamp(weakref.ref(self.prediction), segmentation, reference, self.brain is not None)

    def snapshot(self) -> Inputs:
        """The same with labels of its own, which nobody paints on while they are evaluated."""
        return replace(self, segmentation=self.segmentation.copy(), reference=self.reference.copy())


def study_ids(viewer: napari.viewer.Viewer) -> list[str]:
    """Studies of which images or a result are open, in the order they were opened."""
    return list(dict.fromkeys([*open_studies(viewer), *open_predictions(viewer)]))


def references_of(viewer: napari.viewer.Viewer, study_id: str) -> list[Reference]:
    """References that lie on the grid of a study's result: its own first, then files that were opened by themselves.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    study_id : str

    Returns
    -------
    list of Reference
        Empty when the study has no result.
    """
    prediction = open_predictions(viewer).get(study_id)
    if prediction is None:
        return []
    return [*_own_references(viewer, study_id, prediction), *_loose_references(viewer, study_id, prediction)]


def inputs_of(viewer: napari.viewer.Viewer, study_id: str, reference: Reference) -> Inputs | None:
    """What an evaluation of a study against a reference takes; None where no result of the study is open."""
    prediction, study = open_predictions(viewer).get(study_id), open_studies(viewer).get(study_id)
    if prediction is None:
        return None
    brain = study.brain if study is not None and _on_grid_of(prediction, study.shape, study.affine) else None
    known = brain is not None and brain.any()
    return Inputs(prediction, prediction.segmentation, reference.labels, reference, brain if known else None)


def missing_sentence(viewer: napari.viewer.Viewer, study_id: str) -> str:
    """What to load before a study can be evaluated, one sentence; empty when nothing is missing."""
    if not study_id:
        return NOTHING_OPEN
    if study_id not in open_predictions(viewer):
        return (
            f"No result of {study_id} is open: run Segment with uncertainty, or open the folder that uncseg predict "
            "wrote for it."
        )
    if references_of(viewer, study_id):
        return ""
    if any(tagged(viewer, study_id, "reference")):
        return f"The reference of {study_id} lies on another grid than its result: segment the study again."
    return (
        f"No reference of {study_id} is open: open its study folder with the expert segmentation in it, or the "
        "expert's label file (its name must say seg, label or mask)."
    )


def _own_references(viewer: napari.viewer.Viewer, study_id: str, prediction: Prediction) -> Iterator[Reference]:
    study = open_studies(viewer).get(study_id)
    if study is None or study.reference is None or not _on_grid_of(prediction, study.shape, study.affine):
        return
    source = next((source for source in study.sources if source.role == "reference"), None)
    for layer, _ in tagged(viewer, study_id, "reference"):
        if isinstance(layer, Labels):
            yield Reference(layer.name, layer, study.reference, True, True, source)


def _loose_references(viewer: napari.viewer.Viewer, study_id: str, prediction: Prediction) -> Iterator[Reference]:
    for layer in reversed(list(viewer.layers)):  # as in the layer list: what lies on top comes first
        known = layer.metadata.get(KEY)
        if not isinstance(layer, Labels) or not isinstance(known, Plain) or _is_result(known.source, study_id):
            continue
        try:
            labels, affine = layer_volume(layer)
        except StudyError:  # nothing tells how it lies in the patient
            continue
        if _on_grid_of(prediction, labels.shape, affine):
            # Studies of one data set share a grid, so that another patient's file would fit as well.
            yield Reference(layer.name, layer, labels, False, study_id in layer.name, known.source)


def _is_result(source: Source | None, study_id: str) -> bool:
    """Whether a file is the segmentation of a saved result rather than an expert's."""
    return source is not None and source.path.name.startswith(study_id) and is_own_segmentation(source.path)


def _on_grid_of(prediction: Prediction, shape: tuple[int, ...], affine: npt.NDArray[np.floating]) -> bool:
    return same_grid(prediction.segmentation.shape, prediction.affine, shape, affine)
