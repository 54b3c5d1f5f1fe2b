"""The glance at the input: a sound study raises no alarm, and each fault raises its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from napari_uncseg._plugin.sample_data import phantom_folder
from napari_uncseg.inference import familiar
from napari_uncseg.inference.input_checks import Glance, check_input, curvature, displacement, swap_scores
from napari_uncseg.inference.predictor import Predictor
from napari_uncseg.io.loading import load_study
from napari_uncseg.io.study import Study
from napari_uncseg.models.model import load_model
from uncseg_training.experiments.input_checks import faults, half_found, shifted, turned

FOUND = {
    ("modalities_swapped", "FLAIR and T2w swapped", 0),
    ("modalities_swapped", "T1c and T1n swapped", 0),
    ("same_image_twice", "one image twice", 0),
    ("same_image_twice", "one image twice, rescaled", 0),
    ("same_image_twice", "one image twice, in 8 bits and with noise", 0),
    ("not_registered", "shifted, mm", 6),
    ("not_registered", "turned, degrees", 6),
    ("thick_slices", "slices, mm", 10),
    ("incomplete_modality", "share missing", 0.3),
    ("unfamiliar_input", "inverted", 0),
    ("unfamiliar_input", "grey levels left", 4),
    ("unfamiliar_input", "noise, middle halves", 1),
    ("unfamiliar_input", "blurred, mm", 8),
    ("brain_size", "voxels too small or too large, times", 0.5),
    ("brain_size", "voxels too small or too large, times", 1.3),
}


@pytest.fixture(scope="module")
def sample() -> Study:
    return load_study(phantom_folder())


def codes(study: Study) -> set[str]:
    return {reason.code for reason in check_input(study)}


def test_a_sound_study_raises_no_alarm(sample: Study) -> None:
    assert not codes(sample)


def test_each_fault_is_found(sample: Study) -> None:
    tried = set()
    for code, what, size, study in faults(sample, np.random.default_rng(0)):
        if (code, what, size) in FOUND:
            tried.add((code, what, size))
            assert code in codes(study), what
    assert tried == FOUND


def test_a_skull_that_loading_saw_is_a_reason(sample: Study) -> None:
    assert "skull" in codes(replace(sample, has_skull=True))


def test_what_an_image_looks_like_does_not_depend_on_gain_and_offset(sample: Study) -> None:
    glance = Glance.of(sample)
    here = familiar.features(sample, glance.images, glance.brain)
    scaled = replace(sample, images=np.float32(3.5) * sample.images + np.float32(40))
    there = familiar.features(scaled, np.float32(3.5) * glance.images + np.float32(40), glance.brain)
    assert there == pytest.approx(here, abs=0.02)


def test_ranges_hold_what_they_are_of_and_tell_how_far_the_rest_is() -> None:
    ranges = familiar.ranges_of([{"a": 1.0, "b": -1.0}, {"a": 3.0, "b": 0.0}])
    assert ranges == {"a": (1.0, 3.0), "b": (-1.0, 0.0)}
    assert familiar.distances({"a": 4.0, "b": -0.5}, ranges) == {"a": 0.5, "b": -0.5}


def test_swapping_turns_a_score_round(sample: Study) -> None:
    t1c, t1n, t2f, t2w = range(4)
    there = swap_scores(Glance.of(sample))
    swapped = swap_scores(Glance.of(replace(sample, images=sample.images[[t1n, t1c, t2w, t2f]])))
    assert swapped[1] == pytest.approx(-there[1], rel=1e-3)
    assert there[0] > 0.3 > -0.3 > swapped[0]


@pytest.mark.parametrize(("move", "which"), [(shifted, 0), (turned, 1)])
def test_a_displacement_is_measured(sample: Study, move: Callable[..., np.ndarray], which: int) -> None:
    images = sample.images.copy()
    images[2] = move(images[2], sample, 5.0, np.random.default_rng(1))
    before, after = (displacement(Glance.of(study), 2)[which] for study in (sample, replace(sample, images=images)))
    assert before < 2 < 2.5 < after < 7


def test_thickness_is_that_of_the_content_in_mm() -> None:
    random, brain = np.random.default_rng(0), np.ones((40, 40, 40), bool)
    sharp = random.normal(size=(40, 40, 40)).astype(np.float32)
    assert curvature(sharp, brain, 0, 1.0) > 1
    halves = np.repeat(sharp, 2, 0)
    assert curvature(halves, np.ones(halves.shape, bool), 0, 0.5) == pytest.approx(
        curvature(sharp, brain, 0, 1.0), rel=0.1
    )
    assert curvature(sharp, np.zeros(brain.shape, bool), 0, 1.0) == 1


def test_a_study_without_a_brain_or_with_a_tiny_one_is_left_to_others(tiny_study: Study) -> None:
    assert not check_input(replace(tiny_study, brain=np.zeros_like(tiny_study.brain)))
    assert codes(tiny_study) <= {"brain_size", "skull", "unfamiliar_input"}


def test_the_result_tells_them(tiny_model_folder, tiny_study: Study) -> None:
    prediction = Predictor(load_model(tiny_model_folder), device="cpu").predict(tiny_study)
    assert {reason["code"] for reason in prediction.provenance["needs_review"]} >= codes(tiny_study)


def test_the_size_at_which_half_are_found() -> None:
    assert half_found({2: 0.0, 4: 0.4, 6: 0.8}) == 4.5
    assert half_found({2: 0.9, 4: 1.0}) is None


def test_coarse_voxels_are_not_taken_for_a_constant(sample: Study) -> None:
    images, brain = sample.images[:, ::3, ::3, ::3], sample.brain[::3, ::3, ::3]
    affine = sample.affine @ np.diag([3.0, 3.0, 3.0, 1.0])
    coarse = replace(sample, images=images, brain=brain, affine=affine, reference=None)
    assert "incomplete_modality" not in codes(coarse)
    twice = images.copy()
    twice[1] = images[0]
    assert "same_image_twice" in codes(replace(coarse, images=twice))
