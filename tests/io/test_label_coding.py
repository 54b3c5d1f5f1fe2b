"""Label codings of the BraTS years."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_uncseg.errors import StudyError
from napari_uncseg.io.label_coding import choose_coding, coding_of_names, decode_reference
from napari_uncseg.labels import CODINGS, Coding

DECATHLON = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


def decode(values, implied=None, asked=None, undecided=None):
    array = np.asarray(values).reshape(-1, 1, 1)
    labels, _, warnings = decode_reference(array, implied=implied, asked=asked, undecided=undecided, name="seg.nii.gz")
    return labels.ravel().tolist(), warnings


@pytest.mark.parametrize(
    ("values", "implied", "coding"),
    [
        ({1, 2, 4}, None, Coding.BRATS2021),
        ({1, 2, 4}, Coding.BRATS2021, Coding.BRATS2021),
        ({4}, Coding.BRATS2021, Coding.BRATS2021),
        ({1, 2, 3}, None, Coding.BRATS2023),
        ({1, 2, 3}, Coding.BRATS2021, Coding.BRATS2023),
        ({2}, Coding.BRATS2023, Coding.BRATS2023),
        ({1, 2}, Coding.BRATS2021, Coding.BRATS2021),
        (set(), None, Coding.BRATS2023),
        ({1, 2, 3, 4}, None, Coding.BRATS2024),
        ({1, 2, 3, 4}, Coding.BRATS2023, Coding.BRATS2024),
        ({1, 2, 3}, Coding.DECATHLON, Coding.DECATHLON),
    ],
)
def test_values_and_naming_choose_the_coding(values, implied, coding):
    assert choose_coding(values, implied, name="seg.nii.gz") is coding


def test_four_without_three_under_a_recent_name_has_to_be_asked_for():
    with pytest.raises(StudyError, match="--coding"):
        decode([0, 1, 2, 4], implied=Coding.BRATS2023)
    assert decode([0, 1, 2, 4], implied=Coding.BRATS2023, asked=Coding.BRATS2021)[0] == [0, 1, 2, 3]
    labels, warnings = decode([0, 1, 2, 4], implied=Coding.BRATS2023, asked=Coding.BRATS2024)
    assert labels == [0, 1, 2, 0]
    assert "resection cavity" in warnings[0]


@pytest.mark.parametrize("values", [[0, 1, 5], [-1, 1, 2], [0, 255], [7]])
def test_unknown_values_are_named(values):
    with pytest.raises(StudyError, match=str(max(values, key=abs))):
        decode(values)


@pytest.mark.parametrize("numbers", [[1, 2, 3], [[1]], ["a"], [1.5]])
def test_regions_that_are_not_all_spelt_out_say_nothing(numbers):
    labels = {"background": 0, "necrosis": 1, "edema": 2, "enhancing tumor": 3}
    assert coding_of_names(labels) is Coding.BRATS2023
    assert coding_of_names({**labels, "whole tumor": numbers}) is None


@pytest.mark.parametrize("values", [[0, 1.5, 2], [0, np.nan], [np.inf]])
def test_values_that_are_no_labels(values):
    with pytest.raises(StudyError):
        decode(values)


def test_values_outside_the_asked_coding():
    with pytest.raises(StudyError, match=r"brats2021.*1, 2, 4"):
        decode([1, 2, 3], asked=Coding.BRATS2021)


def test_undecided_names_ask_only_when_there_is_a_label():
    with pytest.raises(StudyError, match="Say it"):
        decode([0, 1], undecided="Say it.")
    assert decode([0, 0], undecided="Say it.")[0] == [0, 0]


@pytest.mark.parametrize(
    ("names", "coding"),
    [
        (DECATHLON, Coding.DECATHLON),
        ({"background": 0, "edema": 1, "NET": 2, "ET": 3}, Coding.DECATHLON),
        ({"background": 0, "NCR": 1, "ED": 2, "ET": 3}, Coding.BRATS2023),
        ({"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}, Coding.BRATS2024),
        ({"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]}, Coding.BRATS2023),
        ({"background": 0, "tumour": 1}, None),
        ({"background": 0, "whole tumor": [1, 2, 3]}, None),
        ({"background": "zero"}, None),
    ],
)
def test_names_of_a_dataset_json(names, coding):
    assert coding_of_names(names) is coding


@settings(deadline=None)
@given(coding=st.sampled_from(Coding), data=st.data())
def test_labels_survive_every_coding(coding, data):
    inverse = {label: value for value, label in CODINGS[coding].items() if label}
    labels = data.draw(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=30))
    stored = np.array(
        [inverse.get(label, 0) for label in labels], dtype=data.draw(st.sampled_from(["u1", "<i2", "f4"]))
    )
    assert decode(stored, asked=coding)[0] == labels
