"""From the outputs of members to a prediction on the study's grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from skimage.morphology import remove_small_objects

from napari_uncseg.arrays import Floats32, Labels, Mask
from napari_uncseg.errors import Cancelled
from napari_uncseg.inference.ensembling import MemberOutput
from napari_uncseg.inference.forward_pass import ForwardPass
from napari_uncseg.inference.prediction_plan import VARIANCE, PredictionPlan, possible
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study, z_scores
from napari_uncseg.labels import REGIONS, Region, labels_from_regions, region_masks
from napari_uncseg.maps import MapName, Measure
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.uncertainty.accumulators import VOTE, MemberReducer, RunningMean
from napari_uncseg.uncertainty.error_risk import Evidence
from napari_uncseg.uncertainty.expected_dice import ExpectedDice, Quality, agreement_of, soft_dice_of
from napari_uncseg.uncertainty.measures import compute_prediction_failure
from napari_uncseg.uncertainty.needs_review import Reason, reasons_to_doubt, told_by


@dataclass(eq=False)
class Accumulated:
    """Outputs of members, reduced as they arrived.

    Parameters
    ----------
    plan : PredictionPlan
        Without error models where they were fitted for more members than are done.
    forward : ForwardPass
        Of the study.
    reducer : MemberReducer
        Their probabilities in the brain's box.
    unc_output : RunningMean
        Their uncertainty channels, of those that have one.
    names : list of str
        Who they are, in the order they ran.
    votes : Tensor of uint8 or int16, shape (3, x, y, z), optional
        How many of them put a voxel into WT, TC and ET.
    """

    plan: PredictionPlan
    forward: ForwardPass
    reducer: MemberReducer[torch.Tensor]
    unc_output: RunningMean[torch.Tensor] = field(default_factory=RunningMean)
    names: list[str] = field(default_factory=list)
    votes: torch.Tensor | None = None

    def add(self, output: MemberOutput) -> None:
        """Take in a member; its uncertainty channels unless those of other members are others."""
        self.reducer.add(output.probabilities)
        mean, channels = self.unc_output, output.unc_output
        if channels is not None and (mean.count == 0 or mean.value.shape == channels.shape):
            mean.add(channels)
        self.names.append(output.name)
        drawn = (_nested(output.probabilities) > VOTE).to(torch.int16)
        self.votes = drawn if self.votes is None else self.votes.add_(drawn)

    def put_back(self, volumes: torch.Tensor) -> Floats32:
        """Volumes in the brain's box, put on the study's grid."""
        return self.forward.crop.put_back(volumes.numpy())

    def quality(self) -> dict[Region, Quality]:
        """What the members tell of the quality of their mean's segmentation."""
        assert self.votes is not None  # there is at least one member
        mean, stages, voxel_ml = _nested(self.reducer.mean), self.forward.stage_overlap, self.forward.study.voxel_ml
        return {
            region: Quality(
                agreement_of(self.votes[index], len(self.names)),
                soft_dice_of(mean[index]),
                int((mean[index] > VOTE).sum()) * voxel_ml,
                1.0 if stages is None else float(stages[index]),
            )
            for index, region in enumerate(REGIONS)
        }


def _nested(probabilities: torch.Tensor) -> torch.Tensor:
    """WT and TC at least as likely as what lies inside them, as the labels have it."""
    whole, core, enhancing = probabilities
    core = torch.maximum(core, enhancing)
    return torch.stack([torch.maximum(whole, core), core, enhancing])


def accumulate(plan: PredictionPlan, forward: ForwardPass) -> Accumulated:
    """Reduce members as they come; when the user stops after the first of several, those that are done are kept.

    Raises
    ------
    Cancelled
        When the user stops before a member is done.
    """
    accumulated = Accumulated(plan, forward, MemberReducer(plan.accumulated_maps))
    try:
        with torch.inference_mode():
            for output in plan.ensemble.outputs(forward):
                accumulated.add(output)
                del output  # while the next network runs, its memory is needed
    except Cancelled:
        if not accumulated.names:
            raise
    if len(accumulated.names) < plan.ensemble.count:
        accumulated.plan = replace(plan, error_models=None)
    if plan.ensemble.count > 1:
        forward.report.finish_without_stopping()
    return accumulated


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
    accumulated: Accumulated, provenance: Mapping[str, Any], input_reasons: Sequence[Reason] = ()
) -> Prediction:
    """Bring what the members gave onto the study's grid; everything costly happens in the brain's box alone.

    Parameters
    ----------
    accumulated : Accumulated
    provenance : mapping
        What is known of the run; numbers of the result are added to it.
    input_reasons : sequence of Reason
        Why the study needs review whatever the network makes of it.
    """
    plan, forward, mean = accumulated.plan, accumulated.forward, accumulated.reducer.mean
    study, check, put_back = forward.study, forward.report.check, accumulated.put_back
    with torch.inference_mode():
        segmentation = forward.crop.put_back(segment(mean.numpy(), study.voxel_ml, plan.smallest_ml))
        check()
        calibrated = mean if plan.calibration is None else torch.from_numpy(plan.calibration.apply(mean.numpy()))
        probabilities = put_back(calibrated)
        check()
        cancer_mask = plan.cancer_mask.of(segmentation > 0, study.spacing)
        check()
        channels = uncertainty_maps(accumulated, cancer_mask)
        measures = member_maps(accumulated, calibrated)
        entropy = measures.get("entropy")
        if entropy is None:
            entropy = put_back(accumulated.reducer.map(MapName(Measure.ENTROPY), calibrated))
        check()
        leading = {name: channels[name] for name in ("unc_output",) if name in channels}
        maps = {**error_risk_maps(accumulated), **leading, **measures, **channels}
        check()
    if study.reference is not None:
        maps["error"] = compute_prediction_failure(segmentation, study.reference).astype(np.float32)
    expected = None if plan.error_models is None else plan.error_models.expected_dice
    told = describe_result(study, segmentation, accumulated.quality(), expected, input_reasons)
    score = float(entropy[cancer_mask].mean(dtype=np.float64)) if cancer_mask.any() else None
    forward.report(forward.report.total, "The result is ready")
    told = {**provenance, **told, "triage_score": score}
    return Prediction(study.id, probabilities, segmentation, maps, study.affine, told, study.header)


