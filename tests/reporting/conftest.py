"""The cases of the evaluation and the predictions of the review, of which reports are made."""

from dataclasses import replace

from tests.evaluation.conftest import case, cases
from tests.review.conftest import shell_prediction

from napari_uncseg.evaluation import Case
from napari_uncseg.labels import REGIONS
from napari_uncseg.metrics.overlap import dice
from napari_uncseg.uncertainty.expected_dice import Estimate

__all__ = ["case", "cases", "forecast", "shell_prediction"]


def forecast(case: Case) -> Case:
    """A case that tells its Dice nearly as it is."""
    true = {region: dice(case.predicted(region), case.true(region)) for region in REGIONS}
    return replace(case, expected_dice={each: Estimate(0.9 * d, 0.7 * d, d) for each, d in true.items()})
