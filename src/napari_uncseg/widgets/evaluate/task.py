"""One study evaluated in a thread of its own: what is measured, and what is kept to show it over any voxel set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg import __version__
from napari_uncseg.errors import Cancelled
from napari_uncseg.evaluation.calibration import ProbabilityCalibration
from napari_uncseg.evaluation.case import Case, case_from_prediction
from napari_uncseg.evaluation.discrimination import Discrimination
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.overlap import Overlap
from napari_uncseg.evaluation.table import MetricResult
from napari_uncseg.io.label_coding import decode_reference
from napari_uncseg.io.provenance import RESEARCH_USE_ONLY, plain
from napari_uncseg.labels import REGIONS, Region, labels_from_regions
from napari_uncseg.metrics.calibration import DEFAULT_BINS, Reliability, reliability
from napari_uncseg.metrics.voxel_sets import VoxelSet
from napari_uncseg.widgets.evaluate.inputs import Inputs, Stamp
from napari_uncseg.widgets.job import Report

VOXEL_SETS: tuple[VoxelSet, ...] = (VoxelSet.TUMOUR, VoxelSet.BRAIN, VoxelSet.UNION)
"""Voxel sets the user chooses from; the first one is shown first, for it holds no easy background."""

FORECAST, ENTROPY = "unc_output", "entropy"
"""Maps that are rated: the predicted probability of error, of the whole tumour alone, and what every region has."""

CHANGED_SHARE = 0.01
"""Share of the tumour by which a segmentation may differ from its own probabilities without a remark."""


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
        self,
        metric: str,
        region: Region,
        *,
        voxel_set: VoxelSet | None = None,
        map: str | None = None,  # noqa: A002
    ) -> MetricResult | None:
        """The value of a metric, None when it was not measured; without a voxel set that of the whole volume."""
        wanted = (metric, region, voxel_set or VoxelSet.ALL, map)
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


def evaluate(inputs: Inputs, report: Report) -> Evaluated:
    """Evaluate one study; called in a thread.

    Parameters
    ----------
    inputs : Inputs
        A snapshot: nobody may paint on its labels.
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
    metrics = _metrics(case, sets)
    for done, metric in enumerate(metrics):
        if report.cancelled():
            raise Cancelled("Stopped.")
        report.tell(done, len(metrics), f"Measuring {metric.name} of {getattr(metric, 'region', 'the study')}")
        metric.add(case)
    return Evaluated(
        study_id=case.id,
        metrics=metrics,
        values=tuple(value for metric in metrics for value in metric.per_case()),
        voxel_sets=sets,
        remarks=(*said, *_remarks(inputs, case)),
        reference=inputs.origin.title,
        stamp=inputs.stamp,
        record=_record(inputs),
    )


def _case(inputs: Inputs) -> tuple[Case, tuple[str, ...]]:
    """The case, and what reading the reference's labels told."""
    reference: npt.NDArray[np.integer] = inputs.reference
    said: tuple[str, ...] = ()
    if not inputs.origin.decoded:
        reference, coding, said = decode_reference(
            reference, implied=None, asked=None, undecided=None, name=inputs.origin.title
        )
        said = (*said, f"Labels of {inputs.origin.title} were read as {coding}.")
    old = inputs.prediction
    maps = {name: old.maps[name] for name in (FORECAST, ENTROPY) if name in old.maps}
    prediction = replace(old, segmentation=inputs.segmentation.astype(np.uint8, copy=False), maps=maps)
    return case_from_prediction(prediction, reference, brain=inputs.brain), said


def _metrics(case: Case, sets: tuple[VoxelSet, ...]) -> tuple[Metric, ...]:
    metrics: list[Metric] = []
    for region in REGIONS:
        metrics.append(Overlap(region))
        metrics += [ProbabilityCalibration(region, chosen, DEFAULT_BINS) for chosen in sets]
        for name in (FORECAST, ENTROPY):
            if name in case.uncertainties(region):
                metrics += [Discrimination(name, region, chosen) for chosen in sets]
    return tuple(metrics)


def _remarks(inputs: Inputs, case: Case) -> list[str]:
    remarks = []
    if inputs.brain is None:
        remarks.append("The images of the study are not open, so nothing is measured over the brain.")
    if np.array_equal(case.prediction, case.reference):
        remarks.append("Reference and segmentation are the same in every voxel: is this the expert's own work?")
    own = labels_from_regions(inputs.prediction.probabilities)
    changed, tumour = int(np.count_nonzero(own != inputs.segmentation)), int(np.count_nonzero(own))
    if changed > CHANGED_SHARE * max(tumour, 1):
        remarks.append(
            f"{changed:,} voxels of the segmentation are not what its probabilities say (it was edited?): Dice, HD95 "
            "and errors are of the segmentation as it is, ECE and uncertainty are the model's."
        )
    return remarks


def _record(inputs: Inputs) -> dict[str, Any]:
    provenance, source = inputs.prediction.provenance, inputs.origin.source
    stamp = inputs.stamp
    record = {
        "study": inputs.prediction.study_id,
        "research_use_only": RESEARCH_USE_ONLY,
        "made_by": "napari: Evaluate this study",
        "versions": {"napari-uncseg": __version__},
        "prediction": {key: provenance.get(key) for key in ("model", "settings", "inputs", "command")},
        "segmentation_sha256": stamp.segmentation,
        "reference": {
            "layer": inputs.origin.layer.name,
            "file": source.path.name if source else None,
            "file_sha256": source.sha256 if source else None,
            "labels_sha256": stamp.reference,
        },
        "bins": DEFAULT_BINS,
    }
    result: dict[str, Any] = plain(record)
    return result
