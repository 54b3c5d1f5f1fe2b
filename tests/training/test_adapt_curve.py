"""What a site's studies buy: which patients each network is taught on, and the table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from napari_uncseg.labels import REGIONS
from uncseg_training.experiments.adapt_curve import COUNTS, config_of, rows_of
from uncseg_training.train.adapt import Settings
from uncseg_training.train.config import read_config

POOL, JUDGED = [f"A{number:02d}" for number in range(30)], ["B1", "B2"]


def test_each_set_of_patients_lies_within_the_next_and_none_is_judged(tmp_path: Path) -> None:
    base, before = read_config("lowres"), set[str]()
    for count in COUNTS:
        config = config_of(count, POOL, JUDGED, base, tmp_path)
        folds = json.loads(Path(config.splits).read_text())
        train, held_out = set(folds[config.fold]["train"]), set(folds[config.fold]["val"])
        assert (len(train), config.steps, config.start) == (count, Settings().steps, base.start)
        assert before <= train
        assert set(JUDGED) <= held_out
        assert train | held_out == {*POOL, *JUDGED}
        before = train


def test_the_gain_is_that_over_no_patient() -> None:
    found = {count: [dict.fromkeys(REGIONS, 0.5 + count / 100 + i / 50) for i in range(5)] for count in (0, 5)}
    found[0][0] = dict.fromkeys(REGIONS, math.nan)
    none, five = rows_of(found)
    assert none["gain WT"] is None
    assert five["gain WT"]["mean"] == pytest.approx(0.05)
    assert five["gain WT"]["count"] == 4