def member_maps(accumulated: Accumulated, calibrated: torch.Tensor) -> dict[str, Floats32]:
    """The maps of a plan that the members allow; of one member alone the variance is p(1-p)."""
    reducer, found = accumulated.reducer, {}
    for name in possible(accumulated.plan.maps, reducer.count):
        alone = reducer.count == 1 and name.measure == Measure.VARIANCE
        source = MapName(Measure.VAR1SHOT, name.region) if alone else name
        found[str(name)] = accumulated.put_back(reducer.map(source, calibrated))
    return found


def uncertainty_maps(accumulated: Accumulated, cancer_mask: Mask) -> dict[str, Floats32]:
    """``unc_output`` of WT as it is and masked, and masked ones of TC and ET where all networks have them."""
    if accumulated.unc_output.count != accumulated.reducer.count:
        return {}
    whole, *others = map(accumulated.put_back, accumulated.unc_output.value)
    named = {f"unc_output-{region.lower()}": each for region, each in zip(REGIONS[1:], others, strict=False)}
    masked = {name: each * cancer_mask for name, each in named.items()}
    return {"unc_output": whole * cancer_mask, "unc_output_unmasked": whole, **masked}


def error_risk_maps(accumulated: Accumulated) -> dict[str, Floats32]:
    """``error_risk`` of WT, TC and ET; nothing when the members that are done lack what it was fitted on."""
    models, forward = accumulated.plan.error_models, accumulated.forward
    error_risk = None if models is None else models.error_risk
    if error_risk is None:
        return {}
    study, crop, reducer, channel = forward.study, forward.crop, accumulated.reducer, accumulated.unc_output
    brain = crop.take(study.brain)
    images = [z_scores(image, brain) for image in crop.take(study.images)] if error_risk.uses_images else None
    evidence = Evidence(
        reducer.mean.numpy(),
        [study.spacing[axis] for axis in crop.axes],
        channel.value[0].numpy() if channel.count == reducer.count else None,
        reducer.map(VARIANCE).numpy() if reducer.count > 1 else None,
        None if images is None else np.stack(images),
    )
    if not error_risk.fits(evidence):
        return {}
    risk = crop.put_back(error_risk.apply(evidence, brain))
    return {str(MapName(Measure.ERROR_RISK, region)): each for region, each in zip(REGIONS, risk, strict=True)}


def describe_result(
    study: Study,
    segmentation: Labels,
    quality: Mapping[Region, Quality],
    expected_dice: ExpectedDice | None = None,
    input_reasons: Sequence[Reason] = (),
) -> dict[str, Any]:
    """Numbers about a result.

    Parameters
    ----------
    study : Study
    segmentation : ndarray of uint8, shape (x, y, z)
    quality : mapping of Region to Quality
        What the members tell of their own quality.
    expected_dice : ExpectedDice, optional
        What makes an expected Dice of it.
    input_reasons : sequence of Reason
        What struck the eye before the network ran, see :func:`napari_uncseg.inference.input_checks.check_input`.

    Returns
    -------
    dict
        ``volumes_ml`` and ``quality`` per region; ``expected_dice`` per region with the bounds of its interval, when
        it can be told; ``needs_review``, reasons with a code and a text each; ``dice`` per region when the study has a
        reference.
    """
    masks = region_masks(segmentation)
    volumes = {
        region: round(int(np.count_nonzero(mask)) * study.voxel_ml, 6)
        for region, mask in zip(Region, masks, strict=True)
    }
    result: dict[str, Any] = {
        "volumes_ml": {str(region): volume for region, volume in volumes.items()},
        "quality": {str(region): asdict(each) for region, each in quality.items()},
    }
    result |= told_by(expected_dice, quality, volumes, input_reasons)
    if study.reference is not None:
        expected = region_masks(study.reference)
        result["dice"] = {str(region): dice(masks[i], expected[i]) for i, region in enumerate(Region)}
        result["needs_review"] += [asdict(each) for each in reasons_to_doubt(study.reference, segmentation)]
    return result
