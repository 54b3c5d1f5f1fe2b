"""Studies and predictions: from files to arrays and back, without torch and without Qt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = ("brain", "discovery", "loading", "nifti", "prediction", "provenance", "results", "study")


def __getattr__(name: str) -> Any:
    """A name of :data:`__all__`, from the module it stands in: a training that reads no study needs none of them."""
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f"{__name__}.{module}")).get(name)
            if found is not None and found.__module__ == f"{__name__}.{module}":
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
