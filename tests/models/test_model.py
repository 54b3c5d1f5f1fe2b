"""A model folder comes back as it was saved, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from napari_uncseg.errors import ModelError
from napari_uncseg.models.identity import DATASET, PLANS, PROVENANCE, WEIGHTS, bundled_model_folder
from napari_uncseg.models.model import Model, load_model, output_channels, save_model
from napari_uncseg.models.unet import build_network
from tests.models.conftest import Bomb
from tests.plans import TWO_LEVELS, make_plans

PLANS_JSON = make_plans()


@pytest.fixture
def saved(tmp_path: Path) -> Model:
    torch.manual_seed(0)
    network = build_network(PLANS_JSON, 4, output_channels(PLANS_JSON)).eval()
    return save_model(Model(network, PLANS_JSON, name="tiny"), tmp_path / "model")


def test_round_trip(saved: Model) -> None:
    loaded = load_model(saved.folder)
    assert loaded.sha256 == saved.sha256
    assert loaded.name == "tiny"
    assert loaded.patch_size == (16, 16, 16)
    assert loaded.spacing == (2.0, 2.0, 2.0)
    assert loaded.orientation == "RAS"
    assert loaded.has_uncertainty
    images = torch.randn(1, 4, 16, 16, 16)
    assert torch.equal(loaded.network(images), saved.network(images))
    assert not loaded.network.training


def test_half_halves_the_weights(saved: Model, tmp_path: Path) -> None:
    half = save_model(saved, tmp_path / "half", half=True)
    assert half.sha256 != saved.sha256
    size, full = ((model.folder / WEIGHTS).stat().st_size for model in (half, saved))
    assert size < 0.75 * full
    load_model(half.folder)


@pytest.mark.parametrize("name", [WEIGHTS, PLANS, DATASET])
def test_flipped_byte_is_named(saved: Model, name: str) -> None:
    path = saved.folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=name):
        load_model(saved.folder)


def test_pickle_posing_as_weights_is_never_executed(saved: Model, tmp_path: Path) -> None:
    torch.save(Bomb(tmp_path / "exploded"), saved.folder / WEIGHTS)
    with pytest.raises(ModelError, match="pickle"):
        load_model(saved.folder)
    assert not (tmp_path / "exploded").exists()


def test_folder_of_a_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_final.pth").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        load_model(tmp_path)
    with pytest.raises(ModelError):
        load_model(tmp_path / "absent")


def test_foreign_provenance_is_refused(saved: Model) -> None:
    path = saved.folder / PROVENANCE
    path.write_text(json.dumps({"format": "something else"}))
    with pytest.raises(ModelError):
        load_model(saved.folder)
    path.write_text("{")
    with pytest.raises(ModelError):
        load_model(saved.folder)


def test_weights_of_another_network_are_refused(saved: Model, tmp_path: Path) -> None:
    plans = make_plans(kwargs={**TWO_LEVELS, "features_per_stage": [4, 6]})
    save_model(Model(saved.network, plans), tmp_path / "other")
    with pytest.raises(ModelError):
        load_model(tmp_path / "other")


def test_settings_that_are_no_block_are_refused(saved: Model, tmp_path: Path) -> None:
    save_model(Model(saved.network, {**PLANS_JSON, "uncseg": []}), tmp_path / "other")
    with pytest.raises(ModelError, match=r"plans\.json"):
        load_model(tmp_path / "other")


def test_weights_that_are_not_finite_are_refused(saved: Model, tmp_path: Path) -> None:
    with torch.no_grad():
        next(saved.network.parameters()).fill_(float("nan"))
    save_model(saved, tmp_path / "broken")
    with pytest.raises(ModelError):
        load_model(tmp_path / "broken")


def test_bundled_model_loads_and_is_small() -> None:
    model = load_model()
    assert model.has_uncertainty
    assert model.folder == bundled_model_folder()
    assert sum(path.stat().st_size for path in model.folder.iterdir()) <= 25e6
    assert (model.folder / "MODEL_CARD.md").is_file()
