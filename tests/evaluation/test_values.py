import math

import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.metric_result import Value, mean_of, median_of
from napari_uncseg.labels import Region


def values(*numbers):
    return [Value("dice", number, case=str(place), region=Region.ET) for place, number in enumerate(numbers)]


def test_mean_and_median_leave_out_and_count_the_undefined():
    some = values(0.5, math.nan, 0.9, 1.0, math.nan)
    mean, median = mean_of(some), median_of(some)
    assert mean.value == pytest.approx(0.8)
    assert median.value == pytest.approx(0.9)
    assert (mean.aggregation, median.aggregation) == ("mean", "median")
    assert mean.count == median.count == 3
    assert mean.undefined == median.undefined == "2 of 5 undefined"
    assert mean.case is None
    assert mean.region is Region.ET


def test_nothing_defined_is_nan():
    mean = mean_of(values(math.nan, math.nan))
    assert not mean.defined
    assert (mean.count, mean.undefined) == (0, "2 of 2 undefined")


def test_all_defined_has_nothing_to_say():
    assert mean_of(values(1, 2)).undefined == ""


def test_what_does_not_belong_together_has_no_mean():
    with pytest.raises(EvaluationError, match="different regions"):
        mean_of([Value("dice", 1.0, region=Region.ET), Value("dice", 1.0, region=Region.WT)])
    with pytest.raises(EvaluationError, match="no values"):
        median_of([])
