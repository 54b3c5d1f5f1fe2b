"""Error risk: its features against plain loops, its fit against a known probability."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_uncseg.errors import CalibrationError, EvaluationError
from napari_uncseg.labels import REGIONS
from napari_uncseg.uncertainty.error_risk import ErrorRisk, Evidence, Perceptron, fit_perceptron
from napari_uncseg.uncertainty.expected_dice import DiceModel, ExpectedDice
from napari_uncseg.uncertainty.recalibration.io import Calibration, load_calibration
from napari_uncseg.uncertainty.recalibration.models import IDENTITY

SHAPE = (7, 6, 5)


def evidence(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), *, bare: bool = False) -> Evidence:
    random = np.random.default_rng(4)
    probabilities = random.uniform(0, 1, (3, *SHAPE)).astype(np.float32)
    more = {} if bare else {name: random.uniform(0, 0.25, SHAPE).astype(np.float32) for name in ("channel", "variance")}
    return Evidence(probabilities, spacing, **more)


def perceptron(count: int, units: int = 3, seed: int = 0) -> Perceptron:
    draw = np.random.default_rng(seed).normal
    arrays = draw(size=count), 1 + draw(size=count) ** 2, draw(size=(count + 1, units)), draw(size=units + 1)
    return Perceptron(*(np.asarray(array, np.float32) for array in arrays))


def risk_of(found: Evidence) -> ErrorRisk:
    count = len(found.names)
    return ErrorRisk(found.names, {region: perceptron(count, seed=index) for index, region in enumerate(REGIONS)})


@pytest.mark.parametrize(("spacing", "sides"), [((1.0, 1.0, 1.0), (5, 5, 5)), ((1.0, 2.0, 5.0), (5, 3, 1))])
def test_features_are_logits_entropies_and_the_mean_round_each_voxel(spacing, sides):
    found = evidence(spacing)
    table = dict(zip(found.names, found.features(np.arange(np.prod(SHAPE))), strict=True))
    p = found.probabilities[1].astype(np.float64)
    np.testing.assert_allclose(table["logit TC"], np.log(p / (1 - p)).ravel(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(table["entropy TC"], -(p * np.log(p) + (1 - p) * np.log(1 - p)).ravel(), rtol=1e-4)
    np.testing.assert_array_equal(table["inside TC"], p.ravel() > 0.5)
    reach = [side // 2 for side in sides]
    padded = np.pad(p, [(each, each) for each in reach], mode="edge")
    for index in np.ndindex(SHAPE):
        mean = padded[tuple(slice(at, at + side) for at, side in zip(index, sides, strict=True))].mean()
        flat = np.ravel_multi_index(index, SHAPE)
        assert table["logit TC 5 mm"][flat] == pytest.approx(np.log(mean / (1 - mean)), abs=1e-3)
    assert {"channel", "channel 9 mm", "deviation 5 mm"} <= set(table)
    assert not {"channel", "deviation", "t1c"} & set(evidence(bare=True).names)


def test_images_are_told_of_when_they_are_there() -> None:
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    found = replace(evidence(), images=images)
    table = dict(zip(found.names, found.features(np.arange(np.prod(SHAPE))), strict=True))
    np.testing.assert_array_equal(table["t2w"], images[3].ravel())
    assert table["t1c 5 mm"][np.ravel_multi_index((3, 3, 2), SHAPE)] == pytest.approx(
        images[0][1:6, 1:6].mean(), abs=1e-6
    )
    assert risk_of(found).uses_images
    assert not risk_of(evidence()).uses_images


def test_a_certain_probability_has_finite_features() -> None:
    sure = Evidence(np.array([0, 1, 1], np.float32)[:, None, None, None] * np.ones(SHAPE, np.float32), (1, 1, 1))
    assert np.isfinite(np.stack(list(sure.features(np.arange(5))))).all()


def test_the_fit_finds_a_known_probability() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(20_000, 3)).astype(np.float32)
    truth = 1 / (1 + np.exp(-(2 * np.abs(features[:, 0]) - 2 + features[:, 1])))
    wrong = random.uniform(size=len(truth)) < truth
    found = fit_perceptron(features, wrong, np.ones(len(truth), np.float32))(features)
    assert np.abs(found - truth).mean() < 0.03
    assert found.mean() == pytest.approx(wrong.mean(), abs=0.005)


def test_a_weight_counts_as_that_many_voxels() -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(600, 2)).astype(np.float32)
    wrong = features[:, 0] + random.normal(size=600) > 0
    weights = np.where(wrong, 3.0, 1.0).astype(np.float32)
    weighted = fit_perceptron(features, wrong, weights)(features)
    expected = float((weights * wrong).sum() / weights.sum())
    assert float((weights * weighted).sum() / weights.sum()) == pytest.approx(expected, abs=0.01)


def test_nothing_is_learnt_from_voxels_that_are_all_right() -> None:
    with pytest.raises(EvaluationError):
        fit_perceptron(np.zeros((9, 2), np.float32), np.zeros(9, bool), np.ones(9, np.float32))


def test_risk_is_a_probability_in_the_brain_and_zero_elsewhere() -> None:
    found, brain = evidence(), np.zeros(SHAPE, bool)
    brain[1:6, 1:5, 1:4] = True
    risk = risk_of(found).apply(found, brain)
    assert risk.shape == (3, *SHAPE)
    assert not risk[:, ~brain].any()
    assert ((risk[:, brain] > 0) & (risk[:, brain] < 1)).all()
    with pytest.raises(ValueError, match="fitted on"):
        risk_of(found).apply(evidence(bare=True), brain)


def calibration() -> Calibration:
    fit = DiceModel((0.0,) * 4, (1.0,) * 4, (0.5, 0.1, 0.2, 0.0), 1.0, (-1.0, 0.0, 1.0), (3, 2))
    return Calibration(
        dict.fromkeys(REGIONS, IDENTITY),
        "sha",
        "tta:2",
        error_risk=risk_of(evidence()),
        expected_dice=ExpectedDice(dict.fromkeys(REGIONS, fit), 0.8),
    )


def test_a_calibration_keeps_them_in_its_file(tmp_path: Path) -> None:
    made = calibration()
    made.save(tmp_path / "calibration.json")
    read = load_calibration(tmp_path / "calibration.json")
    assert read.expected_dice == made.expected_dice
    assert read.sha256 == made.sha256 != Calibration(made.maps, "sha", "tta:2").sha256
    found, brain = evidence(), np.ones(SHAPE, bool)
    assert read.error_risk is not None
    assert made.error_risk is not None
    np.testing.assert_allclose(read.error_risk.apply(found, brain), made.error_risk.apply(found, brain), atol=1e-4)


@pytest.mark.parametrize("damage", ["features", "hidden", "coefficients"])
def test_weights_that_do_not_fit_are_refused(damage: str, tmp_path: Path) -> None:
    content = calibration().content()
    match damage:
        case "features":
            content["error_risk"]["features"].pop()
        case "hidden":
            content["error_risk"]["regions"]["ET"]["hidden"].pop()
        case _:
            content["expected_dice"]["regions"]["WT"]["coefficients"] = [1.0]
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="calibration"):
        load_calibration(path)
