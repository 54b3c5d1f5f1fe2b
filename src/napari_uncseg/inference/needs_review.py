"""Why a study is to be reviewed before its segmentation is used: one list of reasons, each a code and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_uncseg.labels import REGION_TITLES, Label, Region
from napari_uncseg.uncertainty.expected_dice import Estimate

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


def reasons_to_doubt(
    reference: npt.NDArray[np.integer[Any]], segmentation: npt.NDArray[np.integer[Any]]
) -> list[Reason]:
    """Why a reference may be no expert's segmentation: ``own_reference``, ``reference_of_one_label``."""
    found = []
    if reference.any() and np.array_equal(reference, segmentation):
        found.append(
            Reason("own_reference", "The reference agrees with the segmentation in every voxel: is it an expert's?")
        )
    if set(np.unique(reference).tolist()) == {0, int(Label.NCR)}:
        found.append(
            Reason(
                "reference_of_one_label",
                "The reference holds the label 1 alone, which is read as necrotic core; of a mask of the whole tumour "
                "only the Dice of WT counts.",
            )
        )
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
    found = []
    if not volumes_ml[Region.WT]:
        found.append(
            Reason("no_tumour", "No tumour was found: that nothing is outlined does not mean that nothing is there.")
        )
    elif expected is not None and expected[Region.WT].value < bound:
        whole = expected[Region.WT]
        found.append(
            Reason(
                "low_expected_dice",
                f"The expected Dice of the {REGION_TITLES[Region.WT]} is {whole.value:.2f} "
                f"({whole.low:.2f} to {whole.high:.2f}), below {bound:.2f}.",
            )
        )
    return found
