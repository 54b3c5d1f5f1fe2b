"""From the outputs of members to a prediction on the study's grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from skimage.morphology import remove_small_objects

from napari_uncseg.arrays import Floats32, Floats64, Labels, Mask
from napari_uncseg.errors import Cancelled, ModelError
from napari_uncseg.inference.ensembling import EnsemblePlan, MemberOutput
from napari_uncseg.inference.forward_pass import ForwardPass
from napari_uncseg.inference.preprocessing import Frame
from napari_uncseg.inference.progress import Reporter
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study, z_scores
from napari_uncseg.labels import REGIONS, Region, labels_from_regions, region_masks
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.models.masked import CancerMask
from napari_uncseg.uncertainty.accumulators import VOTE, MemberReducer, RunningMean
from napari_uncseg.uncertainty.error_risk import ErrorRisk, Evidence
from napari_uncseg.uncertainty.expected_dice import ExpectedDice, Quality, agreement_of, soft_dice_of
from napari_uncseg.uncertainty.needs_review import Reason, reasons_to_doubt, told_by
from napari_uncseg.uncertainty.prediction_error import compute_prediction_failure
from napari_uncseg.uncertainty.recalibration.io import Calibration

VARIANCE = MapName(Measure.VARIANCE)
"""Of the whole tumour, which error risk is told by."""


@dataclass(eq=False)
class Accumulated:
    """Outputs of members, reduced as they arrived.

    Parameters
    ----------
    reducer : MemberReducer
        Their probabilities in the brain's box.
    unc_output : RunningMean
        Their uncertainty channels, of those that have one.
    names : list of str
        Who they are, in the order they ran.
    votes : Tensor of uint8 or int16, shape (3, x, y, z), optional
        How many of them put a voxel into WT, TC and ET.
    stages : ndarray of float64, shape (3,), optional
        Of a cascade, the Dice between its stages in WT, TC and ET: the mean over members.
    """

    reducer: MemberReducer[torch.Tensor]
    unc_output: RunningMean[torch.Tensor] = field(default_factory=RunningMean)
    names: list[str] = field(default_factory=list)
    votes: torch.Tensor | None = None
    stages: Floats64 | None = None

    def add(self, output: MemberOutput) -> None:
        """Take in a member; its uncertainty channels unless those of other members are others."""
        self.reducer.add(output.probabilities)
        mean, channels = self.unc_output, output.unc_output
        if channels is not None and (mean.count == 0 or mean.value.shape == channels.shape):
            mean.add(channels)
        self.names.append(output.name)
        drawn = (_nested(output.probabilities) > VOTE).to(torch.int16)
        self.votes = drawn if self.votes is None else self.votes.add_(drawn)

    def quality(self, voxel_ml: float) -> dict[Region, Quality]:
        """What the members tell of the quality of their mean's segmentation."""
        assert self.votes is not None  # there is at least one member
        mean = _nested(self.reducer.mean)
        return {
            region: Quality(
                agreement_of(self.votes[index], len(self.names)),
                soft_dice_of(mean[index]),
                int((mean[index] > VOTE).sum()) * voxel_ml,
                1.0 if self.stages is None else float(self.stages[index]),
            )
            for index, region in enumerate(REGIONS)
        }


def _nested(probabilities: torch.Tensor) -> torch.Tensor:
    """WT and TC at least as likely as what lies inside them, as the labels have it."""
    whole, core, enhancing = probabilities
    core = torch.maximum(core, enhancing)
    return torch.stack([torch.maximum(whole, core), core, enhancing])


def accumulate(ensemble: EnsemblePlan, maps: Sequence[MapName], forward: ForwardPass) -> Accumulated:
    """Reduce members as they come; when the user stops after the first of several, those that are done are kept.

    Parameters
    ----------
    ensemble : EnsemblePlan
    maps : sequence of MapName
        Maps that will be made.
    forward : ForwardPass

    Raises
    ------
    Cancelled
        When the user stops before a member is done.
    """
    accumulated = Accumulated(MemberReducer(maps))
    try:
        with torch.inference_mode():
            for output in ensemble.predict(forward):
                accumulated.add(output)
                del output  # while the next network runs, its memory is needed
    except Cancelled:
        if not accumulated.names:
            raise
    accumulated.stages = forward.stage_overlap
    if ensemble.count > 1:
        forward.report.finish_without_stopping()
    return accumulated


