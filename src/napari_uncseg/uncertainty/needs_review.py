"""Why a study is to be reviewed before its segmentation is used: one list of reasons, each a code and a sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from napari_uncseg.arrays import AnyInts
from napari_uncseg.labels import REGION_TITLES, Label, Region
from napari_uncseg.uncertainty.expected_dice import Estimate, ExpectedDice, Quality

LOW_EXPECTED_DICE = 0.75
"""Expected Dice of the whole tumour below which a study needs review, unless a model or a user says otherwise."""


RESULT_CODES = ("no_tumour", "low_expected_dice")
"""Codes of :func:`reasons_for_review`; the others speak of the input and its reference."""


@dataclass(frozen=True)
class Reason:
    """Why a study needs review.

    Parameters
    ----------
    code : str
        Never changes: one of :data:`RESULT_CODES`, or of :func:`napari_uncseg.inference.input_checks.check_input`.
    text : str
        A sentence for the reader.
    """

    code: str
    text: str

    @classmethod
    def of(cls, code: str, **found: Any) -> Reason:
        """The reason of a code, told with what was found."""
        return cls(code, _sentences()[code].format(**found))


def reasons_to_doubt(reference: AnyInts, segmentation: AnyInts) -> list[Reason]:
    """Why a reference may be no expert's segmentation: ``own_reference``, ``reference_of_one_label``."""
    found = []
    if reference.any() and np.array_equal(reference, segmentation):
        found.append(Reason.of("own_reference"))
    if set(np.unique(reference).tolist()) == {0, int(Label.NCR)}:
        found.append(Reason.of("reference_of_one_label"))
    return found


def reasons_for_review(
    volumes_ml: Mapping[Region, float],
    expected: Mapping[Region, Estimate] | None = None,
    bound: float = LOW_EXPECTED_DICE,
) -> list[Reason]:
    """All reasons why a prediction needs review, the gravest first; none when nothing speaks against it.

    Parameters
    ----------
    volumes_ml : mapping of Region to float
        Predicted volumes.
    expected : mapping of Region to Estimate, optional
        Expected Dice, where the model brings it along.
    bound : float
        Least expected Dice of the whole tumour.
    """
    if not volumes_ml[Region.WT]:
        return [Reason.of("no_tumour")]
    if expected is None or expected[Region.WT].value >= bound:
        return []
    title = REGION_TITLES[Region.WT]
    return [Reason.of("low_expected_dice", title=title, dice=expected[Region.WT], bound=bound)]


def told_by(
    expected_dice: ExpectedDice | None,
    quality: Mapping[Region, Quality],
    volumes_ml: Mapping[Region, float],
    input_reasons: Sequence[Reason] = (),
) -> dict[str, Any]:
    """``expected_dice`` per region, where there is a model of it, and ``needs_review``."""
    estimates = None if expected_dice is None else expected_dice.estimate(quality)
    bound = LOW_EXPECTED_DICE if expected_dice is None else expected_dice.bound
    reasons = (*reasons_for_review(volumes_ml, estimates, bound), *input_reasons)
    expected = {str(region): asdict(each) for region, each in (estimates or {}).items()}
    return {**({"expected_dice": expected} if expected else {}), "needs_review": [asdict(each) for each in reasons]}


@cache
def _sentences() -> dict[str, str]:
    """Sentence of each code."""
    return tomllib.loads(files(__package__).joinpath("needs_review.toml").read_text(encoding="utf-8"))
