"""One study evaluated: the result and a reference on its grid, as the viewer has them, and what is measured."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_uncseg import __version__
from napari_uncseg.errors import Cancelled, StudyError
from napari_uncseg.evaluation.calibration import ProbabilityCalibration
from napari_uncseg.evaluation.case import Case, case_from_prediction
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.io.files import sha256
from napari_uncseg.io.geometry import same_grid
from napari_uncseg.io.label_coding import decode_reference
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.io.results import is_own_segmentation
from napari_uncseg.io.study import Source, Study
from napari_uncseg.labels import REGIONS, Region, labels_from_regions
from napari_uncseg.metrics.calibration import DEFAULT_BINS, Reliability, reliability
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.viewer.tags import KEY, Plain, open_predictions, open_studies, tagged
from napari_uncseg.viewer.volumes import layer_volume
from napari_uncseg.widgets.job import STOPPED, Report

VOXEL_SETS: tuple[VoxelSet, ...] = (VoxelSet.TUMOUR, VoxelSet.BRAIN, VoxelSet.UNION)
"""Voxel sets the user chooses from; the first one is shown first, for it holds no easy background."""

FORECAST, ENTROPY = "unc_output", "entropy"
"""Maps that are rated: the predicted probability of error, of the whole tumour alone, and what every region has."""

CHANGED_SHARE = 0.01
"""Share of the tumour by which a segmentation may differ from its own probabilities without a remark."""


@dataclass(frozen=True, eq=False)
class Reference:
    """An expert segmentation that is open in the viewer.

    Parameters
    ----------
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
        With its labels as they stand in the viewer.
    reference : Reference
    brain : ndarray of bool, shape (x, y, z), optional
        Voxels of the brain; None while the images of the study are not open.
    """

    prediction: Prediction
    reference: Reference
    brain: npt.NDArray[np.bool_] | None

    @property
    def stamp(self) -> Stamp:
        """What tells whether these are still the same."""
        labels = (self.prediction.segmentation, self.reference.labels)
        segmentation, reference = (sha256(np.ascontiguousarray(each).data) for each in labels)
        return Stamp(weakref.ref(self.prediction), segmentation, reference, self.brain is not None)

    def snapshot(self) -> Inputs:
        """The same with labels of its own, which nobody paints on while they are evaluated."""
        prediction = replace(self.prediction, segmentation=self.prediction.segmentation.copy())
        return Inputs(prediction, replace(self.reference, labels=self.reference.labels.copy()), self.brain)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What came out: the statistics of all voxel sets, so that another one is shown at once.

    Parameters
    ----------
    study_id : str
    metrics : tuple of Metric
        Fed with the one study.
    values : tuple of MetricResult
        Read from their statistics.
    voxel_sets : tuple of VoxelSet
        Those that were measured: without the images there is no brain.
    remarks : tuple of str
        What a reader of the numbers should know, a sentence each.
    reference : str
        Name of the reference.
    stamp : Stamp
        What it was taken of.
    record : mapping
        Where it comes from, in JSON values.
    """

    study_id: str
    metrics: tuple[Metric, ...]
    values: tuple[MetricResult, ...]
    voxel_sets: tuple[VoxelSet, ...]
    remarks: tuple[str, ...]
    reference: str
    stamp: Stamp
    record: Mapping[str, Any]

    def value(
        self, metric: str, region: Region, voxel_set: VoxelSet = VoxelSet.ALL, map_name: str | None = None
    ) -> MetricResult | None:
        """The value of a metric; None when it was not measured."""
        wanted = (metric, region, voxel_set, map_name)
        found = (each for each in self.values if (each.metric, each.region, each.voxel_set, each.map) == wanted)
        return next(found, None)

    def curves(self, voxel_set: VoxelSet) -> dict[Region, Reliability | None]:
        """Reliability of the probabilities of each region; None without voxels."""
        found: dict[Region, Reliability | None] = dict.fromkeys(REGIONS)
        for metric in self.metrics:
            if isinstance(metric, ProbabilityCalibration) and metric.voxel_set is voxel_set:
                bins = reliability(metric.cases[self.study_id], metric.bins)
                found[metric.region] = bins if bins.counts.any() else None
        return found


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
    return list(_references(viewer, prediction)) if prediction is not None else []


def _references(viewer: napari.viewer.Viewer, prediction: Prediction) -> Iterator[Reference]:
    study_id = prediction.study_id
    study = _study_on_grid(viewer, prediction)
    if study is not None and study.reference is not None:
        source = next((source for source in study.sources if source.role == "reference"), None)
        for layer, _ in tagged(viewer, study_id, "reference"):
            if isinstance(layer, Labels):
                yield Reference(layer, study.reference, True, True, source)
    for layer in reversed(list(viewer.layers)):  # as in the layer list: what lies on top comes first
        known = layer.metadata.get(KEY)
        if not isinstance(layer, Labels) or not isinstance(known, Plain) or _is_result(known.source, study_id):
            continue
        try:
            labels, affine = layer_volume(layer)
        except StudyError:  # nothing tells how it lies in the patient
            continue
        if same_grid(prediction.shape, prediction.affine, labels.shape, affine):
            # Studies of one data set share a grid, so that another patient's file would fit as well.
            yield Reference(layer, labels, False, study_id in layer.name, known.source)


