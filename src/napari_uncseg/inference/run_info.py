"""What a result says of itself: where it came from, and a few numbers about it. Plain JSON values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.inference.needs_review import LOW_EXPECTED_DICE, Reason, reasons_for_review, reasons_to_doubt
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Region, region_masks
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.uncertainty.expected_dice import ExpectedDice, Quality


def describe_result(
    study: Study,
    segmentation: npt.NDArray[np.uint8],
    entropy: npt.NDArray[np.float32],
    cancer_mask: npt.NDArray[np.bool_],
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


def told_by(
    expected_dice: ExpectedDice | None,
    quality: Mapping[Region, Quality],
    volumes_ml: Mapping[Region, float],
    input_reasons: Sequence[Reason] = (),
) -> dict[str, Any]:
    """``expected_dice`` per region, where there is a model of it, and ``needs_review``."""
    estimates = None if expected_dice is None else expected_dice.estimate(quality)
    bound = LOW_EXPECTED_DICE if expected_dice is None else expected_dice.bound
    reasons = (*reasons_for_review(volumes_ml, estimates, bound), *input_reasons)
    expected = {str(region): asdict(each) for region, each in (estimates or {}).items()}
    return {**({"expected_dice": expected} if expected else {}), "needs_review": [asdict(each) for each in reasons]}
