"""Studies and predictions: from files to arrays and back, without torch and without Qt."""

from __future__ import annotations

from napari_uncseg.io.brain import brain_mask, has_skull
from napari_uncseg.io.discovery import StudyFiles, find_studies, study_files
from napari_uncseg.io.loading import load_study, study_from_arrays
from napari_uncseg.io.nifti import read_volume, write_volume
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.results import (
    AnotherResult,
    Saved,
    check_free,
    check_writable,
    existing,
    fingerprint,
    load_prediction,
    save_prediction,
)
from napari_uncseg.io.study import Source, Study

__all__ = [
    "AnotherResult",
    "Prediction",
    "Saved",
    "Source",
    "Study",
    "StudyFiles",
    "brain_mask",
    "check_free",
    "check_writable",
    "existing",
    "find_studies",
    "fingerprint",
    "has_skull",
    "load_prediction",
    "load_study",
    "read_volume",
    "save_prediction",
    "study_files",
    "study_from_arrays",
    "write_volume",
]
