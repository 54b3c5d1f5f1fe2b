"""What was measured on many studies, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from napari_uncseg.evaluation.cache import Record, read_record
from napari_uncseg.evaluation.evaluation import Evaluation, default_metrics, metric_of_key
from napari_uncseg.evaluation.metric import Metric
from napari_uncseg.evaluation.runner import KNOWN_MAPS, Failure, Measured

_RETIRED = frozenset({"spatial"})
"""Kinds of metrics that records of earlier versions hold and that this one no longer reads."""


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
    def table(self) -> pd.DataFrame:
        """The long table: per study, over studies, pooled; see :attr:`Evaluation.table`."""
        return Evaluation(self.metrics).table

    def without(self, studies: set[str]) -> Cohort:
        """The cohort less some studies."""
        metrics = {metric.key: metric_of_key(metric.key) for metric in self.metrics}
        for metric in self.metrics:
            for study, statistic in metric.cases.items():
                if study not in studies:
                    metrics[metric.key].put(study, statistic)
        records = tuple(record for record in self.records if record.study not in studies)
        return replace(self, records=records, metrics=tuple(metric for metric in metrics.values() if metric.cases))


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
        record = read_record(study.path)
        for key, statistic in record.statistics.items():
            if not any(f'"metric":"{kind}"' in key for kind in _RETIRED):
                metrics.setdefault(key, metric_of_key(key)).put(record.study, statistic)
        records.append(replace(record, statistics={}))
    fed = tuple(metric for metric in metrics.values() if metric.cases)
    return Cohort(tuple(records), fed, tuple(failures), tuple(unpredicted))
