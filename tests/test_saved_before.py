"""Files that version 0.1.0.dev0 of November 2026 wrote, before the modules moved, still open and mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_uncseg import load_prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.results import find_results, read_result
from napari_uncseg.io.saving import State, check_target
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.uncertainty.recalibration.io import load_calibration
from napari_uncseg.uncertainty.recalibration.models import Isotonic, Platt, Temperature

SAVED = Path(__file__).parent / "saved"
FINGERPRINT = "4527b642ec5baea39c93011e03c947452c0055176c135e9ed12ca38bacabeea9"
CALIBRATION = "7d90f6809df13eba68e0b1cb8541c642b80a14cbc292c8d401900dd113e8014e"
COUNTS = [0, 30, 30]


def test_a_result():
    assert find_results(SAVED) == [SAVED / "old" / "old_uncseg.json"]
    prediction = load_prediction(SAVED / "old")
    assert prediction.study_id == "old"
    assert prediction.spacing == (1, 1, 2)
    assert prediction.voxel_ml == pytest.approx(0.002)
    assert list(prediction.maps) == [
        *("unc_output", "unc_output_unmasked", "entropy", "entropy-et", "mutual_information", "variance", "error"),
    ]
    assert prediction.probabilities.shape == (3, 5, 4, 3)
    assert prediction.maps["entropy-et"].max() == pytest.approx(0.69, abs=1e-4)
    assert np.bincount(prediction.segmentation.ravel()).tolist() == COUNTS
    assert (prediction.method, str(prediction.partial)) == ("tta:8", "partial: 3 of 8")
    assert not prediction.recalibrated
    assert fingerprint(prediction.provenance) == read_result(SAVED / "old").fingerprint == FINGERPRINT


def test_the_same_run_goes_on_where_it_was_stopped():
    provenance = read_result(SAVED / "old").provenance
    assert check_target(SAVED, "old", provenance).state is State.PARTIAL
    assert check_target(SAVED, "old", {**provenance, "settings": {}}).state is State.OTHER


def test_a_calibration():
    calibration = load_calibration(SAVED / "calibration.json")
    assert [calibration.maps[region] for region in REGIONS] == [
        Temperature(1.5),
        Platt(0.8, 0.3),
        Isotonic(((0.1, 0.2), (0.5, 0.2), (0.9, 0.7))),
    ]
    assert calibration.sha256 == CALIBRATION
    calibration.check("7" * 64, "tta:8")
    assert calibration.controls[Region.WT].threshold == 0.03
    assert calibration.controls[Region.TC].threshold is None
