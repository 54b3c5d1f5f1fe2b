"""Counting voxels of cases, fitting on them, and judging the fit by studies left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, log_loss

from napari_uncseg.errors import EvaluationError
from napari_uncseg.evaluation.calibration import ProbabilityCalibration
from napari_uncseg.evaluation.case import case_from_arrays
from napari_uncseg.evaluation.recalibration import ProbabilitySteps, fit_region, judge
from napari_uncseg.labels import Region
from napari_uncseg.metrics.voxel_sets import FitSet, VoxelSet
from napari_uncseg.uncertainty.conformal import thresholds
from napari_uncseg.uncertainty.recalibration.fit import Counts
from napari_uncseg.uncertainty.recalibration.models import SMALLEST, STEPS, Method, Temperature, step_probabilities


def overconfident(seed: int, *, temperature: float = 2.0, size: int = 12_000, sharpness: float = 2.0):
    """A case whose WT probabilities are as far off as a temperature makes them, rounded as a file does."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(-1, sharpness, size)
    truth = generator.random(size) < expit(scores)
    p = np.rint(expit(scores * temperature) * STEPS) / STEPS
    shape = (size, 1, 1)
    p = p.reshape(shape).astype(np.float32)
    return case_from_arrays(
        np.where(p > 0.5, 2, 0),
        np.where(truth.reshape(shape), 2, 0),
        probabilities=np.stack([p, p * 0, p * 0]),
        brain=np.ones(shape, dtype=bool),
        id=f"case-{seed}",
    )


def fed(cases, region=Region.WT, voxel_set=VoxelSet.BRAIN) -> ProbabilitySteps:
    metric = ProbabilitySteps(region, voxel_set)
    for case in cases:
        metric.add(case)
    return metric


@pytest.mark.parametrize("voxel_set", [VoxelSet(each) for each in FitSet])
def test_figures_agree_with_scikit_learn_and_the_evaluation(case, voxel_set):
    for region in Region:
        chosen = case.voxels(voxel_set, region)
        p = case.probability(region)[chosen].astype(np.float64)
        y = case.reference[list(Region).index(region)][chosen]
        metric = ProbabilitySteps(region, voxel_set)
        statistic = metric.measure(case)
        ours = {value.metric: value for value in metric.read(statistic)}
        clipped = np.clip(np.rint(p * STEPS) / STEPS, SMALLEST, 1 - SMALLEST)
        assert ours["nll"].value == pytest.approx(-np.log(np.where(y, clipped, 1 - clipped)).mean(), rel=1e-9)
        assert ours["nll"].value == pytest.approx(log_loss(y, clipped, labels=[False, True]), rel=1e-6)
        assert ours["brier"].value == pytest.approx(brier_score_loss(y, p, pos_label=True), abs=2e-5)
        peer = ProbabilityCalibration(region, voxel_set)
        ece = next(v.value for v in peer.read(peer.measure(case)) if v.metric == "ece_classwise")
        assert ours["ece_classwise"].value == pytest.approx(ece, abs=5e-5)
        assert ours["nll"].count == chosen.sum()
        assert statistic["found"].sum() == case.reference[list(Region).index(region)].sum()


def test_steps_lose_nothing_on_realistic_cases(cases):
    """Same T, to four digits, from counts of file steps and from float32 probabilities in full."""
    metric = fed(cases)
    found = fit_region(metric, Method.TEMPERATURE).map
    p = np.concatenate([case.probability(Region.WT)[case.brain] for case in cases]).astype(np.float64)
    y = np.concatenate([case.reference[0][case.brain] for case in cases])
    z = logit(np.clip(p, SMALLEST, 1 - SMALLEST))
    # At the minimum the derivative of the likelihood by 1/T vanishes; it is monotone, so this brackets T.
    derivative = [float((z * (expit(z / found.temperature / scale) - y)).mean()) for scale in (0.9995, 1.0005)]
    assert derivative[0] > 0 > derivative[1]


