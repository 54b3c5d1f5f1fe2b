"""Members gathered into one prediction on the study's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from napari_uncseg.errors import Cancelled
from napari_uncseg.inference.ensembling import LineUp
from napari_uncseg.inference.forward_pass import StudyRunner
from napari_uncseg.inference.preprocessing import Frame
from napari_uncseg.inference.progress import Reporter
from napari_uncseg.inference.run_info import describe_result
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, labels_from_regions
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.morphology import dilate_mm
from napari_uncseg.uncertainty.accumulators import MemberReducer, RunningMean
from napari_uncseg.uncertainty.prediction_error import compute_prediction_failure


class Recalibrates(Protocol):
    """What is needed of :class:`napari_uncseg.uncertainty.recalibration.io.Calibration`."""

    def apply(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities (3, x, y, z) of raw ones."""
        ...

    def check(self, model_sha256: str, members: str) -> None:
        """Refuse, with an UncsegError, another model or other members than it was fitted for."""
        ...


@dataclass(eq=False)
class Gathered:
    """What members said of a study, reduced.

    Parameters
    ----------
    reducer : MemberReducer
        Their probabilities in the brain's box.
    unc_output : RunningMean
        Their uncertainty channels, of those that have one.
    names : list of str
        Who they are, in the order they ran.
    """

    reducer: MemberReducer[torch.Tensor]
    unc_output: RunningMean[torch.Tensor]
    names: list[str]


def gather(line: LineUp, maps: Sequence[MapName], runner: StudyRunner) -> Gathered:
    """Reduce members as they come; when the user stops after the first of several, those that are done are kept.

    Parameters
    ----------
    line : LineUp
    maps : sequence of MapName
        Maps that will be made.
    runner : StudyRunner

    Raises
    ------
    Cancelled
        When the user stops before a member is done.
    """
    gathered = Gathered(MemberReducer(maps), RunningMean(), [])
    try:
        with torch.inference_mode():
            for answer in line.answers(runner):
                gathered.reducer.add(answer.probabilities)
                _add_unc_output(gathered, answer.unc_output)
                gathered.names.append(answer.name)
                del answer  # while the next network runs, its memory is needed
    except Cancelled:
        if not gathered.names:
            raise
    if line.count > 1:
        runner.report.finish_without_stopping()
    return gathered


def assemble(
    study: Study,
    frame: Frame,
    maps: Sequence[MapName],
    gathered: Gathered,
    calibration: Recalibrates | None,
    provenance: dict[str, Any],
    report: Reporter,
    *,
    dilation_mm: float,
) -> Prediction:
    """Bring what the members said onto the study's grid; everything costly happens in the brain's box alone.

    Parameters
    ----------
    study : Study
    frame : Frame
        Of the brain's box in the study.
    maps : sequence of MapName
        Maps to make, as far as the members that are done allow.
    gathered : Gathered
    calibration : Recalibrates, optional
        Acts on the mean probability before maps of it are made, and not on the segmentation.
    provenance : dict
        What is known of the run; numbers of the result are added to it.
    report : Reporter
    dilation_mm : float
        How far the cancer mask reaches beyond the predicted whole tumour.
    """
    reducer = gathered.reducer
    with torch.inference_mode():
        crop = reducer.mean
        segmentation = frame.leave(labels_from_regions(crop.numpy()))
        calibrated = None if calibration is None else torch.from_numpy(calibration.apply(crop.numpy()))
        report.check()
        probabilities = _whole(crop if calibrated is None else calibrated, frame)
        report.check()
        volumes: dict[str, npt.NDArray[np.float32]] = {}
        for name in possible(maps, reducer.count):
            source = _one_pass(name) if reducer.count == 1 else name
            volumes[str(name)] = _whole(reducer.map(source, calibrated), frame)
        entropy = volumes.get("entropy")
        if entropy is None:
            entropy = _whole(reducer.map(MapName(Measure.ENTROPY), calibrated), frame)
        report.check()
        if gathered.unc_output.count == reducer.count:
            unc_output = gathered.unc_output.value
            volumes["unc_output_unmasked"] = _whole(unc_output[0], frame)
            volumes |= {
                f"unc_output-{region.lower()}": _whole(channel, frame)
                for region, channel in zip(REGIONS[1:], unc_output[1:], strict=False)
            }
    report.check()
    cancer_mask = dilate_mm(segmentation > 0, study.spacing, dilation_mm)
    report.check()
    for of_region in [key for key in volumes if key.startswith("unc_output-")]:
        volumes[of_region] *= cancer_mask
    if "unc_output_unmasked" in volumes:
        volumes = {"unc_output": volumes["unc_output_unmasked"] * cancer_mask, **volumes}
    if study.reference is not None:
        volumes["error"] = compute_prediction_failure(segmentation, study.reference).astype(np.float32)
    provenance = {**provenance, **describe_result(study, segmentation, entropy, cancer_mask)}
    report(report.total, "The result is ready")
    return Prediction(study.id, probabilities, segmentation, volumes, study.affine, provenance, study.header)


def _add_unc_output(gathered: Gathered, unc_output: torch.Tensor | None) -> None:
    """Take in a member's uncertainty channels, unless other members have others."""
    mean = gathered.unc_output
    if unc_output is not None and (mean.count == 0 or mean.value.shape == unc_output.shape):
        mean.add(unc_output)


def possible(maps: Sequence[MapName], count: int) -> list[MapName]:
    """Maps that so many members allow: of one alone the variance, which is then p(1-p), and what speaks of its mean."""
    return [name for name in maps if count > 1 or not name.between_members or _one_pass(name) != name]


def _one_pass(name: MapName) -> MapName:
    """What stands for a map when there is but one member."""
    return MapName(Measure.VAR1SHOT, name.region) if name.measure == Measure.VARIANCE else name


def _whole(crop: torch.Tensor, frame: Frame) -> npt.NDArray[np.float32]:
    whole: npt.NDArray[np.float32] = frame.leave(crop.numpy())
    return whole
