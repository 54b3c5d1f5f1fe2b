"""From a study to what the network sees, and back."""

import dataclasses

import numpy as np
import pytest
import torch

from napari_uncseg.errors import ModelError, StudyError
from napari_uncseg.inference.preprocessing import InputPlan, brain_crop, network_input
from napari_uncseg.inference.resampling import resample
from tests.inference.conftest import plans_of, study_of, turn_study


def test_z_score_in_the_brain_and_zero_outside(study):
    plan = InputPlan.from_plans(plans_of())
    crop = brain_crop(study, plan)
    image = network_input(study, plan, crop).numpy()
    brain = study.brain[crop.box]
    assert image.shape == (4, *brain.shape)
    assert image.dtype == np.float32
    assert np.all(image[:, ~brain] == 0)
    for channel, raw in zip(image, study.images, strict=True):
        inside = raw[study.brain].astype(np.float64)
        np.testing.assert_allclose(channel[brain], (inside - inside.mean()) / inside.std(), atol=1e-4)
    # The crop is the brain's bounding box, no more and no less.
    assert all(brain.any(axis=axes).all() for axes in ((1, 2), (0, 2), (0, 1)))
    assert np.count_nonzero(brain) == np.count_nonzero(study.brain)


def test_unmasked_normalisation_uses_the_whole_crop(study):
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["use_mask_for_norm"] = [False] * 4
    plan = InputPlan.from_plans(plans)
    image = network_input(study, plan, brain_crop(study, plan))
    assert abs(float(image[0].mean())) < 1e-4
    assert float(image[0].std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_a_constant_modality_becomes_zero(study):
    images = study.images.copy()
    images[2] = 7
    plan = InputPlan.from_plans(plans_of())
    flat = dataclasses.replace(study, images=images)
    assert not network_input(flat, plan, brain_crop(flat, plan))[2].any()


def test_spacing_decides_the_grid():
    plan = InputPlan.from_plans(plans_of(spacing=(2.0, 2.0, 2.0)))
    fine, coarse = brain_crop(study_of(), plan), brain_crop(study_of(spacing=(1.0, 2.0, 4.0)), plan)
    assert fine.shape == coarse.shape == (19, 23, 17)
    assert fine.network_shape == (10, 12, 8)
    assert coarse.network_shape == (10, 23, 34)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_any_axis_order_is_turned_to_the_models(study, axes, signs):
    plan = InputPlan.from_plans(plans_of(spacing=(2.0, 1.5, 1.0)))
    turned = turn_study(study, axes, signs)
    crop = brain_crop(turned, plan)
    expected = network_input(study, plan, brain_crop(study, plan))
    assert torch.equal(network_input(turned, plan, crop), expected)
    # And back: what is put onto the study's grid lies where it came from.
    assert np.shares_memory(crop.take(turned.brain), turned.brain)
    cropped = np.where(turned.brain, turned.images, 0)
    np.testing.assert_array_equal(crop.put_back(crop.take(cropped)), cropped)


def test_an_oblique_grid_takes_the_closest_axes(study):
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, -1, 1])
    crop = brain_crop(dataclasses.replace(study, affine=affine), InputPlan.from_plans(plans_of()))
    assert crop.axes == (0, 1, 2)
    assert crop.flips == (True, True, False)
    assert crop.network_shape == crop.shape


def test_logits_come_back_to_the_crop_where_they_were(study):
    plan = InputPlan.from_plans(plans_of(spacing=(2.0, 2.0, 2.0)))
    crop = brain_crop(study, plan)
    ramp = torch.arange(crop.shape[1], dtype=torch.float32).expand(crop.shape[0], -1)
    ramp = ramp[None, :, :, None].expand(1, *crop.shape).contiguous()
    back = resample(resample(ramp, crop.network_shape), crop.shape)
    torch.testing.assert_close(back[:, :, 4:-4], ramp[:, :, 4:-4], atol=1e-3, rtol=0)


def test_no_orientation_keeps_the_studys_axes(study):
    crop = brain_crop(turn_study(study, (2, 0, 1), (-1, 1, 1)), InputPlan.from_plans(plans_of(orientation=None)))
    assert crop.axes == (0, 1, 2)
    assert crop.flips == (False, False, False)


def test_a_study_without_a_brain_is_refused(study):
    empty = dataclasses.replace(study, brain=np.zeros_like(study.brain))
    with pytest.raises(StudyError, match="toy"):
        brain_crop(empty, InputPlan.from_plans(plans_of()))


def test_divisors_are_the_products_of_the_strides():
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"] = [1, [2, 2, 1], 2]
    assert InputPlan.from_plans(plans).divisors == (4, 4, 2)


@pytest.mark.parametrize(
    ("plans", "configuration"),
    [
        ({"orientation": "RAZ"}, {}),
        ({"orientation": "RAP"}, {}),
        ({"spacing": (1.0, 0.0, 1.0)}, {}),
        ({}, {"normalization_schemes": ["CTNormalization"] * 4}),
        ({}, {"patch_size": [16, 15, 16]}),  # which the network cannot halve
        ({}, {"use_mask_for_norm": None}),
    ],
)
def test_plans_that_cannot_be_followed_are_refused(plans, configuration):
    content = plans_of(**plans)
    content["configurations"]["3d_fullres"].update(configuration)
    with pytest.raises(ModelError, match=r"plans\.json"):
        InputPlan.from_plans(content)
