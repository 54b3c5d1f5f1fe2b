"""A model folder says which model it is without its weights being read."""

import json

import pytest

from napari_uncseg.errors import ModelError
from napari_uncseg.models.identity import PROVENANCE, WEIGHTS, identify
from napari_uncseg.models.model import load_model


def test_says_what_loading_says(tiny_model_folder):
    for folder in (None, tiny_model_folder):
        model, identity = load_model(folder), identify(folder)
        assert (identity.name, identity.sha256, identity.snapshots) == (model.name, model.sha256, model.snapshots)


def test_reads_no_weights(tiny_model_folder):
    known = identify(tiny_model_folder)
    (tiny_model_folder / WEIGHTS).unlink()
    assert identify(tiny_model_folder) == known


def test_a_calibration_beside_the_weights_makes_no_other_model(tiny_model_folder):
    known = load_model(tiny_model_folder).sha256
    (tiny_model_folder / "calibration.json").write_text("{}")
    assert load_model(tiny_model_folder).sha256 == known == identify(tiny_model_folder).sha256


def test_what_is_no_model_is_said(tiny_model_folder, tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        identify(tmp_path / "nowhere")
    path = tiny_model_folder / PROVENANCE
    content = json.loads(path.read_text())
    for change, words in (
        ({"files": {}}, "does not name"),
        ({"files": 3}, "does not name"),
        ({"format": "other"}, "no model"),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(ModelError, match=words):
            identify(tiny_model_folder)
