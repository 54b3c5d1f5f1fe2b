"""The command line from the outside, with a quick predictor in the network's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from napari_uncseg.cli.app import app
from napari_uncseg.errors import Cancelled
from napari_uncseg.inference import pipeline
from napari_uncseg.io.prediction import Prediction
from napari_uncseg.io.study import Study


@pytest.fixture
def uncseg() -> Callable[..., Result]:
    """Run a command, which ends with a code; whatever it is, no traceback is seen and no exception escapes."""

    def run(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return run


class QuickPredictor:
    """Answers every study with the same prediction; counts how often it was asked to compute."""

    def __init__(self, prediction: Prediction, sha256: str = "0" * 64) -> None:
        self.prediction = prediction
        self.sha256 = sha256
        self.studies: list[str] = []
        self.asked: list[dict[str, Any]] = []

    def check(self, **options: Any) -> None:
        if "calibration" in options:
            options["calibration"].check(self.sha256, "single")

    def provenance(self, study: Study, command: str | None = None, **options: Any) -> Mapping[str, Any]:
        inputs = {source.role: {"file": source.path.name, "sha256": source.sha256} for source in study.sources}
        model = {"name": "quick", "sha256": self.sha256}
        found = {"study": study.id, "model": model, "inputs": inputs, "command": command}
        found["warnings"] = list(study.warnings)
        if "ensemble" in options:
            settings = {**self.prediction.provenance["settings"], "members": 8, "method": options["ensemble"].method}
            found |= {"settings": settings, "members": {"members_done": 8, "members_wanted": 8}}
        return dict(self.prediction.provenance) | found

    def predict(
        self,
        study: Study,
        *,
        progress: Callable[[int, int, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        command: str | None = None,
        **options: Any,
    ) -> Prediction:
        self.studies.append(study.id)
        self.asked.append(options)
        if progress is not None:
            progress(1, 2, "Running the network")
        if cancelled is not None and cancelled():
            raise Cancelled("The run was cancelled; nothing was written.")
        provenance = {**self.provenance(study, command, **options), "dice": {"WT": 0.81, "TC": 0.7, "ET": None}}
        return replace(self.prediction, study_id=study.id, provenance=provenance, header=study.header)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tiny_prediction: Prediction) -> QuickPredictor:
    predictor = QuickPredictor(tiny_prediction)
    monkeypatch.setattr(pipeline, "make_predictor", lambda settings, notify: predictor)
    return predictor
