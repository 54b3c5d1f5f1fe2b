"""What the first findings hold of the errors of a patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study
from napari_uncseg.labels import Label
from uncseg_training.experiments.patients import findings_of, findings_row

SHAPE = (48, 48, 48)


def patient(risk_at_the_miss: float) -> tuple[Prediction, Study]:
    """A tumour of which a cube of 14 mm was missed and one voxel of rim is too much."""
    found = np.zeros(SHAPE, dtype=np.uint8)
    found[8:20, 8:20, 8:20] = Label.ED
    reference = found.copy()
    reference[8:20, 8:20, 19] = 0
    reference[28:42, 28:42, 28:42] = Label.ED
    risk = np.zeros(SHAPE, dtype=np.float32)
    risk[28:42, 28:42, 28:42] = risk_at_the_miss
    images = np.ones((4, *SHAPE), dtype=np.float32)
    told = {"needs_review": []}
    prediction = Prediction("one", np.zeros((3, *SHAPE), np.float32), found, {"error_risk": risk}, np.eye(4), told)
    study = Study(
        id="one", images=images, affine=np.eye(4), brain=np.ones(SHAPE, bool), sources={}, reference=reference
    )
    return prediction, study


@pytest.mark.parametrize(("risk", "share"), [(0.9, 1.0), (0.0, 0.0)])
def test_a_missed_block_is_found_where_the_map_is_raised(risk: float, share: float) -> None:
    volumes = findings_of(*patient(risk))
    assert volumes["errors"] == pytest.approx(14**3 / 1000 + 0.144), "the rim is an error, and no block"
    # An opening by a ball rounds a cube's edges off.
    assert 2.2 < volumes["blocks"] <= 14**3 / 1000
    assert volumes["blocks found"] == pytest.approx(share * volumes["blocks"])
    assert volumes["findings"] == pytest.approx(share * 14**3 / 1000, abs=0.05)


def test_patients_without_a_block_do_not_count() -> None:
    table = pd.DataFrame(
        [
            {"errors": 4.0, "blocks": 2.0, "blocks found": 1.0, "findings": 2.0},
            {"errors": 1.0, "blocks": 0.0, "blocks found": 0.0, "findings": 5.0},
        ]
    )
    row = findings_row(table)
    assert row["patients with a block"] == "1 of 2"
    assert row["in the first 10 findings, median share"]["mean"] == 0.5
    assert row["findings over errors, all volumes"] == 1.4
