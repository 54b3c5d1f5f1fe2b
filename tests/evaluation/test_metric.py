import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.evaluation import Evaluation
from napari_uncseg.evaluation.metric import Metric, from_npz, to_npz
from napari_uncseg.evaluation.table import MetricResult, result_of
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import VoxelSet


def table_of(metric):
    return Evaluation((metric,)).table


@dataclass(eq=False)
class Share(Metric):
    """Share of the brain that fails: the smallest additive metric."""

    name: ClassVar[str] = "share"
    additive: ClassVar[bool] = True

    region: Region = Region.WT
    voxel_set: VoxelSet = VoxelSet.BRAIN

    def __post_init__(self):
        self.region, self.voxel_set = Region(self.region), VoxelSet(self.voxel_set)

    def measure(self, case):
        return {"counts": np.array([case.failure(self.region)[case.brain].sum(), case.brain.sum()])}

    def read(self, statistic):
        failed, every = (int(number) for number in statistic["counts"])
        return [MetricResult("share", failed / every, region=self.region, voxel_set=self.voxel_set, count=every)]


@dataclass(eq=False)
class Alone(Share):
    name: ClassVar[str] = "alone"
    additive: ClassVar[bool] = False


def filled(cases, kind=Share, **settings):
    metric = kind(**settings)
    for case in cases:
        metric.add(case)
    return metric


def test_values_are_per_case_over_cases_and_pooled(cases):
    metric = filled(cases)
    by_aggregation = {}
    for value in map(result_of, table_of(metric).to_dict("records")):
        by_aggregation.setdefault(value.aggregation, []).append(value)
    assert [value.case for value in by_aggregation["case"]] == [case.id for case in cases]
    shares = [case.failure(Region.WT)[case.brain].mean() for case in cases]
    assert [value.value for value in by_aggregation["case"]] == pytest.approx(shares)
    (mean,), (median,), (pooled,) = (by_aggregation[key] for key in ("mean", "median", "pooled"))
    assert mean.value == pytest.approx(np.mean(shares))
    assert median.value == pytest.approx(np.median(shares))
    failed = sum(int((case.failure(Region.WT) & case.brain).sum()) for case in cases)
    assert pooled.value == pytest.approx(failed / sum(int(case.brain.sum()) for case in cases))
    assert (mean.count, pooled.count) == (4, sum(int(case.brain.sum()) for case in cases))


def test_a_case_that_is_known_is_refused(cases):
    metric = filled(cases)
    with pytest.raises(EvaluationError):
        metric.add(cases[0])
    assert len(metric.cases) == 4


def test_what_is_not_additive_is_never_pooled(cases):
    metric = filled(cases, Alone)
    assert set(table_of(metric)["aggregation"]) == {"case", "mean", "median"}
    for unpoolable in (metric, Share()):
        with pytest.raises(EvaluationError):
            unpoolable.pooled()
    assert table_of(Share()).empty


def test_statistics_of_a_file_are_the_same(cases):
    metric = filled(cases, region=Region.TC, voxel_set=VoxelSet.UNION)
    assert metric.settings() == {"metric": "share", "region": "TC", "voxel_set": "union"}
    statistics, named = from_npz(to_npz(metric.cases.values(), cases=np.array(list(metric.cases))), Path("share.npz"))
    again = filled([], region=Region.TC, voxel_set=VoxelSet.UNION)
    for number, name in enumerate(named["cases"]):
        again.put(str(name), statistics[number])
    assert table_of(again).equals(table_of(metric))


def test_a_file_that_holds_no_statistics_is_refused(tmp_path):
    path = tmp_path / "share.npz"
    np.savez(path, settings=np.array([{"a": 1}], dtype=object))
    for content in (b"", b"PK\x03\x04 and no more", pickle.dumps({"settings": 1}), path.read_bytes()):
        with pytest.raises(EvaluationError):
            from_npz(content, path)


def test_statistics_come_back_as_they_were():
    metric = Share()
    arrays = {
        "counts": np.arange(5, dtype=np.int64),
        "sums": np.array([np.nan, 1 / 3]),
        "none": np.zeros((0, 2)),
        "one": np.array(7),
    }
    metric.put("a", arrays)
    for key, array in metric.cases["a"].items():
        np.testing.assert_array_equal(array, arrays[key])
        assert array.dtype == arrays[key].dtype
        assert array.shape == arrays[key].shape


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_statistics_that_a_disk_damaged_are_refused(at):
    data = bytearray(to_npz([{"counts": np.random.default_rng(1).random(5000)}]))
    place = int(at * len(data))
    data[place : place + 20] = b"\xff" * 20
    with pytest.raises(EvaluationError):
        from_npz(bytes(data), Path("P1.npz"))
