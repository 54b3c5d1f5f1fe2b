"""The second stage of a cascade: where it looks, what it sees, and that it comes back where it belongs."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_uncseg.errors import ModelError
from napari_uncseg.inference.forward_pass import LARGEST_SIDE, mean_of_stages, second_stage_box, second_stage_tile
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.inference.sliding_window import count_tiles
from napari_uncseg.models.identity import PREVIOUS_PROVENANCE, identify
from napari_uncseg.models.model import load_model, save_model
from napari_uncseg.models.unet import build_network
from napari_uncseg.uncertainty.needs_review import RESULT_CODES
from tests.inference.conftest import UNET, Threshold, model_of, unet_of

SIDES = st.tuples(*[st.integers(20, 180)] * 3)


@settings(deadline=None)
@given(SIDES, st.data())
def test_box_holds_what_was_found_with_its_margin(shape, data):
    low = [data.draw(st.integers(0, size - 1)) for size in shape]
    high = [data.draw(st.integers(first + 1, size)) for first, size in zip(low, shape, strict=True)]
    found = np.zeros(shape, np.float32)
    found[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = 0.5
    box = second_stage_box(found, (1.0, 1.0, 2.0), (96, 96, 96))
    for part, first, last, size, margin in zip(box, low, high, shape, (12, 12, 6), strict=True):
        assert 0 <= part.start <= max(0, first - margin)
        assert min(size, last + margin) <= part.stop <= size
        assert part.stop - part.start >= min(96, size)


def test_box_lies_round_the_likeliest_voxel_where_nothing_was_found():
    hardly = np.zeros((60, 60, 60), np.float32)
    hardly[40, 20, 30] = 0.01
    box = second_stage_box(hardly, (1.0, 1.0, 1.0), (16, 16, 16))
    assert all(part.start < place < part.stop for part, place in zip(box, (40, 20, 30), strict=True))
    assert all(part.stop - part.start < 60 for part in box)


@settings(deadline=None)
@given(SIDES)
def test_tile_fits_the_network_and_is_never_much_longer_than_allowed(shape):
    tile = second_stage_tile(shape, (16, 16, 16))
    assert all(side % 16 == 0 and side <= LARGEST_SIDE for side in tile)
    if max(shape) <= LARGEST_SIDE:
        assert count_tiles(shape, tile) == 1


class SecondStage(nn.Module):
    """WT where the previous stage saw it, TC where T1c is bright as well; sees seven channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(7, 4, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias[:] = -8
            self.layer.weight[0, 4] = 16
            self.layer.weight[1, 0] = 8
            self.layer.weight[3, 4] = 10

    def forward(self, x):
        return self.layer(x)


@pytest.fixture
def cascade():
    """A first stage at 2 mm and a second one at 1 mm."""
    first = model_of(Threshold(), spacing=(2.0, 2.0, 2.0), patch=(8, 8, 8))
    second = model_of(SecondStage())
    second.plans["uncseg"]["previous_stage"] = True
    return dataclasses.replace(second, previous_stage=first)


def test_second_stage_refines_what_the_first_one_found(study, cascade):
    first = Predictor(cascade.previous_stage, device="cpu").predict(study)
    prediction = Predictor(cascade, device="cpu").predict(study)
    whole, core = prediction.segmentation > 0, np.isin(prediction.segmentation, (1, 3))
    assert core.sum() > 0
    assert np.array_equal(core & ~whole, np.zeros_like(core))
    overlap = (whole & (first.segmentation > 0)).sum() / (first.segmentation > 0).sum()
    assert overlap > 0.8  # a ball of 8 voxels across, seen at 2 mm
    assert not (first.segmentation == 1).any()  # it knows no core
    assert first.provenance["quality"]["WT"]["stages"] == 1
    assert 0.9 < prediction.provenance["quality"]["WT"]["stages"] <= 1
    assert prediction.provenance["quality"]["TC"]["stages"] < 0.9


def test_stages_share_what_they_say_by_their_weights(study, cascade):
    first = Predictor(cascade.previous_stage, device="cpu").predict(study)
    second = Predictor(cascade, device="cpu").predict(study)
    cascade.plans["uncseg"]["stage_weights"] = {"WT": 0.25, "TC": 0.5, "ET": 1.0}
    both = Predictor(cascade, device="cpu").predict(study)
    # Far inside the tumour, where the resampling of logits from 2 mm changes nothing.
    inside = first.probabilities[0] == first.probabilities[0].max()
    for index, weight in enumerate((0.25, 0.5, 1.0)):
        expected = weight * second.probabilities[index] + (1 - weight) * first.probabilities[index]
        np.testing.assert_allclose(both.probabilities[index][inside], expected[inside], atol=0.01)
    assert both.provenance["quality"]["TC"]["stages"] == second.provenance["quality"]["TC"]["stages"]
    assert not np.allclose(both.probabilities[1], second.probabilities[1], atol=0.1)


def test_mean_of_stages_is_that_of_their_probabilities():
    first, second = torch.randn(4, 2, 3, 4), torch.randn(4, 2, 3, 4)
    assert mean_of_stages(first, second, (1, 1, 1)) is second
    found = torch.sigmoid(mean_of_stages(first, second, (0.5, 0.7, 0)))
    one, other = torch.sigmoid(first), torch.sigmoid(second)
    torch.testing.assert_close(found[1], 0.3 * one[1] + 0.7 * other[1])
    torch.testing.assert_close(found[2], one[2])
    torch.testing.assert_close(found[3], (one[3] + other[3]) / 2)  # the uncertainty is that of WT


def test_weights_of_stages_that_are_none_are_refused(study, cascade):
    cascade.plans["uncseg"]["stage_weights"] = {"WT": 1.5}
    with pytest.raises(ModelError):
        Predictor(cascade, device="cpu").predict(study)


def test_mirrored_members_of_a_cascade_agree_where_nothing_depends_on_the_side(study, cascade):
    plain = Predictor(cascade, device="cpu").predict(study)
    members = Predictor(cascade, device="cpu").predict(study, ensemble="tta:2")
    np.testing.assert_allclose(members.probabilities, plain.probabilities, atol=0.05)
    assert members.provenance["quality"]["WT"]["agreement"] > 0.95
    assert plain.provenance["quality"]["WT"]["agreement"] == 1
    assert 0.5 < plain.provenance["quality"]["WT"]["soft_dice"] <= 1
    assert not {reason["code"] for reason in plain.provenance["needs_review"]} & set(RESULT_CODES)


def test_cascade_is_saved_whole_and_held_by_its_hashes(tmp_path, study):
    def with_unet(model, inputs, seed=0):
        architecture = {"network_class_name": "PlainConvUNet", "arch_kwargs": UNET}
        model.plans["configurations"]["3d_fullres"]["architecture"] = architecture
        torch.manual_seed(seed)
        return dataclasses.replace(model, network=build_network(model.plans, inputs, 4).eval())

    first, second = with_unet(model_of(unet_of()), 4), with_unet(model_of(unet_of()), 7)
    second.plans["uncseg"]["previous_stage"] = True
    saved = save_model(dataclasses.replace(second, previous_stage=first), tmp_path / "cascade")
    loaded = load_model(tmp_path / "cascade")
    assert loaded.previous_stage is not None
    assert loaded.sha256 == saved.sha256 == identify(tmp_path / "cascade").sha256
    expected = Predictor(saved, device="cpu").predict(study)
    found = Predictor(loaded, device="cpu").predict(study)
    np.testing.assert_array_equal(expected.probabilities, found.probabilities)
    # Another first stage in its place is refused.
    other = with_unet(model_of(unet_of()), 4, seed=5)
    save_model(other, tmp_path / "cascade" / "previous_stage")
    assert (tmp_path / "cascade" / PREVIOUS_PROVENANCE).is_file()
    with pytest.raises(ModelError):
        load_model(tmp_path / "cascade")
