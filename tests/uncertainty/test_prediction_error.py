"""Prediction failure: which voxels differ from the reference, for the whole tumour and for its regions."""

import numpy as np
import pytest
import torch

from napari_uncseg.uncertainty.measures import compute_prediction_failure

#                      agree  FP  FN  NCR for ET  ED for ET  agree
PREDICTION = np.array([0, 2, 0, 1, 2, 3], np.uint8).reshape(6, 1, 1)
REFERENCE = np.array([0, 0, 3, 3, 3, 3], np.uint8).reshape(6, 1, 1)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_each_reading_of_failure(convert):
    def failure(kind):
        return np.asarray(compute_prediction_failure(convert(PREDICTION), convert(REFERENCE), kind))

    assert failure("wt").ravel().tolist() == [False, True, True, False, False, False]
    assert failure("any_region").ravel().tolist() == [False, True, True, True, True, False]
    per_region = failure("per_region")
    assert per_region.shape == (3, 6, 1, 1)
    assert per_region.reshape(3, 6).astype(int).tolist() == [
        [0, 1, 1, 0, 0, 0],  # WT
        [0, 0, 1, 0, 1, 0],  # TC
        [0, 0, 1, 1, 1, 0],  # ET
    ]


def test_default_is_the_whole_tumour_and_torch_stays_torch():
    result = compute_prediction_failure(torch.from_numpy(PREDICTION), torch.from_numpy(REFERENCE))
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.bool
    assert int(result.sum()) == 2


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        compute_prediction_failure(PREDICTION, REFERENCE[:3])
    with pytest.raises(ValueError, match="none of"):
        compute_prediction_failure(PREDICTION, REFERENCE, "tumour")