def test_recalibration_helps_on_studies_left_out():
    metric = fed([overconfident(seed) for seed in range(6)])
    for method in Method:
        found = fit_region(metric, method)
        assert found.after["nll"] < found.before["nll"] - 0.05
        assert found.after["ece_classwise"] < found.before["ece_classwise"] / 4
        assert found.after["brier"] < found.before["brier"]
        assert (found.studies_with_region, found.voxels) == (6, 72_000)
    found = fit_region(metric, Method.TEMPERATURE)
    assert found.map.temperature == pytest.approx(2.0, rel=0.05)
    assert "only 6 studies have the region" in found.notes[0]


def test_after_means_left_out_and_not_in_sample():
    """By hand: two studies, each judged by the map of the other."""
    cases = [overconfident(0, temperature=3.0), overconfident(1, temperature=1.5)]
    own = [fit_region(fed([case]), Method.TEMPERATURE).map for case in cases]
    total = 0.0
    for case, change in zip(cases, reversed(own), strict=True):
        p = np.clip(case.probability(Region.WT).ravel().astype(np.float64), SMALLEST, 1 - SMALLEST)
        total += log_loss(case.reference[0].ravel(), expit(logit(p) / change.temperature)) / 2
    assert fit_region(fed(cases), Method.TEMPERATURE).after["nll"] == pytest.approx(total, rel=1e-6)


def test_a_map_that_does_not_carry_over_is_told():
    cases = [overconfident(0, temperature=4.0), overconfident(1, temperature=0.4)]
    notes = fit_region(fed(cases), Method.TEMPERATURE).notes
    assert any("will not help on others" in note for note in notes)


def test_one_study_has_no_figures_after():
    found = fit_region(fed([overconfident(0)]), Method.TEMPERATURE)
    assert all(math.isnan(value) for value in found.after.values())
    assert any("one study leaves no other" in note for note in found.notes)
    assert found.content()["after"].keys() == found.before.keys()


def test_an_absent_region_is_left_as_it_is_and_told():
    found = fit_region(fed([overconfident(seed) for seed in range(2)], Region.ET), Method.PLATT, alpha=0.1)
    assert found.map == Temperature(1.0)
    assert found.studies_with_region == 0
    assert found.after == found.before
    assert any("it is in no voxel" in note for note in found.notes)
    assert found.control.threshold is None


@pytest.mark.parametrize("voxel_set", [VoxelSet.UNION, VoxelSet.REFERENCE])
def test_sets_that_the_reference_decides_are_refused(cases, voxel_set):
    with pytest.raises(EvaluationError):
        fit_region(fed(cases[:1], voxel_set=voxel_set), Method.TEMPERATURE)


def test_thresholds_count_studies_that_have_the_region():
    cases = [overconfident(seed, size=2000) for seed in range(12)]
    found = fit_region(fed(cases), Method.TEMPERATURE, alpha=0.15)
    control = found.control
    rates = [(case.probability(Region.WT)[case.reference[0]] <= control.threshold).mean() for case in cases]
    assert control.studies == 12
    above = sum((case.probability(Region.WT) > control.threshold).sum() for case in cases)
    assert found.marked_over_region == pytest.approx(above / sum(case.reference[0].sum() for case in cases))
    assert control.false_negative_rate == pytest.approx(np.mean(rates))
    assert (sum(rates) + 1) / 13 <= 0.15
    higher = thresholds()[np.searchsorted(thresholds(), control.threshold) + 1]
    worse = [(case.probability(Region.WT)[case.reference[0]] <= higher).mean() for case in cases]
    assert (sum(worse) + 1) / 13 > 0.15, "and no higher threshold would do"


def test_figures_of_nothing_are_undefined():
    empty = Counts(step_probabilities(), np.zeros(STEPS + 1, np.int64), np.zeros(STEPS + 1, np.int64))
    assert all(math.isnan(value) for value in judge([(Temperature(2.0), empty)]).values())
