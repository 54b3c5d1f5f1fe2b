"""What is known of a model's calibration, region by region, in a sentence each."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region

_FILE = "calibration.json"


def calibration_notes(prediction: Prediction) -> dict[Region, str]:
    """Sentence for each region about how far the probabilities of the result's model can be believed.

    Parameters
    ----------
    prediction : Prediction
        Its provenance names the model by its hash.

    Returns
    -------
    dict of Region to str
        From the evaluation of the bundled network, as `docs/results/evaluation` has it; for any other model, for
        several members and for a recalibrated result that nothing is known.
    """
    known = _bundled()
    model = prediction.provenance.get("model") or {}
    if model.get("sha256") != known["model"]["sha256"]:
        return dict.fromkeys(REGIONS, "The calibration of this model was not measured.")
    if prediction.members != 1 or prediction.recalibrated:
        return dict.fromkeys(REGIONS, "Calibration was measured for one pass without recalibration, not for this run.")
    notes = {}
    for region in REGIONS:
        numbers = known["regions"][str(region)]
        low, high = numbers["interval"]
        notes[region] = (
            f"ECE {numbers['mean']:.3f} (95 % interval {low:.3f} to {high:.3f}) over the tumour and 5 mm around it, "
            f"mean of {numbers['count']} studies: {known['studies']}."
        )
    return notes


@cache
def _bundled() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("napari_uncseg.review").joinpath(_FILE).read_text(encoding="utf-8"))
    return content
