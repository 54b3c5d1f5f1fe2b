"""See where not to trust a brain-tumour segmentation: segmentation and its uncertainty in napari.

For research use only. What is listed in ``__all__`` is the package's public face; each name is loaded when it is first
used, so that importing the package loads neither torch nor matplotlib nor napari.

Examples
--------
>>> from napari_uncseg import Predictor, load_model, load_study, save_prediction
>>> study = load_study("BraTS-GLI-00000-000")  # doctest: +SKIP
>>> prediction = Predictor(load_model(), device="auto").predict(study)  # doctest: +SKIP
>>> save_prediction(prediction, "results")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_uncseg.evaluation import evaluate
    from napari_uncseg.inference.predictor import Predictor
    from napari_uncseg.io.loading import load_study
    from napari_uncseg.io.results import load_prediction
    from napari_uncseg.io.saving import save_prediction
    from napari_uncseg.models.model import load_model

    __version__: str

__all__ = ["Predictor", "__version__", "evaluate", "load_model", "load_prediction", "load_study", "save_prediction"]

_HOMES = {
    "Predictor": "inference.predictor",
    "evaluate": "evaluation",
    "load_model": "models.model",
    "load_prediction": "io.results",
    "load_study": "io.loading",
    "save_prediction": "io.saving",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-uncseg")
    except PackageNotFoundError:  # a source tree on the path that was never installed
        return "0+unknown"
