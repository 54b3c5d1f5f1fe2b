"""Patients whose intensities were stored in eight bits are segmented as they were before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.discovery import find_studies
from napari_uncseg.io.loading import load_study
from napari_uncseg.models.model import load_model

LARGEST = 90


def quantised(image: np.ndarray) -> np.ndarray:
    """Whole numbers from 0, which is the background, to 90 at the 99.9th percentile of the brain."""
    top = np.percentile(image[image > 0], 99.9)
    return np.where(image > 0, np.clip(np.round(image / top * LARGEST), 1, LARGEST), 0).astype(np.float32)


@pytest.mark.slow
def test_ninety_steps_of_intensity_give_the_same_whole_tumour(real_data):
    predictor = Predictor(load_model(), device="cpu")
    for files in find_studies(real_data / "brats2021"):
        study = load_study(files)
        coarse = replace(study, images=np.stack([quantised(image) for image in study.images]))
        dice = [predictor.predict(each).provenance["dice"]["WT"] for each in (study, coarse)]
        assert dice[0] == pytest.approx(dice[1], abs=0.005), study.id
