"""What was measured on many studies, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_uncseg.evaluation.cache import Record, read_record
from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, metric_of_key
from napari_uncseg.evaluation.runner import KNOWN_MAPS, Failure, Measured

_RETIRED = ('"metric":"spatial"', '"metric":"aggregates"')
"""Metrics that records of earlier versions hold and that this one no longer reads."""


@dataclass(frozen=True, eq=False)
class Cohort(Evaluation):
    """What was measured on many studies.

    Parameters
    ----------
    metrics : tuple of Metric
        Fed with all studies.
    records : tuple of Record
        One per study.
    failures : tuple of Failure
        Studies that could not be evaluated.
    unpredicted : tuple of str
        References that no prediction was made for.
    """

    records: tuple[Record, ...] = ()
    failures: tuple[Failure, ...] = ()
    unpredicted: tuple[str, ...] = ()

    def without(self, studies: set[str]) -> Cohort:
        """The cohort less some studies."""
        metrics = (metric.without(studies) for metric in self.metrics)
        records = tuple(record for record in self.records if record.study not in studies)
        return replace(self, records=records, metrics=tuple(metric for metric in metrics if metric.cases))


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
    metrics = {metric.key: metric for metric in default_metrics(KNOWN_MAPS)}
    records = []
    for study in measured:
        record, statistics = read_record(study.path)
        records.append(record)
        for key, statistic in statistics.items():
            if not any(kind in key for kind in _RETIRED):
                metrics.setdefault(key, metric_of_key(key)).put(record.study, statistic)
    fed = tuple(metric for metric in metrics.values() if metric.cases)
    return Cohort(fed, tuple(records), tuple(failures), tuple(unpredicted))
