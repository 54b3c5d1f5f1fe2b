"""What a result says against itself, and where its review begins: nothing looks clean that is not."""

from __future__ import annotations

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.maps import Measure
from napari_uncseg.review.threshold_sweep import ThresholdSweep
from napari_uncseg.uncertainty.needs_review import Reason

START = 0.2
"""Fraction of a map's range at which it is cut when nobody has moved the threshold."""

PLACES_ML = 10.0
"""Volume that is at least flagged at first in a doubtful result, however low its map is."""


def reasons_of(prediction: Prediction) -> tuple[str, ...]:
    """Why a result needs review, a sentence each, as it was told when it was made; an empty one always does."""
    told = prediction.provenance.get("needs_review") or ()
    reasons = tuple(str(reason.get("text")) for reason in told)
    if not reasons and not prediction.segmentation.any():
        return (Reason.of("no_tumour").text,)
    return reasons


def leading_map(prediction: Prediction) -> str:
    """Name of the map that a review begins with.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    str
        ``error_risk`` where there is one, for it knows of members and of what lies outside of the mask. Else
        ``unc_output``; of a doubtful result ``unc_output_unmasked``, for its mask is as doubtful.
    """
    unmasked = (Measure.UNC_OUTPUT_UNMASKED,) if reasons_of(prediction) else ()
    wanted = (Measure.ERROR_RISK, *unmasked, Measure.UNC_OUTPUT)
    return next((str(name) for name in wanted if name in prediction.maps), str(Measure.ENTROPY))


def start_threshold(prediction: Prediction, sweep: ThresholdSweep) -> float:
    """Where a map is cut first: at :data:`START`; lower in a doubtful result, until it lists places to look at."""
    step = sweep.step(START * float(sweep.thresholds[-1]))
    while step > 1 and reasons_of(prediction) and sweep.volume_ml(step) < PLACES_ML:
        step -= 1
    return float(sweep.thresholds[step])