def error_risk_maps(
    study: Study, frame: Frame, accumulated: Accumulated, error_risk: ErrorRisk | None
) -> dict[str, Floats32]:
    """``error_risk`` of WT, TC and ET; nothing when the members that are done lack what it was fitted on."""
    if error_risk is None:
        return {}
    reducer, channel, brain = accumulated.reducer, accumulated.unc_output, frame.enter(study.brain)
    images = [z_scores(image, brain) for image in frame.enter(study.images)] if error_risk.uses_images else None
    evidence = Evidence(
        reducer.mean.numpy(),
        [study.spacing[axis] for axis in frame.axes],
        channel.value[0].numpy() if channel.count == reducer.count else None,
        reducer.map(VARIANCE).numpy() if reducer.count > 1 else None,
        None if images is None else np.stack(images),
    )
    if not error_risk.fits(evidence):
        return {}
    risk = frame.leave(error_risk.apply(evidence, brain))
    return {str(MapName(Measure.ERROR_RISK, region)): each for region, each in zip(REGIONS, risk, strict=True)}


def cancer_mask_of(plans: Mapping[str, Any]) -> CancerMask:
    """The rule of the mask of ``unc_output`` that a model brings along, or the usual one.

    Raises
    ------
    ModelError
        When the plans hold something else.
    """
    rule = plans.get("uncseg", {}).get("cancer_mask", {})
    try:
        return CancerMask(**rule)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The model's plans.json has a cancer_mask that nobody can read ({error}).") from error


def smallest_of(plans: Mapping[str, Any]) -> float:
    """Volume in mL below which a model's plans leave out a component of a region; 0 keeps all.

    Raises
    ------
    ModelError
        When the plans hold something else.
    """
    told = plans.get("uncseg", {}).get("smallest_ml", 0)
    if not isinstance(told, int | float) or not 0 <= told < math.inf:
        raise ModelError(f"The model's plans.json has a smallest_ml of {told!r}; it must be a volume of 0 mL or more.")
    return float(told)


def segment(probabilities: Floats32, voxel_ml: float, smallest_ml: float = 0.0) -> Labels:
    """Labels of region probabilities, without components that are too small to mean anything.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (3, x, y, z)
        WT, TC, ET in 0..1.
    voxel_ml : float
        Volume of a voxel.
    smallest_ml : float
        A component of a region, of 26 neighbours, stays when it has at least this volume.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
    """
    # Rounded, so that twenty voxels of 0.001 mL are 0.02 mL.
    least = math.ceil(round(smallest_ml / voxel_ml, 6))
    if least <= 1:
        return labels_from_regions(probabilities)
    masks = [remove_small_objects(each > VOTE, max_size=least - 1, connectivity=3) for each in probabilities]
    return labels_from_regions(np.stack(masks).astype(np.float32))


def make_prediction(
    study: Study,
    frame: Frame,
    maps: Sequence[MapName],
    accumulated: Accumulated,
    calibration: Calibration | None,
    provenance: dict[str, Any],
    report: Reporter,
    plans: Mapping[str, Any],
    estimates: Calibration | None = None,
    input_reasons: Sequence[Reason] = (),
) -> Prediction:
    """Bring what the members gave onto the study's grid; everything costly happens in the brain's box alone.

    Parameters
    ----------
    study : Study
    frame : Frame
        Of the brain's box in the study.
    maps : sequence of MapName
        Maps to make, as far as the members that are done allow.
    accumulated : Accumulated
    calibration : Calibration, optional
        Acts on the mean probability before maps of it are made, and not on the segmentation.
    provenance : dict
        What is known of the run; numbers of the result are added to it.
    report : Reporter
    plans : mapping
        Of the model: where ``unc_output`` is shown (:func:`cancer_mask_of`), what is too small (:func:`smallest_of`).
    estimates : Calibration, optional
        Gives ``error_risk`` and expected Dice, when it was fitted for such a result.
    input_reasons : sequence of Reason
        Why the study needs review whatever the network makes of it.
    """
    reducer = accumulated.reducer
    with torch.inference_mode():
        crop = reducer.mean
        segmentation = frame.leave(segment(crop.numpy(), study.voxel_ml, smallest_of(plans)))
        calibrated = None if calibration is None else torch.from_numpy(calibration.apply(crop.numpy()))
        report.check()
        probabilities = _whole(crop if calibrated is None else calibrated, frame)
        report.check()
        volumes: dict[str, Floats32] = {}
        for name in possible(maps, reducer.count):
            source = _one_pass(name) if reducer.count == 1 else name
            volumes[str(name)] = _whole(reducer.map(source, calibrated), frame)
        entropy = volumes.get("entropy")
        if entropy is None:
            entropy = _whole(reducer.map(MapName(Measure.ENTROPY), calibrated), frame)
        report.check()
        cancer_mask = cancer_mask_of(plans).of(segmentation > 0, study.spacing)
        report.check()
        if accumulated.unc_output.count == reducer.count:
            channels = _uncertainty_maps(accumulated.unc_output.value, frame, cancer_mask)
            volumes = {"unc_output": channels.pop("unc_output"), **volumes, **channels}
        risk = None if estimates is None else estimates.error_risk
        volumes = error_risk_maps(study, frame, accumulated, risk) | volumes
        report.check()
    if study.reference is not None:
        volumes["error"] = compute_prediction_failure(segmentation, study.reference).astype(np.float32)
    quality = accumulated.quality(study.voxel_ml)
    expected = None if estimates is None else estimates.expected_dice
    told = describe_result(study, segmentation, entropy, cancer_mask, quality, expected, input_reasons)
    provenance = {**provenance, **told}
    report(report.total, "The result is ready")
    return Prediction(study.id, probabilities, segmentation, volumes, study.affine, provenance, study.header)


