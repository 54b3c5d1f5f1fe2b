"""Reasons why a study needs review, by their codes."""

import numpy as np
import pytest

from napari_uncseg.labels import Region
from napari_uncseg.uncertainty.expected_dice import Estimate
from napari_uncseg.uncertainty.needs_review import reasons_for_review, reasons_to_doubt

VOLUMES = {Region.WT: 40.0, Region.TC: 10.0, Region.ET: 0.0}


def expected(value):
    return dict.fromkeys(Region, Estimate(value, value / 2, 1.0))


@pytest.mark.parametrize(
    ("volumes", "estimates", "codes"),
    [
        (VOLUMES, None, []),
        (VOLUMES, expected(0.9), []),
        (VOLUMES, expected(0.6), ["low_expected_dice"]),
        (dict.fromkeys(Region, 0.0), None, ["no_tumour"]),
        (dict.fromkeys(Region, 0.0), expected(0.5), ["no_tumour"]),
    ],
)
def test_reasons(volumes, estimates, codes):
    found = reasons_for_review(volumes, estimates)
    assert [reason.code for reason in found] == codes
    assert all(reason.text.endswith(".") for reason in found)


def test_the_bound_is_a_setting():
    assert not reasons_for_review(VOLUMES, expected(0.6), bound=0.5)
    assert reasons_for_review(VOLUMES, expected(0.9), bound=0.95)


def test_a_reference_that_is_none_is_doubted():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1:3] = 3
    assert [each.code for each in reasons_to_doubt(labels, labels)] == ["own_reference"]
    assert [each.code for each in reasons_to_doubt((labels > 0).astype(np.uint8), labels)] == ["reference_of_one_label"]
    assert not reasons_to_doubt(np.zeros_like(labels), np.zeros_like(labels))
    labels[1] = 2
    assert not reasons_to_doubt(labels, np.zeros_like(labels))
