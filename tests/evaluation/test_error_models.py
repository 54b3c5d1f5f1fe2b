"""Error risk and expected Dice fitted on studies: what is drawn from them, and what the fits then know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation import error_models
from napari_uncseg.evaluation.case import Case, case_from_arrays
from napari_uncseg.evaluation.error_models import Sample, fit_error_risk, fit_expected_dice, sample_of
from napari_uncseg.labels import REGIONS, Region
from napari_uncseg.uncertainty.expected_dice import Quality

SIDE = 40


def case(seed: int, *, noise: float = 0.8, channel: bool = True) -> Case:
    """A ball whose probability is off where noise, which the probability tells of, pulls it over one half."""
    random = np.random.default_rng(seed)
    axis = np.arange(SIDE) - SIDE / 2
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    pull = gaussian_filter(random.normal(size=(SIDE,) * 3), 2) * 12 * noise
    radii = random.uniform(10, 13) * np.array([1.0, 0.7, 0.4])
    logits = np.stack([(radius - distance) / 1.5 for radius in radii])
    probabilities = 1 / (1 + np.exp(-(logits + pull))).astype(np.float32)
    probabilities = np.minimum.accumulate(probabilities, 0).astype(np.float32)
    reference, found = (labels(stack) for stack in (logits > 0, probabilities > 0.5))
    maps = {"unc_output_unmasked": np.clip(random.uniform(0, 0.3, (SIDE,) * 3), 0, 1)} if channel else {}
    return case_from_arrays(
        found, reference, probabilities=probabilities, maps=maps, brain=distance < 19, id=f"P{seed}"
    )


def labels(regions: np.ndarray) -> np.ndarray:
    whole, core, enhancing = regions
    return np.where(enhancing, 3, np.where(core, 1, np.where(whole, 2, 0))).astype(np.uint8)


def quality(agreement: float) -> dict[Region, Quality]:
    return {region: Quality(agreement, agreement, 20.0) for region in REGIONS}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [sample_of(case(seed), quality(0.9), fold=seed % 3, seed=seed) for seed in range(6)]


def test_every_voxel_of_the_brain_is_stood_for(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = case(0)
    assert samples[0].weights.sum() == pytest.approx(whole.brain.sum(), rel=1e-4)
    monkeypatch.setattr(error_models, "NEAR", 10**6)
    monkeypatch.setattr(error_models, "FAR", 10**6)
    every = sample_of(whole, quality(0.9), 0)
    assert len(every.weights) == whole.brain.sum()
    for index, region in enumerate(REGIONS):
        assert every.wrong[:, index].sum() == (whole.failure(region) & whole.brain).sum()


def test_the_images_of_a_case_are_learnt_from_as_z_scores_of_the_brain() -> None:
    images = np.random.default_rng(1).normal(100, 20, (4, SIDE, SIDE, SIDE)).astype(np.float32)
    drawn = sample_of(replace(case(0), images=images), quality(0.9), 0)
    flair = drawn.features[:, drawn.names.index("t2f")]
    assert np.average(flair, weights=drawn.weights) == pytest.approx(0, abs=0.05)
    assert np.average(flair**2, weights=drawn.weights) == pytest.approx(1, abs=0.05)
    assert "t2f" not in sample_of(case(0), quality(0.9), 0).names


def test_risk_learnt_on_some_studies_finds_the_errors_of_others(samples: list[Sample]) -> None:
    risk = fit_error_risk(samples[:5])
    held = samples[5]
    for index, region in enumerate(REGIONS):
        found, wrong = risk.regions[region](held.features), held.wrong[:, index]
        assert found[wrong].mean() > 4 * found[~wrong].mean()


def test_results_that_hold_other_maps_are_not_mixed(samples: list[Sample]) -> None:
    other = sample_of(case(9, channel=False), quality(0.9), 0)
    with pytest.raises(EvaluationError):
        fit_error_risk([*samples, other])


def test_a_quarter_of_the_studies_lies_below_the_bound() -> None:
    base = sample_of(case(0), quality(0.9), 0)
    random = np.random.default_rng(3)
    values = random.uniform(0.5, 0.95, 40)
    many = [
        replace(base, quality=quality(value), dice=dict.fromkeys(REGIONS, value), fold=number % 5)
        for number, value in enumerate(values)
    ]
    fitted = fit_expected_dice(many)
    expected = [fitted.estimate(each.quality)[Region.WT].value for each in many]
    assert np.mean(np.array(expected) < fitted.bound) == pytest.approx(0.25, abs=0.06)
    assert np.corrcoef(expected, values)[0, 1] > 0.98
    assert fit_expected_dice(many[:5]).bound
    with pytest.raises(EvaluationError):
        fit_expected_dice(many[:4])


def test_a_case_without_probabilities_is_refused() -> None:
    empty = np.zeros((8, 8, 8), np.uint8)
    with pytest.raises(EvaluationError):
        sample_of(case_from_arrays(empty, empty, brain=empty == 0), quality(0.9), 0)