def describe_result(
    study: Study,
    segmentation: Labels,
    entropy: Floats32,
    cancer_mask: Mask,
    quality: Mapping[Region, Quality],
    expected_dice: ExpectedDice | None = None,
    input_reasons: Sequence[Reason] = (),
) -> dict[str, Any]:
    """Numbers about a result.

    Parameters
    ----------
    study : Study
    segmentation : ndarray of uint8, shape (x, y, z)
    entropy : ndarray of float32, shape (x, y, z)
        Of the whole tumour, nats.
    cancer_mask : ndarray of bool, shape (x, y, z)
        The predicted tumour with its margin.
    quality : mapping of Region to Quality
        What the members tell of their own quality.
    expected_dice : ExpectedDice, optional
        What makes an expected Dice of it.
    input_reasons : sequence of Reason
        What struck the eye before the network ran, see :func:`napari_uncseg.inference.input_checks.check_input`.

    Returns
    -------
    dict
        ``volumes_ml`` and ``quality`` per region; ``triage_score``, the mean entropy in the cancer mask, None when
        nothing was predicted; ``expected_dice`` per region with the bounds of its interval, when it can be told;
        ``needs_review``, reasons with a code and a text each; ``dice`` per region when the study has a reference.
    """
    masks = region_masks(segmentation)
    volumes = {
        region: round(int(np.count_nonzero(mask)) * study.voxel_ml, 6)
        for region, mask in zip(Region, masks, strict=True)
    }
    result: dict[str, Any] = {
        "volumes_ml": {str(region): volume for region, volume in volumes.items()},
        "triage_score": float(entropy[cancer_mask].mean(dtype=np.float64)) if cancer_mask.any() else None,
        "quality": {str(region): asdict(each) for region, each in quality.items()},
    }
    result |= told_by(expected_dice, quality, volumes, input_reasons)
    if study.reference is not None:
        expected = region_masks(study.reference)
        result["dice"] = {str(region): dice(masks[i], expected[i]) for i, region in enumerate(Region)}
        result["needs_review"] += [asdict(each) for each in reasons_to_doubt(study.reference, segmentation)]
    return result


def _uncertainty_maps(channels: torch.Tensor, frame: Frame, cancer_mask: Mask) -> dict[str, Floats32]:
    """``unc_output`` of WT as it is and masked, and masked ones of TC and ET where the network has them."""
    whole = _whole(channels[0], frame)
    others = {
        f"unc_output-{region.lower()}": channel for region, channel in zip(REGIONS[1:], channels[1:], strict=False)
    }
    return {
        "unc_output": whole * cancer_mask,
        "unc_output_unmasked": whole,
        **{name: _whole(channel, frame) * cancer_mask for name, channel in others.items()},
    }


def possible(maps: Sequence[MapName], count: int) -> list[MapName]:
    """Maps that so many members allow: of one alone the variance, which is then p(1-p), and what speaks of its mean."""
    return [name for name in maps if count > 1 or not name.between_members or _one_pass(name) != name]


def _one_pass(name: MapName) -> MapName:
    """What stands for a map when there is but one member."""
    return MapName(Measure.VAR1SHOT, name.region) if name.measure == Measure.VARIANCE else name


def _whole(crop: torch.Tensor, frame: Frame) -> Floats32:
    whole: Floats32 = frame.leave(crop.numpy())
    return whole
