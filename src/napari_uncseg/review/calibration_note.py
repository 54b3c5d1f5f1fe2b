"""What is known of a model's calibration, region by region, in a sentence each."""

from __future__ import annotations

from functools import cache

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.models.identity import bundled_calibration
from napari_uncseg.uncertainty.recalibration.io import Calibration


def calibration_notes(prediction: Prediction) -> dict[Region, str]:
    """Sentence for each region about how far the probabilities of the result's model can be believed.

    Parameters
    ----------
    prediction : Prediction
        Its provenance names the model by its hash.

    Returns
    -------
    dict of Region to str
        From the calibration that comes with the bundled network: its calibration error, and the threshold that keeps
        the share of the region that is missed. For any other model, for other members and for a recalibrated result
        that nothing is known.
    """
    known = _bundled()
    model = prediction.provenance.get("model") or {}
    if known is None or model.get("sha256") != known.model_sha256:
        return dict.fromkeys(REGIONS, "The calibration of this model was not measured.")
    if prediction.method != known.members or prediction.recalibrated:
        how = f"Calibration was measured with the members {known.members} and without recalibration, not for this run."
        return dict.fromkeys(REGIONS, how)
    figures, studies = known.provenance["figures"], len(known.provenance["studies"])
    voxels = f"the voxel set {known.provenance['voxel_set']} of {studies} studies that it never saw"
    notes = {}
    for region in REGIONS:
        error = figures["regions"][region]["before"]["ece_classwise"]
        notes[region] = f"ECE {error:.3f} over {voxels}."
        if region in known.controls:
            words = known.controls[region].words()
            notes[region] += f" {words[:1].upper()}{words[1:]}"
    return notes


@cache
def _bundled() -> Calibration | None:
    return bundled_calibration()
