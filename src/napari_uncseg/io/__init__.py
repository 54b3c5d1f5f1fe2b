"""Studies and predictions: from files to arrays and back, without torch and without Qt."""

from __future__ import annotations

from napari_uncseg.io.brain import brain_mask, has_skull
from napari_uncseg.io.discovery import StudyFiles, find_studies, study_files
from napari_uncseg.io.loading import load_study, study_from_arrays
from napari_uncseg.io.nifti import read_volume, write_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.provenance import fingerprint
from napari_uncseg.io.results import find_results, load_prediction, made_from, read_result, save_prediction
from napari_uncseg.io.study import Source, Study

__all__ = [
    "Prediction",
    "Source",
    "Study",
    "StudyFiles",
    "brain_mask",
    "find_results",
    "find_studies",
    "fingerprint",
    "has_skull",
    "load_prediction",
    "load_study",
    "made_from",
    "read_result",
    "read_volume",
    "save_prediction",
    "study_files",
    "study_from_arrays",
    "write_volume",
]
