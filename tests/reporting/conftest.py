"""The cases of the evaluation and the predictions of the review, of which reports are made."""

from collections.abc import Sequence
from dataclasses import replace

from tests.evaluation.conftest import case, cases
from tests.review.conftest import shell_prediction

from napari_uncseg.evaluation import Case, evaluate
from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.runner import Cohort
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.uncertainty.expected_dice import Estimate

__all__ = ["case", "cases", "cohort_of", "forecast", "shell_prediction"]


def cohort_of(cases: Sequence[Case], **fields: object) -> Cohort:
    """A cohort of cases that were read from files of their own."""
    records = tuple(
        Record(study=case.id, inputs={"prediction": f"p{case.id}", "reference": f"r{case.id}"}, brain="images")
        for case in cases
    )
    return replace(Cohort(evaluate(cases).metrics, records), **fields)


def forecast(case: Case) -> Case:
    """A case that tells its Dice nearly as it is."""
    true = {region: dice(case.predicted(region), case.true(region)) for region in REGIONS}
    return replace(case, expected_dice={each: Estimate(0.9 * d, 0.7 * d, d) for each, d in true.items()})