def _is_result(source: Source | None, study_id: str) -> bool:
    """Whether a file is the segmentation of a saved result rather than an expert's."""
    return source is not None and source.path.name.startswith(study_id) and is_own_segmentation(source.path)


def _study_on_grid(viewer: napari.viewer.Viewer, prediction: Prediction) -> Study | None:
    study = open_studies(viewer).get(prediction.study_id)
    fits = study is not None and same_grid(prediction.shape, prediction.affine, study.shape, study.affine)
    return study if fits else None


def inputs_of(viewer: napari.viewer.Viewer, study_id: str, reference: Reference) -> Inputs | None:
    """What an evaluation of a study against a reference takes; None where no result of the study is open."""
    prediction = open_predictions(viewer).get(study_id)
    if prediction is None:
        return None
    study = _study_on_grid(viewer, prediction)
    return Inputs(prediction, reference, study.brain if study is not None and study.brain.any() else None)


def missing_sentence(viewer: napari.viewer.Viewer, study_id: str) -> str:
    """What to load before a study can be evaluated, one sentence; empty when nothing is missing."""
    if not study_id:
        return (
            "No study is open: open a study folder with its expert segmentation, then run Segment with uncertainty or "
            "open the folder that uncseg predict wrote for it."
        )
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


def evaluate(inputs: Inputs, stamp: Stamp, report: Report) -> Evaluated:
    """Evaluate one study; called in a thread.

    Parameters
    ----------
    inputs : Inputs
        With labels of their own: nobody may paint on them.
    stamp : Stamp
        Of what they are copies of.
    report : Report
        Where to tell, and whether to stop.

    Raises
    ------
    UncsegError
        Cancelled when stopped; EvaluationError or StudyError when labels do not do.
    """
    report.tell(0, 0, "Comparing with the reference")
    case, said = _case(inputs)
    sets = tuple(chosen for chosen in VOXEL_SETS if chosen is not VoxelSet.BRAIN or inputs.brain is not None)
    metrics = tuple(_metrics(case, sets))
    for done, metric in enumerate(metrics):
        if report.cancelled():
            raise Cancelled(STOPPED)
        report.tell(done, len(metrics), f"Measuring {metric.name} of {getattr(metric, 'region', 'the study')}")
        metric.add(case)
    return Evaluated(
        study_id=case.id,
        metrics=metrics,
        values=tuple(value for metric in metrics for value in metric.per_case()),
        voxel_sets=sets,
        remarks=(*said, *_remarks(inputs, case)),
        reference=inputs.reference.layer.name,
        stamp=stamp,
        record=_record(inputs, stamp),
    )


def _case(inputs: Inputs) -> tuple[Case, tuple[str, ...]]:
    """The case, and what reading the reference's labels told."""
    reference, name = inputs.reference.labels, inputs.reference.layer.name
    said: tuple[str, ...] = ()
    if not inputs.reference.decoded:
        reference, coding, said = decode_reference(reference, implied=None, asked=None, undecided=None, name=name)
        said = (*said, f"Labels of {name} were read as {coding}.")
    maps = {name: values for name, values in inputs.prediction.maps.items() if name in (FORECAST, ENTROPY)}
    return case_from_prediction(replace(inputs.prediction, maps=maps), reference, brain=inputs.brain), said


def _metrics(case: Case, sets: tuple[VoxelSet, ...]) -> Iterator[Metric]:
    for region in REGIONS:
        yield Overlap(region)
        for chosen in sets:
            yield ProbabilityCalibration(region, chosen, DEFAULT_BINS)
            for name in (FORECAST, ENTROPY):
                if name in case.uncertainties(region):
                    yield Discrimination(name, region, chosen)


def _remarks(inputs: Inputs, case: Case) -> Iterator[str]:
    if inputs.brain is None:
        yield "The images of the study are not open, so nothing is measured over the brain."
    if np.array_equal(case.prediction, case.reference):
        yield "Reference and segmentation are the same in every voxel: is this the expert's own work?"
    own = labels_from_regions(inputs.prediction.probabilities)
    changed, tumour = int(np.count_nonzero(own != inputs.prediction.segmentation)), int(np.count_nonzero(own))
    if changed > CHANGED_SHARE * max(tumour, 1):
        yield (
            f"{changed:,} voxels of the segmentation are not what its probabilities say (it was edited?): Dice, HD95 "
            "and errors are of the segmentation as it is, ECE and uncertainty are the model's."
        )


def _record(inputs: Inputs, stamp: Stamp) -> dict[str, Any]:
    provenance, source = inputs.prediction.provenance, inputs.reference.source
    result: dict[str, Any] = plain(
        {
            "study": inputs.prediction.study_id,
            "research_use_only": RESEARCH_USE_ONLY,
            "made_by": "napari: Evaluate this study",
            "versions": {"napari-uncseg": __version__},
            "prediction": {key: provenance.get(key) for key in ("model", "settings", "inputs", "command")},
            "segmentation_sha256": stamp.segmentation,
            "reference": {
                "layer": inputs.reference.layer.name,
                "file": source.path.name if source else None,
                "file_sha256": source.sha256 if source else None,
                "labels_sha256": stamp.reference,
            },
            "bins": DEFAULT_BINS,
        }
    )
    return result
