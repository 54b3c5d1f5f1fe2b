"""What was measured on many studies, put together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from napari_uncseg.evaluation.cache import Record, metric_key, read_record
from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, metric_of_key
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.metric_result import Value
from napari_uncseg.evaluation.runner import KNOWN_MAPS, Failure, Measured
from napari_uncseg.evaluation.spatial import Spatial, best_threshold


@dataclass(frozen=True, eq=False)
class Cohort:
    """What was measured on many studies.

    Parameters
    ----------
    records : tuple of Record
        One per study, without its statistics: they are in the metrics.
    metrics : tuple of Metric
        Fed with all studies.
    failures : tuple of Failure
        Studies that could not be evaluated.
    unpredicted : tuple of str
        References that no prediction was made for.
    """

    records: tuple[Record, ...]
    metrics: tuple[Metric, ...]
    failures: tuple[Failure, ...] = ()
    unpredicted: tuple[str, ...] = ()

    @cached_property
    def evaluation(self) -> Evaluation:
        """The metrics with their values."""
        return Evaluation(self.metrics)

    @property
    def values(self) -> list[Value]:
        """All values: per study, over studies, pooled."""
        return self.evaluation.values

    def without(self, studies: set[str]) -> Cohort:
        """The cohort less some studies."""
        metrics = [_fed_again(metric_of_key(metric_key(metric)), metric, studies) for metric in self.metrics]
        records = tuple(record for record in self.records if record.study not in studies)
        return replace(self, records=records, metrics=tuple(metric for metric in metrics if metric.cases))

    def at_thresholds_of(self, calibration: Cohort) -> Cohort:
        """The cohort with ``ue_overlap`` at the thresholds that suit the errors of calibration studies best."""
        fixed = {
            (metric.map, metric.region): best_threshold(metric)
            for metric in calibration.metrics
            if isinstance(metric, Spatial) and metric.overlaps(metric.total()).any()
        }
        metrics = tuple(
            _fed_again(Spatial(metric.map, metric.region, fixed[metric.map, metric.region]), metric)
            if isinstance(metric, Spatial) and (metric.map, metric.region) in fixed
            else metric
            for metric in self.metrics
        )
        return replace(self, metrics=metrics)


def merge(measured: Sequence[Measured], failures: Sequence[Failure] = (), unpredicted: Sequence[str] = ()) -> Cohort:
    """Put the statistics of many studies together.

    Parameters
    ----------
    measured : sequence of Measured
    failures : sequence of Failure
    unpredicted : sequence of str
        References that no prediction was made for.

    Returns
    -------
    Cohort

    Raises
    ------
    EvaluationError
        When statistics are missing or damaged.
    """
    metrics = {metric_key(metric): metric for metric in default_metrics(KNOWN_MAPS)}
    records = []
    for study in measured:
        record = read_record(study.path)
        for key, statistic in record.statistics.items():
            if key not in metrics:
                metrics[key] = metric_of_key(key)
            metrics[key].put(record.study, statistic)
        records.append(replace(record, statistics={}))
    fed = tuple(metric for metric in metrics.values() if metric.cases)
    return Cohort(tuple(records), fed, tuple(failures), tuple(unpredicted))


def _fed_again(new: Metric, old: Metric, leave_out: Collection[str] = ()) -> Metric:
    """A new metric with the statistics of an old one, less some studies."""
    for study, statistic in old.cases.items():
        if study not in leave_out:
            new.put(study, statistic)
    return new
