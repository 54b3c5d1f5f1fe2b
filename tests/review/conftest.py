"""A prediction whose doubt is known by construction."""

import numpy as np
import pytest

from napari_uncseg.io.prediction import Prediction
from napari_uncseg.labels import Label

SHAPE = (64, 60, 56)
CENTRE = (28, 30, 28)
RADIUS = 14


def distance_from(voxel):
    offsets = np.indices(SHAPE) - np.reshape(voxel, (3, 1, 1, 1))
    return np.sqrt((offsets**2).sum(axis=0))


@pytest.fixture
def shell_prediction() -> Prediction:
    """A ball of tumour with doubt in a thin closed shell round it, a thick blob on its edge, and one far away.

    The shell is three voxels thick and has the value 0.4; the blob on the edge (7 voxels in radius, peak 0.9) lies at
    x = 42, the far one (5 voxels, peak 0.7) at (56, 8, 8).
    """
    distance = distance_from(CENTRE)
    segmentation = np.where(distance < RADIUS, Label.ED, 0).astype(np.uint8)
    segmentation[distance < 6] = Label.ET
    doubt = np.where(np.abs(distance - RADIUS) < 1.5, 0.4, 0.0)
    for voxel, radius, peak in (((42, 30, 28), 7, 0.9), ((56, 8, 8), 5, 0.7)):
        away = distance_from(voxel)
        doubt = np.maximum(doubt, np.where(away <= radius, peak - 0.02 * away, 0.0))
    probabilities = np.stack([1 / (1 + np.exp(distance - radius)) for radius in (RADIUS, 6, 6)]).astype(np.float32)
    return Prediction(
        study_id="shell",
        probabilities=probabilities,
        segmentation=segmentation,
        maps={"unc_output": doubt.astype(np.float32), "error": (doubt > 0.8).astype(np.float32)},
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]),
        provenance={
            "model": {"name": "made for tests", "sha256": "0" * 64},
            "inputs": {"t1c": {"file": "t1c.nii.gz", "sha256": "1" * 64}},
            "settings": {"members": 1},
        },
    )
