import json
import math

import pandas as pd
import pytest

from napari_uncseg.evaluation.table import MetricResult, by_case, over_cases, result_of, select, to_frame, to_records
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet


def table_of(*numbers, region=Region.ET):
    return to_frame(
        MetricResult("dice", number, case=str(place), region=region) for place, number in enumerate(numbers)
    )


def summaries(*numbers):
    return [result_of(row) for row in over_cases(table_of(*numbers)).to_dict("records")]


def test_mean_and_median_leave_out_and_count_the_undefined():
    mean, median = summaries(0.5, math.nan, 0.9, 1.0, math.nan)
    assert (mean.value, median.value) == (pytest.approx(0.8), pytest.approx(0.9))
    assert (mean.aggregation, median.aggregation) == ("mean", "median")
    assert mean.count == median.count == 3
    assert mean.undefined == median.undefined == "2 of 5 undefined"
    assert (mean.case, mean.region) == (None, Region.ET)


def test_defined_everywhere_and_nowhere():
    assert summaries(0.5, 0.7)[0].undefined == ""
    nowhere = summaries(math.nan)[0]
    assert math.isnan(nowhere.value)
    assert (nowhere.count, nowhere.undefined) == (0, "1 of 1 undefined")


def test_what_does_not_belong_together_is_not_averaged():
    both = over_cases(to_frame([MetricResult("dice", 1.0, region=region) for region in (Region.ET, Region.WT)]))
    assert sorted(both["region"]) == ["ET", "ET", "WT", "WT"]
    assert set(both["count"]) == {1}
    assert over_cases(to_frame([])).empty


def test_a_row_is_the_result_that_it_was_made_of():
    results = [
        MetricResult("auroc", 0.5, "case", "a", Region.WT, "entropy", VoxelSet.BRAIN, "", 4096, 7),
        MetricResult("hd95", 3.0, "pooled", None, None, None, None, "mm"),
    ]
    assert [result_of(row) for row in to_frame(results).to_dict("records")] == results


def test_records_are_plain_json():
    table = pd.concat([table_of(math.nan, 0.5), over_cases(table_of(0.5))])
    first, *_, last = json.loads(json.dumps(to_records(table), allow_nan=False))
    assert (first["value"], first["map"], first["bins"], first["case"]) == (None, None, None, "0")
    assert (last["case"], last["count"], last["unit"]) == (None, 1, "")


def test_values_by_case_are_the_defined_ones():
    table = table_of(0.5, math.nan, 0.9)
    assert by_case(table, metric="dice").to_dict() == {"0": 0.5, "2": 0.9}
    assert by_case(table, metric="hd95").empty
    assert len(select(table, map=None)) == 3
