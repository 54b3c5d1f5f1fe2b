"""The cases of the evaluation and the predictions of the review, of which reports are made."""

from tests.evaluation.conftest import case, cases
from tests.review.conftest import shell_prediction

__all__ = ["case", "cases", "shell_prediction"]
